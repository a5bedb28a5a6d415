"""The shipped plans that use the device, with a RunEngine and a service that is played."""

import math
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from ophyd.sim import SynAxis, SynSignal

from nearedge.profiles.startup.follow_change import FastestChange, follow_change
from nearedge.profiles.startup.stop_early import scan_until_known
from nearedge.streaming.acquisition import Answers, NearEdge
from nearedge.streaming.service.notices import partial_notice
from tests.streaming.acquisition.conftest import until

POINTS = 20


class Session:
    """A RunEngine, an energy axis and a detector; what happens is kept."""

    def __init__(self, answers: Answers) -> None:
        self.nearedge = NearEdge(name="nearedge", answers=answers)
        self.mono = SynAxis(name="mono")
        self.mu = SynSignal(func=lambda: self.mono.position**2, name="mu")
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.RE = RunEngine({}, context_managers=[])
        self.RE.subscribe(lambda name, doc: self.documents.append((name, doc)))
        self.RE.subscribe(self.nearedge.follow)

    def of(self, name: str, **which: object) -> list[dict[str, Any]]:
        return [doc for n, doc in self.documents if n == name and which.items() <= doc.items()]

    def scan(self, width: int = 0) -> None:
        positions = np.linspace(0, 1, POINTS).tolist()
        plan = scan_until_known(
            [self.mu], self.mono, positions, nearedge=self.nearedge, width=width
        )
        self.RE(plan)

    def at_event(self, number: int, do) -> None:
        """Do something with the run's start document once so many events are there."""

        def note(name, doc):
            if len(self.of("event")) == number:
                do(self.of("start")[-1])

        self.RE.subscribe(note, "event")


@pytest.fixture
def session(answers) -> Session:
    return Session(answers)


@pytest.fixture
def partial(bus, answers, row_of):
    """Publish the answer to a run that still grows."""

    def publish(run_uid: str, *, cn: float = 4.25, **other) -> None:
        row = row_of(run_uid, cn=cn)
        inversion = row.inversion
        for name, value in other.items():
            object.__setattr__(inversion, name, value)
        bus._send(partial_notice(row.measurement, row.outcome, inversion))
        until(lambda: answers.to(run_uid))

    return publish


def test_a_scan_ends_once_the_coordination_number_is_known(session, partial):
    session.at_event(8, lambda start: partial(start["uid"]))
    session.scan(width=1)  # the prediction set is {4, 5}
    descriptors = {doc["uid"]: doc["name"] for doc in session.of("descriptor")}
    streams = [descriptors[doc["descriptor"]] for doc in session.of("event")]
    assert streams == ["primary"] * 8 + ["nearedge"]
    assert session.of("event")[-1]["data"]["nearedge_cn_mean"] == 4.25
    assert session.of("stop")[0]["exit_status"] == "success"


def test_an_interval_that_is_too_wide_ends_no_scan(session, partial):
    session.at_event(8, lambda start: partial(start["uid"]))
    session.scan(width=0)
    assert len(session.of("event")) == POINTS


def test_an_answer_unlike_all_that_was_learned_ends_no_scan(session, partial):
    session.at_event(8, lambda start: partial(start["uid"], ood_flag=True))
    session.scan(width=1)
    assert len(session.of("event")) == POINTS


def test_an_answer_to_another_run_ends_no_scan(session, partial):
    partial("another")
    session.scan(width=1)
    assert len(session.of("event")) == POINTS


def test_a_scan_without_a_service_goes_to_its_end():
    answers = Answers("127.0.0.1:9")
    session = Session(answers)
    session.scan()
    assert len(session.of("event")) == POINTS
    answers.close()


# -- the series that follows the change -----------------------------------------------------------


def coordination(temperature: float) -> float:
    """A transition at 640, ten wide."""
    return 4 + 2 / (1 + math.exp((640 - temperature) / 5))


def asked(chooser: FastestChange, figure) -> list[float]:
    positions = []
    while (position := chooser.ask()) is not None:
        positions.append(position)
        chooser.tell(position, figure(position))
    return positions


def test_positions_gather_where_the_figure_changes():
    positions = asked(FastestChange(300, 900, closest=5), coordination)
    assert positions[:4] == [300, 500, 700, 900]
    near = [x for x in positions[4:] if abs(x - 640) < 40]
    assert len(near) >= 4
    assert len(positions) < 15  # evenly so close would be 121
    assert min(np.diff(sorted(positions))) >= 5


def test_noise_is_no_change():
    jitter = np.random.default_rng(0)
    positions = asked(FastestChange(300, 900, closest=5), lambda x: 4 + jitter.uniform(0, 0.1))
    assert len(positions) == 4


def test_a_position_without_an_answer_is_not_asked_for_again():
    def blind(x: float) -> float:
        return math.nan if x == 600 else coordination(x)

    positions = asked(FastestChange(300, 900, closest=5), blind)
    assert positions.count(600) == 1


def test_a_series_follows_the_change(session, bus, row_of):
    furnace = SynAxis(name="furnace")
    energies = np.linspace(0, 1, 5).tolist()

    def serve(name, doc):
        start = session.of("start", uid=doc["run_start"])[0]
        if "series" in start:
            bus.row(row_of(start["uid"], cn=coordination(furnace.position), began=start["time"]))

    session.RE.subscribe(serve, "stop")

    def measure():
        yield from bp.list_scan([session.mu], session.mono, energies)

    chooser = FastestChange(300, 900, closest=5)
    session.RE(follow_change(session.nearedge, furnace, measure, chooser=chooser, most=9))
    series = session.of("start", plan_name="follow_change")[0]
    (own,) = session.of("descriptor", run_start=series["uid"])
    points = [doc["data"] for doc in session.of("event", descriptor=own["uid"])]
    assert len(points) == 9
    scans = session.of("start", series=series["uid"])
    assert [point["nearedge_raw_uid"] for point in points] == [scan["uid"] for scan in scans]
    for point in points:
        assert point["nearedge_key"] == f"key-{point['nearedge_raw_uid']}"
        assert point["nearedge_cn_mean"] == pytest.approx(coordination(point["furnace"]))
    assert sum(abs(point["furnace"] - 640) < 60 for point in points[4:]) >= 3


def test_a_series_does_not_rely_on_answers_unlike_all_that_was_learned(session, bus, row_of):
    furnace = SynAxis(name="furnace")

    def serve(name, doc):
        row = row_of(doc["run_start"], cn=furnace.position / 100, began=1e9)
        object.__setattr__(row.inversion, "ood_flag", True)
        bus.row(row)

    session.RE.subscribe(serve, "stop")
    chooser = FastestChange(300, 900, closest=5)
    plan = follow_change(
        session.nearedge, furnace, lambda: bp.count([session.mu]), chooser=chooser, most=9
    )
    session.RE(plan)
    assert chooser.found == {}
    assert len(session.of("start")) == 1 + 4
