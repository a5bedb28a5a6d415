"""Runs that a RunEngine makes: the plans of Bluesky, and those of people."""

import enum
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.utils import RunEngineInterrupted
from ophyd.sim import SynSignal
from ophyd_async.core import (
    StandardReadable,
    StandardReadableFormat,
    StrictEnum,
    init_devices,
    soft_signal_rw,
)

from benchmarks.beamlines.beamline import EDGE, ENERGIES, Beamline
from benchmarks.beamlines.case import Sent, case

ALONG = ENERGIES.tolist()
CHECKPOINT = 30  # the point at which things happen


def one(uids: list[str], **expected: Any) -> list[Sent]:
    """Return what was sent: the same of every run."""
    return [Sent(uid=uid, **expected) for uid in uids]


@case("`list_scan`")
def list_scan(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, ALONG)))


@case("`scan`, evenly spaced")
def scan(line: Beamline) -> list[Sent]:
    return one(line.run(bp.scan(line.detectors, line.mono, EDGE - 40, EDGE + 70, 150)))


@case("`rel_scan`")
def rel_scan(line: Beamline) -> list[Sent]:
    line.mono.set(EDGE)
    return one(line.run(bp.rel_scan(line.detectors, line.mono, -40, 70, 150)))


@case("`list_scan` down in energy")
def descending(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, ALONG[::-1])))


@case("to and fro in one run")
def sweeps(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, ALONG + ALONG[::-1])))


@case("every energy twice")
def twice(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, np.repeat(ALONG, 2).tolist())))


@case("`list_grid_scan`, the energy innermost")
def grid_inner(line: Beamline) -> list[Sent]:
    plan = bp.list_grid_scan(line.detectors, line.x, [0, 1], line.mono, ALONG)
    return one(line.run(plan), spectra=2)


@case("`list_grid_scan`, the energy outermost")
def grid_outer(line: Beamline) -> list[Sent]:
    plan = bp.list_grid_scan(line.detectors, line.mono, ALONG, line.x, [0, 1])
    return one(line.run(plan), spectra=2)


@case("`inner_product_scan` of energy and gap together")
def coupled(line: Beamline) -> list[Sent]:
    line.x.set(0)
    plan = bp.inner_product_scan(
        line.detectors, 150, line.mono, EDGE - 40, EDGE + 70, line.temperature, 0, 1
    )
    return one(line.run(plan))


@case("three more detectors, one of them an image in each event")
def crowded(line: Beamline) -> list[Sent]:
    more = [
        SynSignal(func=lambda: np.arange(48.0).reshape(6, 8), name="camera"),
        SynSignal(func=lambda: float("nan"), name="broken"),
        SynSignal(func=lambda: "open", name="shutter_text"),
    ]
    return one(line.run(bp.list_scan([*line.detectors, *more], line.mono, ALONG)))


@case("stage, baseline and a monitored signal")
def dressed(line: Beamline) -> list[Sent]:
    plan = bp.list_scan(line.detectors, line.mono, ALONG)
    plan = bpp.baseline_wrapper(plan, [line.x, line.temperature])
    return one(line.run(bpp.monitor_during_wrapper(plan, [line.i0])))


@case("paused at a point and resumed")
def paused(line: Beamline) -> list[Sent]:
    @bpp.stage_decorator([*line.detectors, line.mono])
    @bpp.run_decorator(md={"motors": ["mono_energy"]})
    def plan() -> Iterator[Any]:
        for number, energy in enumerate(ALONG):
            yield from bps.checkpoint()
            yield from bps.mv(line.mono, energy)
            yield from bps.trigger_and_read([*line.detectors, line.mono])
            if number == CHECKPOINT:
                yield from bps.pause()

    uids: list[str] = []
    token = line.RE.subscribe(lambda name, doc: uids.append(doc["uid"]), "start")
    try:
        line.RE(plan())
    except RunEngineInterrupted:
        line.RE.resume()
    line.RE.unsubscribe(token)
    return one(uids)


def failing(line: Beamline, after: int) -> list[str]:
    """Run a scan that raises; return the uids of its runs."""
    uids: list[str] = []

    def point(detectors: Any, step: Any, pos_cache: Any) -> Iterator[Any]:
        yield from bps.move_per_step(step, pos_cache)
        if line.mono.position > ALONG[after]:
            raise RuntimeError("the shutter fell")
        yield from bps.trigger_and_read([*detectors, line.mono])

    token = line.RE.subscribe(lambda name, doc: uids.append(doc["uid"]), "start")
    try:
        line.RE(bp.list_scan(line.detectors, line.mono, ALONG, per_step=point))
    except RuntimeError:
        pass
    line.RE.unsubscribe(token)
    return uids


@case("failed past the edge")
def failed_late(line: Beamline) -> list[Sent]:
    return one(failing(line, 70), outcome="answered")


@case("failed before the edge")
def failed_early(line: Beamline) -> list[Sent]:
    return one(failing(line, 10), outcome="rejected")


@case("a scan of one point")
def one_point(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, ALONG[:1])), outcome="rejected")


@case("the detector behind the sample is missing")
def missing(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan([line.i0], line.mono, ALONG)), outcome="rejected")


@case("a scan that ends below the edge")
def below(line: Beamline) -> list[Sent]:
    plan = bp.scan(line.detectors, line.mono, EDGE - 55, EDGE - 15, 60)
    return one(line.run(plan), outcome="rejected")


@case("a dark and a reference")
def no_samples(line: Beamline) -> list[Sent]:
    line.shutter_open = False
    uids = line.run(bp.count([*line.detectors, line.mono], 3), dark_frame=True)
    line.shutter_open = True
    uids += line.run(bp.list_scan(line.detectors, line.mono, ALONG), scan_type="reference")
    return one(uids, outcome="rejected")


@case("`count`, an alignment scan, a run of its baseline alone")
def no_energy(line: Beamline) -> list[Sent]:
    uids = line.run(bp.count(line.detectors, 3))
    uids += line.run(bp.rel_scan(line.detectors, line.x, -1, 1, 11))
    uids += line.run(bpp.baseline_wrapper(bp.count([], 1), [line.x]))
    line.x.set(0)
    return one(uids, outcome="left out")


@case("a series: scans as runs within a run")
def nested(line: Beamline) -> list[Sent]:
    def point(detectors: Any, step: Any, pos_cache: Any) -> Iterator[Any]:
        yield from bps.move_per_step(step, pos_cache)
        inner = bp.list_scan(line.detectors, line.mono, ALONG, md={"inner": True})
        yield from bpp.set_run_key_wrapper(inner, "scan")
        yield from bps.trigger_and_read([line.temperature])

    outer, *inner = line.run(bp.scan([], line.temperature, 300, 400, 3, per_step=point))
    return [*one([outer], outcome="left out"), *one(inner)]


@case("the metadata of a queue server")
def queued(line: Beamline) -> list[Sent]:
    plan = bp.list_scan(line.detectors, line.mono, ALONG)
    return one(
        line.run(
            plan,
            scan_id=2**40,
            item_uid="8b0c5a0e",
            plan_type="generator",
            user="Queue Server API User",
            user_group="primary",
            proposal={"id": 314159, "title": "Silica, dense", "pi": None},
            plan_kwargs={"energies": ALONG, "nested": {"deep": [{"er": [1, [2, [3]]]}]}},
        )
    )


class Mode(StrictEnum):
    """A mode of an analyser."""

    CONTINUOUS = "continuous"
    STEP = "step"


class Cryostat(StandardReadable):
    """A device of ophyd-async whose configuration is an enumeration."""

    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables(StandardReadableFormat.CONFIG_SIGNAL):
            self.mode = soft_signal_rw(Mode, Mode.STEP)
        with self.add_children_as_readables():
            self.temp = soft_signal_rw(float, 300.0)
        super().__init__(name=name)


@case("an enumeration of ophyd-async among the configuration")
def enumeration(line: Beamline) -> list[Sent]:
    with init_devices():
        cryostat = Cryostat(name="cryostat")
    return one(line.run(bp.list_scan([*line.detectors, cryostat], line.mono, ALONG)))


class Colour(enum.Enum):
    """An enumeration of somebody's own."""

    RED = 1


@case("objects of foreign classes in the metadata: 14 runs")
def foreign(line: Beamline) -> list[Sent]:
    import collections
    import datetime
    import fractions
    import pathlib
    import uuid

    odd = [
        datetime.datetime.now(),
        datetime.date.today(),
        pathlib.Path("/nsls2/data"),
        uuid.uuid4(),
        {1, 2},
        collections.deque([1]),
        collections.defaultdict(int, {"a": 1}),
        np.ma.array([1, 2], mask=[0, 1]),
        np.arange(3),
        np.float64(1),
        np.datetime64("2026-01-01"),
        Colour.RED,
        fractions.Fraction(1, 3),
        slice(0, 1),
    ]
    sent: list[Sent] = []
    for value in odd:
        plan = bp.list_scan(line.detectors, line.mono, ALONG[::2])
        sent += one(line.run(plan, extra=value))
    return sent


@case("documents that the session stores in Tiled, too")
def stored(line: Beamline) -> list[Sent]:
    return one(line.run(bp.list_scan(line.detectors, line.mono, ALONG), store=True))
