"""A hostile corpus through everything from the message to what would be written."""

import random
from itertools import zip_longest

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.models import Rejected
from nearedge.sim import hostile
from nearedge.streaming.answers.answer import answer_of_row
from nearedge.streaming.answers.forms import EXPORTS
from nearedge.streaming.answers.summary import summary
from nearedge.streaming.answers.trend import trend_csv
from nearedge.streaming.catalog import layout
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.growing import Growing
from nearedge.streaming.service.intake import place_of
from nearedge.streaming.service.notices import row_notice
from nearedge.streaming.sources.wire import WireError, decode

INSTRUMENT = Instrument.model_validate({"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}})
NOWHERE = layout.Provenance(config="", code="", written=0.0)
# numbers that are too large overflow on their way to being rejected
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
HOW = ("pickle", "msgpack", "json")


class Line:
    """All of the service that decides over a spectrum, without the model and the catalog."""

    def __init__(self, make_inversion, *, partial_every_s: float = 0.0) -> None:
        self.bad = 0
        self.ends: dict[str, str] = {}
        self._inversion = make_inversion()
        self._ledger = Ledger(":memory:")
        instrument = INSTRUMENT.model_copy(update={"partial_every_s": partial_every_s})
        self._assembler = Assembler(instrument, emit=self._take)

    def feed(self, frames) -> None:
        for frame in frames:
            try:
                document = decode(frame)
            except WireError:
                self.bad += 1
            else:
                self._assembler(*document)

    def finish(self) -> dict[str, str]:
        """End what is open; return what each spectrum came to."""
        self._assembler.close()
        self._ledger.close()
        return self.ends

    def _take(self, measurement) -> None:
        outcome = prepare(measurement, INSTRUMENT, supports=lambda absorber, edge: True)
        kept = unpack(pack({"measurement": measurement, "outcome": outcome}))  # as the ledger does
        if measurement.final:
            key = f"{measurement.run.uid}/{measurement.stream}/{measurement.spectrum}"
            assert self._ledger.submit(key, place_of(measurement), b"", ended=measurement.time)
            self.ends[key] = self._write(**kept)

    def _write(self, measurement, outcome) -> str:
        """Make what the catalog would get."""
        layout.raw_arrays(measurement)
        self._show(measurement, outcome)
        if isinstance(outcome, Rejected):
            assert "nearedge itself failed" not in outcome.detail, outcome.detail
            orjson.dumps(layout.rejected_metadata(measurement, outcome, NOWHERE))
            return "rejected"
        layout.ensemble_arrays(measurement, outcome, self._inversion)
        orjson.dumps(layout.ensemble_metadata(measurement, outcome, self._inversion, NOWHERE))
        return "complete"

    def _show(self, measurement, outcome) -> None:
        """Make what the page, the bus and those who take a result away would get."""
        rejected = isinstance(outcome, Rejected)
        row = Row(
            key="k",
            status=State.REJECTED if rejected else State.COMPLETE,
            measurement=measurement,
            outcome=outcome,
            inversion=None if rejected else self._inversion,
            error=None,
            stages={},
        )
        told = summary(row)
        orjson.dumps(told)
        trend_csv([told]).encode()
        for _, doc in row_notice(row):
            orjson.dumps(doc)
        growing = Growing(measurement=measurement, outcome=outcome, inversion=row.inversion)
        orjson.dumps(growing.notice())
        orjson.dumps(growing.view(), option=orjson.OPT_SERIALIZE_NUMPY)
        if answer := answer_of_row(row):
            for form in EXPORTS.values():
                form.content(answer)


@pytest.fixture
def line(make_inversion) -> Line:
    return Line(make_inversion)


def frames_of(docs, how: str = "pickle") -> list[bytes]:
    return [hostile.serialise(name, doc, how=how) for name, doc in docs]


def around(line: Line, frames: list[bytes]) -> dict[str, str]:
    """Feed frames in the midst of a good run, and return what comes of that run and of theirs."""
    good = hostile.good_run(scan_id=7)
    head, tail = frames_of(good[:30]), frames_of(good[30:])
    line.feed([*head, *frames, *tail])
    ends = line.finish()
    assert ends.pop(f"{good[0][1]['uid']}/primary/0") == "complete"
    return ends


@pytest.mark.parametrize("name", hostile.FRAMES)
def test_a_frame_that_is_no_document_is_counted_and_harms_nothing(name, line):
    assert around(line, [hostile.FRAMES[name]]) == {}
    assert line.bad == 1


@pytest.mark.parametrize("name", hostile.RUNS)
def test_an_insane_run_has_an_end_and_harms_no_other(name, line):
    ends = around(line, frames_of(hostile.RUNS[name]()))
    assert set(ends.values()) <= {"complete", "rejected"}
    assert len(ends) <= 1


@pytest.mark.parametrize("how", HOW)
def test_all_insane_runs_interleaved_harm_no_other(how, make_inversion):
    line = Line(make_inversion, partial_every_s=0.5)
    runs = [frames_of(make(), how) for make in hostile.RUNS.values()]
    ends = around(line, [frame for row in zip_longest(*runs) for frame in row if frame])
    assert set(ends.values()) <= {"complete", "rejected"}
    assert len(runs) // 2 < len(ends) < len(runs)


@pytest.mark.parametrize(
    "name",
    [
        *("only NaN", "keV for eV", "meV for eV", "negative energies"),
        *("negative step", "flat", "all zero", "one point", "another edge"),
        *("aborted before the edge", "text for numbers", "None for numbers", "lists for numbers"),
        *("maps for numbers", "an empty array", "empty data"),
    ],
)
def test_what_holds_no_spectrum_is_rejected_rather_than_answered(name, line):
    assert list(around(line, frames_of(hostile.RUNS[name]())).values()) == ["rejected"]


@pytest.mark.parametrize("name", ["zero energies", "one energy"])
def test_a_run_that_scans_no_energy_is_left_out(name, line):
    assert not around(line, frames_of(hostile.RUNS[name]()))


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(HOW), st.booleans())
def test_mutated_runs_harm_no_other(make_inversion, rng: random.Random, how: str, whole: bool):
    line = Line(make_inversion)
    docs = hostile.good_run(points=12, whole=whole)
    mutated = [doc for _ in range(4) for doc in hostile.mutate(docs, rng, changes=3)]
    ends = around(line, frames_of(mutated, how))
    assert set(ends.values()) <= {"complete", "rejected"}


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(HOW))
def test_mutated_messages_harm_no_other(make_inversion, rng: random.Random, how: str):
    line = Line(make_inversion)
    frames = frames_of(hostile.good_run(points=12), how)
    ends = around(line, [hostile.mutate_frame(frame, rng) for frame in frames])
    assert set(ends.values()) <= {"complete", "rejected"}


def test_a_mutated_run_means_no_other():
    rng = random.Random(0)
    docs = hostile.good_run(points=12)
    uids = {doc["uid"] for _, doc in docs}
    for _ in range(50):
        for _, doc in hostile.mutate(docs, rng):
            assert not uids & {value for value in doc.values() if isinstance(value, str)}
