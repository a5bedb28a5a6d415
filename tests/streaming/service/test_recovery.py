import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import event_model
import h5py
import httpx
import numpy as np
import pytest
from bluesky_tiled_plugins import TiledWriter

from nearedge.callbacks.recognise import Dark, Darks
from nearedge.streaming.catalog.connection import raw_container
from nearedge.streaming.ledger.job import Job, Place, Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.packing import unpack
from nearedge.streaming.service import recovery
from nearedge.streaming.service.dark_runs import DarkRuns, KeptDarks
from nearedge.streaming.service.intake import Calls, Intake, Terms
from nearedge.streaming.service.known import Known
from nearedge.streaming.service.method import Method
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.service.recovery import AT_ONCE, TRIES, Archive, Clocks, Recovery
from nearedge.streaming.settings.profile import Profile

NOW = 1.7e9
ENERGY = 1840.0 + np.linspace(-25.0, 60.0, 60)
PROFILE = Profile.model_validate(
    {
        "instrument": {"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}},
        "service": {"backfill_wait_s": 60, "catch_up_every_s": 30, "catch_up_days": 1},
    }
)
Documents = list[tuple[str, dict[str, Any]]]


def scan(uid: str, *, time: float = NOW - 600) -> Documents:
    """Return the documents of a step scan over an edge."""
    run = event_model.compose_run(uid=uid, time=time, metadata={"scan_id": 1})
    keys = {name: {"source": "test", "dtype": "number", "shape": []} for name in ("mono", "mu")}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    mu = np.arctan((ENERGY - 1845.0) / 0.8) + 0.3 * np.exp(-((ENERGY - 1847.0) ** 2))
    docs: Documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for e, m in zip(ENERGY, mu, strict=True):
        data = {"mono": float(e), "mu": float(m)}
        docs.append(("event", stream.compose_event(data=data, timestamps=dict.fromkeys(data, e))))
    return [*docs, ("stop", {**run.compose_stop(), "time": time + 60})]


def store(raw: Any, docs: Documents) -> None:
    writer = TiledWriter(raw, batch_size=1000, max_array_size=0)
    for name, doc in docs:
        writer(name, dict(doc))


class Clock:
    """A monotonic and a wall clock."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 1000.0, NOW

    def __call__(self) -> float:
        return self.monotonic

    def now(self) -> float:
        return self.wall

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


class Bench:
    """A recovery beside a live intake, one ledger and a catalog of raw runs."""

    def __init__(self, raw: Any, ledger: Ledger, clock: Clock, results: dict[str, State]) -> None:
        self.raw, self.ledger, self.metrics, self.clock = raw, ledger, Metrics(), clock
        self.away = False
        dark_runs = DarkRuns(lambda: raw, PROFILE.instrument)
        method = Method(
            instrument=PROFILE.instrument,
            key=lambda measurement: f"key-{measurement.run.uid}",
            supports=lambda absorber, edge: True,
        )
        make_intake = partial(
            Intake,
            method,
            calls=Calls(on_submit=lambda key, new: None),
            ledger=ledger,
            metrics=self.metrics,
        )
        self.live = make_intake(Terms(live=True, hold_s=PROFILE.service.backfill_wait_s))
        self.recovery = Recovery(
            settings=PROFILE.service,
            live=self.live,
            make_intake=make_intake,
            ledger=ledger,
            metrics=self.metrics,
            archive=Archive(raw=self._raw, finished=lambda: results.items()),
            known=Known(ledger, settings="now", keys=lambda uid: [f"key-{uid}"]),
            dark_runs=dark_runs,
            clocks=Clocks(monotonic=clock, wall=clock.now),
        )

    def _raw(self) -> Any:
        if self.away:
            raise ConnectionError("the catalog is away")
        return self.raw

    def hear(self, docs: Documents) -> None:
        for name, doc in docs:
            self.live.feed(name, doc)
        assert self.live.join(20)

    def job(self, uid: str) -> Job:
        job = self.ledger.backlog.get(f"key-{uid}")
        assert job is not None
        return job

    def flags(self, uid: str) -> tuple[str, ...]:
        flags: tuple[str, ...] = unpack(self.job(uid).payload or b"")["measurement"].flags
        return flags

    def count(self, name: str, /, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"nearedge_{name}_total", labels) or 0.0


@pytest.fixture
def raw(tiled_client: Any) -> Any:
    return raw_container(tiled_client, "raw")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock, now=clock.now)
    yield ledger
    ledger.close()


@pytest.fixture
def bench_of(raw: Any, ledger: Ledger, clock: Clock) -> Callable[..., Bench]:
    return lambda **results: Bench(raw, ledger, clock, results)


@pytest.fixture
def bench(bench_of: Callable[..., Bench]) -> Bench:
    return bench_of()


# -- missed runs ----------------------------------------------------------------------------------


def test_a_missed_run_is_read_from_the_catalog_once(bench: Bench, clock: Clock) -> None:
    store(bench.raw, scan("missed"))
    bench.recovery.step()
    assert (bench.job("missed").state, bench.job("missed").priority) == (
        State.QUEUED,
        Priority.CAUGHT_UP,
    )
    clock.pass_(31)
    bench.recovery.step()
    assert bench.count("caught_up_runs") == 1


def test_what_ended_too_long_ago_is_left_alone(bench: Bench) -> None:
    store(bench.raw, scan("old", time=NOW - 2 * 86400))
    bench.recovery.step()
    assert bench.ledger.backlog.get("key-old") is None


def test_a_run_that_was_heard_is_not_read_again(bench: Bench) -> None:
    docs = scan("heard")
    store(bench.raw, docs)
    bench.hear(docs)
    bench.recovery.step()
    assert bench.job("heard").priority is Priority.LIVE
    assert bench.count("caught_up_runs") == 0


def test_a_run_that_is_being_heard_is_given_time(bench: Bench, clock: Clock) -> None:
    docs = scan("still-heard")
    store(bench.raw, docs)
    bench.hear(docs[:-1])
    bench.recovery.step()
    assert bench.ledger.backlog.get("key-still-heard") is None
    clock.pass_(31)
    bench.recovery.step()  # its stop never came
    assert bench.job("still-heard").state is State.QUEUED
    bench.hear(docs[-1:])
    assert bench.live.open_runs() == ()


def test_a_lost_ledger_learns_what_the_catalog_has(
    bench_of: Callable[..., Bench], ledger: Ledger
) -> None:
    bench = bench_of(**{"key-done": State.COMPLETE, "key-bad": State.REJECTED})
    store(bench.raw, scan("done"))
    store(bench.raw, scan("undone"))
    bench.recovery.step()
    assert ledger.backlog.counts()[State.COMPLETE] == ledger.backlog.counts()[State.REJECTED] == 1
    assert [job.place.run_uid for job in ledger.backlog.rows(State.QUEUED)] == ["undone"]


def test_a_wall_clock_that_jumps_ahead_hides_no_run(bench: Bench, clock: Clock) -> None:
    bench.recovery.step()
    clock.wall += 10 * 86400
    clock.pass_(31)
    bench.recovery.step()
    store(bench.raw, scan("after", time=NOW))
    clock.pass_(31)
    bench.recovery.step()
    assert bench.job("after").state is State.QUEUED


def test_a_run_that_cannot_be_read_is_tried_again_and_then_left(
    bench: Bench, clock: Clock, monkeypatch
) -> None:
    def broken(raw, uid):
        raise ValueError("no such file")

    store(bench.raw, scan("broken"))
    monkeypatch.setattr("nearedge.streaming.service.recovery.documents_of", broken)
    for tries in range(1, TRIES + 1):
        bench.recovery.step()
        assert bench.count("retries", stage="recover") == tries
        assert bench.ledger.runs.failed() == [("broken", "ValueError: no such file")]
        clock.pass_(29)
        bench.recovery.step()  # not yet
        assert bench.count("retries", stage="recover") == tries
        clock.pass_(3601)
    clock.pass_(86400)
    bench.recovery.step()
    assert bench.count("retries", stage="recover") == TRIES
    bench.ledger.runs.retry()
    clock.pass_(31)
    bench.recovery.step()
    assert bench.count("retries", stage="recover") == TRIES + 1


def test_an_error_of_the_server_never_settles_a_run(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(raw: Any, uid: str) -> Any:
        request = httpx.Request("GET", "http://127.0.0.1/run")
        response = httpx.Response(406, request=request)
        raise httpx.HTTPStatusError("406 Not Acceptable", request=request, response=response)

    store(bench.raw, scan("refused"))
    with monkeypatch.context() as trouble:
        trouble.setattr("nearedge.streaming.service.recovery.documents_of", refusing)
        for _ in range(3 * TRIES):
            bench.recovery.step()
            clock.pass_(3601)
    assert bench.count("retries", stage="recover") == 3 * TRIES
    bench.recovery.step()
    assert bench.job("refused").state is State.QUEUED
    assert bench.ledger.runs.counts() == {"gap": 0, "done": 1, "failed": 0}


def test_a_gap_that_the_server_cannot_fill_is_filled_when_it_can(
    bench: Bench, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that came of the run is its stop document."""
    docs = scan("headless")
    store(bench.raw, docs)
    bench.hear(docs[-1:])
    with monkeypatch.context() as trouble:
        trouble.setattr("nearedge.streaming.service.recovery.documents_of", lambda raw, uid: 1 / 0)
        bench.recovery.step()
        clock.pass_(61)
        bench.recovery.step()
    assert bench.job("headless").outcome is State.REJECTED
    clock.pass_(3601)
    bench.recovery.step()
    assert (bench.job("headless").state, bench.flags("headless")) == (State.QUEUED, ())


def test_a_run_of_which_nothing_can_be_read_is_rejected_by_name(bench: Bench, clock: Clock) -> None:
    bench.hear(scan("headless")[-1:])
    bench.recovery.step()
    assert bench.ledger.backlog.get("key-headless") is None
    clock.pass_(61)
    bench.recovery.step()
    job = bench.job("headless")
    assert (job.state, job.place.run_uid) == (State.WRITING, "headless")
    outcome = unpack(job.payload or b"")["outcome"]
    assert "could not be read: the catalog has no more of it" in outcome.detail


def test_a_result_that_was_deleted_is_made_again(
    bench_of: Callable[..., Bench], ledger: Ledger
) -> None:
    for uid in ("kept", "deleted"):
        ledger.submit(
            f"key-{uid}", Place(run_uid=uid, scan_id=1, stream="primary", spectrum="0"), b""
        )
        ledger.queue.store(ledger.queue.claim(lease_s=60)[0], b"")
        ledger.queue.finish(ledger.queue.claim_write(lease_s=60)[0])
        ledger.settle(uid, settings="now")
    bench = bench_of(**{"key-kept": State.COMPLETE})
    bench.clock.pass_(1)
    for uid in ("kept", "deleted"):
        store(bench.raw, scan(uid))
    bench.recovery.step()
    assert bench.job("kept").state is State.COMPLETE
    assert bench.job("deleted").state is State.QUEUED
    assert bench.count("caught_up_runs") == 1


def test_a_run_whose_answer_the_catalog_has_is_not_read(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(**{"key-done": State.COMPLETE})
    store(bench.raw, scan("done"))
    bench.recovery.step()
    assert bench.count("documents", name="start") == 0
    assert bench.ledger.runs.read_with("now") == {"done": 0}


def test_a_run_that_can_be_read_again_is_taken_however_late(
    bench: Bench, clock: Clock, monkeypatch
) -> None:
    store(bench.raw, scan("hidden"))
    with monkeypatch.context() as trouble:
        trouble.setattr("nearedge.streaming.service.recovery.documents_of", lambda raw, uid: 1 / 0)
        bench.recovery.step()
        clock.pass_(4 * 3600)  # by now the query does not find it any more
        bench.recovery.step()
    clock.pass_(3601)
    bench.recovery.step()
    assert bench.job("hidden").state is State.QUEUED


def test_many_missed_runs_do_not_hold_up_a_gap(bench: Bench, clock: Clock) -> None:
    for n in range(AT_ONCE + 2):
        store(bench.raw, scan(f"missed-{n:02}"))
    assert bench.recovery.step() == 0.0  # at once, but gaps come first
    assert bench.count("caught_up_runs") == AT_ONCE
    docs, heard = gappy("gappy")
    bench.hear(heard)
    store(bench.raw, docs)
    bench.recovery.step()
    assert bench.count("backfills", outcome="complete") == 1
    assert bench.count("caught_up_runs") == AT_ONCE + 2


def test_missed_runs_are_listed_once_however_many_they_are(bench: Bench, monkeypatch) -> None:
    listings = []

    def ended(raw: Any, *, since: float) -> list[str]:
        listings.append(since)
        return [f"run-{n}" for n in range(5 * AT_ONCE)]

    monkeypatch.setattr(recovery, "ended", ended)
    taken = []
    monkeypatch.setattr(bench.recovery, "_catch_up_with", lambda raw, uid: taken.append(uid))
    bench.ledger.settle("run-3")
    assert bench.recovery.step() == 0.0
    bench.ledger.settle("run-40")  # its live documents came late
    while bench.recovery.step() == 0.0:
        pass
    assert len(listings) == 1
    assert len(taken) == 5 * AT_ONCE - 2 and not {"run-3", "run-40"} & set(taken)


def test_a_stop_ends_it_before_the_next_run(bench: Bench) -> None:
    store(bench.raw, scan("missed"))
    bench.recovery.stop()
    bench.recovery.step()
    assert bench.ledger.backlog.get("key-missed") is None


# -- gaps -----------------------------------------------------------------------------------------


def gappy(uid: str) -> tuple[Documents, Documents]:
    """Return a run, and what arrives of it."""
    docs = scan(uid)
    return docs, [*docs[:10], *docs[14:]]


def test_a_spectrum_with_a_gap_waits_and_comes_whole(bench: Bench) -> None:
    docs, heard = gappy("gappy")
    bench.hear(heard)
    assert bench.job("gappy").state is State.HELD
    bench.recovery.step()
    assert bench.job("gappy").state is State.HELD
    store(bench.raw, docs)
    bench.recovery.step()
    assert (bench.job("gappy").state, bench.flags("gappy")) == (State.QUEUED, ())
    assert bench.job("gappy").priority is Priority.LIVE
    assert bench.count("backfills", outcome="complete") == 1


def test_a_gap_whose_run_cannot_be_read_is_said_in_time(
    bench: Bench, clock: Clock, monkeypatch
) -> None:
    docs, heard = gappy("gappy")
    store(bench.raw, docs)
    bench.hear(heard)
    monkeypatch.setattr("nearedge.streaming.service.recovery.documents_of", lambda raw, uid: 1 / 0)
    for _ in range(2 * TRIES):
        bench.recovery.step()
        assert bench.job("gappy").state is State.HELD
    clock.pass_(61)
    bench.recovery.step()
    assert bench.job("gappy").state is State.QUEUED


@pytest.mark.parametrize("away", [False, True])
def test_a_gap_that_is_never_filled_is_said(bench: Bench, clock: Clock, away: bool) -> None:
    bench.hear(gappy("gappy")[1])
    bench.away = away
    bench.recovery.step()
    clock.pass_(61)
    bench.recovery.step()
    assert (bench.job("gappy").state, bench.flags("gappy")) == (
        State.QUEUED,
        ("gap", "partial"),
    )
    assert bench.count("backfills", outcome="given-up") == 1


def test_runs_open_while_documents_were_lost_are_fetched(bench: Bench) -> None:
    docs = scan("suspect")
    bench.hear(docs[:20])
    bench.live.suspect()
    bench.hear(docs[20:])
    assert bench.job("suspect").state is State.HELD  # nothing can be missing at its end
    store(bench.raw, docs)
    bench.recovery.step()
    assert bench.job("suspect").state is State.QUEUED


def test_a_run_that_never_stops_is_taken_when_the_catalog_has_no_more(
    bench: Bench, clock: Clock
) -> None:
    bench.hear(scan("endless")[:-1])
    bench.live.expire(0.0)
    assert bench.job("endless").state is State.HELD
    clock.pass_(61)
    bench.recovery.step()
    assert bench.job("endless").state is State.QUEUED
    assert "no-stop" in bench.flags("endless")


@pytest.fixture
def poison(monkeypatch) -> None:
    """Let a run of this name raise when it is submitted."""
    submit = Ledger.submit

    def raising(self, key, *arguments, **options):
        if key == "key-poisoned":
            raise OverflowError("too large")
        return submit(self, key, *arguments, **options)

    monkeypatch.setattr(Ledger, "submit", raising)


@pytest.mark.usefixtures("poison")
def test_a_run_that_cannot_be_ended_keeps_no_other_from_its_end(bench: Bench) -> None:
    bench.hear(scan("poisoned")[:-1])
    bench.hear(scan("endless")[:-1])
    bench.live.expire(0.0)
    bench.live.expire(0.0)
    assert bench.live.open_runs() == ()
    assert bench.job("endless").state is State.HELD
    assert bench.count("bad_documents", name="stop") == 1
    store(bench.raw, scan("poisoned"))
    bench.recovery.step()  # it was not forgotten
    assert bench.count("caught_up_runs") == 1


@pytest.mark.usefixtures("poison")
def test_at_the_end_of_a_source_one_bad_run_harms_no_other(bench: Bench) -> None:
    for uid in ("poisoned", "unfinished"):
        bench.hear(scan(uid)[:-1])
    bench.live.end()
    assert bench.live.open_runs() == ()
    assert bench.job("unfinished").state is State.HELD


def test_the_first_documents_wait_for_the_catalogs_darks_only_until_it_was_asked(
    bench: Bench,
) -> None:
    bench.away = True
    assert not bench.recovery.primed.is_set()
    bench.recovery.step()
    assert bench.recovery.primed.is_set()


# -- files that are late --------------------------------------------------------------------------


def filed_scan(uid: str, file: Path, *, time: float = NOW - 600) -> Documents:
    """Return the documents of a fly scan whose numbers lie in a file."""
    run = event_model.compose_run(uid=uid, time=time, metadata={"scan_id": 1})
    key = {"source": "s", "dtype": "array", "shape": [1, len(ENERGY)], "dtype_numpy": "<f8"}
    keys = {name: {**key, "external": "STREAM:"} for name in ("mono", "mu")}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    docs: Documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for name in keys:
        resource = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{file}",
            data_key=name,
            parameters={"dataset": name, "chunk_shape": (1, len(ENERGY))},
        )
        places = {"indices": {"start": 0, "stop": 1}, "seq_nums": {"start": 1, "stop": 2}}
        datum = resource.compose_stream_datum(descriptor=stream.descriptor_doc, **places)
        docs += [("stream_resource", resource.stream_resource_doc), ("stream_datum", datum)]
    return [*docs, ("stop", {**run.compose_stop(), "time": time + 60})]


def write(file: Path) -> None:
    with h5py.File(file, "w") as h5:
        h5["mono"] = ENERGY[None]
        h5["mu"] = (np.arctan((ENERGY - 1845.0) / 0.8) + 2.0)[None]


@pytest.fixture
def filed(
    bench_of: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Bench, Path]:
    """A bench that has heard a run whose file is not there, and the file."""
    instrument = PROFILE.instrument.model_copy(update={"readable_roots": (str(tmp_path),)})
    monkeypatch.setattr(
        f"{__name__}.PROFILE", PROFILE.model_copy(update={"instrument": instrument})
    )
    docs = filed_scan("filed", tmp_path / "late.h5")
    recovery = "nearedge.streaming.service.recovery"
    monkeypatch.setattr(f"{recovery}.is_finished", lambda raw, uid: True)
    monkeypatch.setattr(f"{recovery}.documents_of", lambda raw, uid: iter(docs))
    bench = bench_of()
    bench.hear(docs)
    return bench, tmp_path / "late.h5"


def test_a_file_that_is_late_is_waited_for(filed: tuple[Bench, Path], clock: Clock) -> None:
    bench, file = filed
    assert bench.job("filed").state is State.HELD
    bench.recovery.step()
    assert bench.job("filed").state is State.HELD
    write(file)
    clock.pass_(5)
    bench.recovery.step()
    assert (bench.job("filed").state, bench.flags("filed")) == (State.QUEUED, ())


def test_a_file_that_is_very_late_takes_the_place_of_the_rejection(
    filed: tuple[Bench, Path], clock: Clock
) -> None:
    bench, file = filed
    clock.pass_(61)
    bench.recovery.step()
    job = bench.job("filed")
    assert (job.state, job.outcome) == (State.WRITING, State.REJECTED)
    ((uid, why),) = bench.ledger.runs.failed()
    assert (uid, "found no file" in why) == ("filed", True)
    clock.pass_(40)
    bench.recovery.step()
    assert bench.job("filed").outcome is State.REJECTED
    write(file)
    clock.pass_(3601)
    bench.recovery.step()
    assert (bench.job("filed").state, bench.job("filed").outcome) == (State.QUEUED, State.COMPLETE)
    assert bench.ledger.runs.failed() == []


# -- darks ----------------------------------------------------------------------------------------

DARK_PROFILE = Profile.model_validate(
    {
        "instrument": {
            "signal": "transmission",
            "roles": {"energy": "mono", "i0": "i0", "it": "it"},
        }
    }
)


def dark_run(uid: str, *, time: float, level: float, **marks: object) -> Documents:
    """Return the documents of a run with the shutter closed."""
    run = event_model.compose_run(uid=uid, time=time, metadata=marks or {"dark_frame": True})
    names = ("mono", "i0", "it")
    keys = {name: {"source": "test", "dtype": "number", "shape": []} for name in names}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    data = {"mono": 1840.0, "i0": level, "it": 2 * level}
    event = stream.compose_event(data=data, timestamps=dict.fromkeys(data, time))
    stop = {**run.compose_stop(), "time": time + 1}
    return [
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        ("event", {**event, "time": time}),
        ("stop", stop),
    ]


def level_before(darks: Darks, time: float) -> float | None:
    means, _ = darks.before(time, {"i0": np.zeros(3)})
    return float(means["i0"]) if "i0" in means else None


def test_the_latest_dark_before_a_run_is_found_in_the_catalog(raw: Any) -> None:
    for n in range(3):
        store(raw, dark_run(f"dark-{n}", time=NOW + 100 * n, level=1.0 + n))
    darks = Darks()
    dark_runs = DarkRuns(lambda: raw, DARK_PROFILE.instrument)
    dark_runs.recall({"uid": "sample", "time": NOW + 150}, into=darks)
    assert level_before(darks, NOW + 150) == 2.0
    assert darks.get("dark-2") is None  # it came later


def test_a_dark_needs_no_dark(raw: Any) -> None:
    store(raw, dark_run("dark", time=NOW, level=1.0))
    darks = Darks()
    dark_runs = DarkRuns(lambda: raw, DARK_PROFILE.instrument)
    dark_runs.recall({"uid": "other", "time": NOW + 10, "dark_frame": True}, into=darks)
    assert level_before(darks, NOW + 10) is None


def test_darks_outlive_the_process_that_saw_them(tmp_path) -> None:
    path = tmp_path / "ledger.sqlite"
    before = Ledger(path)
    dark = Dark(run_uid="dark", ended=NOW, means={"i0": np.array(3.0)})
    KeptDarks(before.darks).add(dark)
    before.close()
    after = Ledger(path)
    assert level_before(KeptDarks(after.darks), NOW + 1) == 3.0
    after.close()


def test_threads_may_share_the_darks() -> None:
    darks = Darks()
    levels = [Dark(run_uid=str(n), ended=NOW + n, means={"i0": np.array(n)}) for n in range(200)]
    adding = threading.Thread(target=lambda: [darks.add(dark) for dark in levels])
    adding.start()
    while adding.is_alive():
        darks.before(NOW + 1000, {"i0": np.zeros(3)})
    adding.join()
    assert level_before(darks, NOW + 1000) == 199.0
