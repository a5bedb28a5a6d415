"""Runs that measure a simulated map with a stock RunEngine."""

import uuid
from collections.abc import Callable
from pathlib import Path

import bluesky.plans as bp
from bluesky.utils import MsgGenerator
from ophyd_async.core import StaticPathProvider, init_devices

from nearedge.sim.map_devices import Imager, LineCamera, Stage, Sweeper
from nearedge.sim.maps import KINDS, SimulatedMap
from nearedge.streaming.settings.profile import Profile

KIND_OF_MODE = {"eels-map": "eels", "quick": "quick", "xanes-map": "xanes"}
"""What each mode of the simulator that is a map measures."""


def map_of(profile: Profile) -> SimulatedMap:
    """Return the map that a profile measures, and its truth."""
    return KINDS[KIND_OF_MODE[profile.simulator.mode]](seed=profile.simulator.seed)


def map_plan(profile: Profile, directory: Path | None) -> MsgGenerator[list[str]]:
    """Return the plan that measures a map so often as the profile says, and returns the uids.

    A RunEngine must exist before: it owns the event loop that connects the devices.

    Parameters
    ----------
    profile
        What is measured.
    directory
        The folder of the camera's files.
    """
    measure = _PLANS[profile.simulator.mode](map_of(profile), profile, directory)
    return _repeated(measure, profile.simulator.scans)


def _repeated(measure: "Measure", count: int) -> MsgGenerator[list[str]]:
    uids: list[str] = []
    for number in range(count):
        uids.append((yield from measure(number)))
    return uids


Measure = Callable[[int], MsgGenerator[str]]


def _lines(simulated: SimulatedMap, profile: Profile, directory: Path | None) -> Measure:
    if directory is None:
        raise ValueError(
            "mode eels-map writes HDF5 files and found no folder for them: "
            "set instrument.readable_roots to the folder they shall go to"
        )
    provider = StaticPathProvider(lambda device=None: uuid.uuid4().hex, directory)
    dwell_s = profile.simulator.dwell_s
    with init_devices():
        stage = Stage()
        camera = LineCamera(simulated, stage, dwell_s=dwell_s, path_provider=provider)
    positions = simulated.axes[0].positions

    def measure(number: int) -> MsgGenerator[str]:
        ends = float(positions[0]), float(positions[-1])
        plan = bp.scan([camera], stage, *ends, num=len(positions), md=_about(number))
        return (yield from plan)

    return measure


def _sweeps(simulated: SimulatedMap, profile: Profile, directory: Path | None) -> Measure:
    with init_devices():
        sweeper = Sweeper(simulated)
    count, every_s = len(simulated.data), profile.simulator.dwell_s

    def measure(number: int) -> MsgGenerator[str]:
        return (yield from bp.count([sweeper], num=count, delay=every_s, md=_about(number)))

    return measure


def _images(simulated: SimulatedMap, profile: Profile, directory: Path | None) -> Measure:
    with init_devices():
        imager = Imager(simulated, dwell_s=profile.simulator.dwell_s)
    energies = simulated.energy.tolist()

    def measure(number: int) -> MsgGenerator[str]:
        return (yield from bp.list_scan([imager], imager, energies, md=_about(number)))  # type: ignore[arg-type]

    return measure


def _about(number: int) -> dict[str, object]:
    return {"sample_name": "simulated silica", "simulation": {"map": number}}


_PLANS = {"eels-map": _lines, "quick": _sweeps, "xanes-map": _images}
