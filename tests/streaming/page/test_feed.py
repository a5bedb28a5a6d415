import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Reason, Rejected
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed, Mailbox

Make = Callable[..., Row]


@pytest.fixture
def make_row(
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Make:
    def make(key: str, *, name: str = "0", rejected: bool = False) -> Row:
        why = Rejected(reason=Reason.NO_EDGE, detail="no edge")
        return Row(
            key=key,
            status=State.REJECTED if rejected else State.COMPLETE,
            measurement=replace(measurement, spectrum=name),
            outcome=why if rejected else spectrum,
            inversion=None if rejected else make_inversion(),
            error=None,
            stages={"wait": 0.5, "invert": 0.25},
        )

    return make


def test_a_reader_is_told_of_every_result(make_row: Make) -> None:
    feed, woken = Feed(), []
    with feed.reader(lambda: woken.append(True)) as mailbox:
        feed(make_row("a"))
        feed(make_row("b", rejected=True))
        told = mailbox.take()
    assert [(name, data["key"], data["status"]) for name, data in told] == [
        ("result", "a", "complete"),
        ("result", "b", "rejected"),
    ]
    assert len(woken) == 2
    assert mailbox.take() == []
    assert feed.readers == 0


def test_a_summary_tells_what_a_list_needs(make_row: Make) -> None:
    feed = Feed()
    feed(make_row("a"))
    feed(make_row("b", rejected=True))
    good, bad = feed.summaries()
    interval = {"mean_lo": 4.0, "mean_hi": 4.5}
    assert good["cn"] == {"mean": 4.25, **interval, "map": 4, "set": [4, 5]}
    assert good["bond"]["lo"] == pytest.approx(1.52)
    assert good["edge"] == "Si K"
    assert good["latency"] == pytest.approx(0.75)
    assert good["context"] == {"pressure": 2.5}
    assert set(good["flags"]) == {"gap", "short-post-edge", "partial"}
    assert (bad["reason"], bad["detail"], bad["cn"]) == ("no-edge", "no edge", None)
    assert feed.latest() == "a"


def test_memory_is_bounded(make_row: Make) -> None:
    feed = Feed(kept=5, kept_rows=2)
    for n in range(9):
        feed(make_row(f"k{n}", name=str(n)))
    assert [told["key"] for told in feed.summaries()] == ["k4", "k5", "k6", "k7", "k8"]
    assert feed.row("k6") is None
    assert feed.row("k8") is not None


def test_a_slow_reader_gets_a_reset_instead_of_a_backlog() -> None:
    mailbox = Mailbox(lambda: None, limit=3)
    for n in range(5):
        mailbox.put(f"k{n}", ("result", {"key": f"k{n}"}))
    assert mailbox.take() == [("reset", {}), ("result", {"key": "k4"})]


def test_only_the_newest_of_a_slot_waits() -> None:
    mailbox = Mailbox(lambda: None)
    for n in range(100):
        mailbox.put("same", ("running", {"points": n}))
    assert mailbox.take() == [("running", {"points": 99})]


def test_a_reader_that_never_takes_holds_nobody_up(make_row: Make) -> None:
    feed = Feed(mailbox=4)
    row = make_row("k")
    with feed.reader(lambda: None) as mailbox:
        threads = [
            threading.Thread(target=lambda: [feed(row) for _ in range(100)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert len(mailbox.take()) <= 4


def test_a_running_scan_shows_until_its_result_is_there(
    make_row: Make, measurement: Measurement, spectrum: NormalisedSpectrum
) -> None:
    feed = Feed()
    growing = replace(measurement, final=False)
    feed.show_partial(growing, Rejected(reason=Reason.TOO_SHORT, detail="too short"), None)
    (one,) = feed.growing()
    assert one.notice()["points"] == 40
    assert one.notice()["waiting"] == "too short"
    assert one.view()["columns"]["energy"][0] == 1800.0
    feed.show_partial(growing, spectrum, None)
    (one,) = feed.growing()
    assert one.view()["spectrum"]["e0"] == spectrum.e0
    feed(make_row("k"))
    assert feed.growing() == []
    feed.show_partial(growing, spectrum, None)  # a partial answer that comes late
    assert feed.growing() == []


def test_results_of_before_come_before_those_of_now(make_row: Make) -> None:
    feed = Feed()
    feed(make_row("new"))
    new = feed.summaries()[0]
    feed.load([{**new, "key": "old"}, {**new, "status": "writing"}])
    assert [(told["key"], told["status"]) for told in feed.summaries()] == [
        ("old", "complete"),
        ("new", "complete"),
    ]
