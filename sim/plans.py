"""Plans of the simulated station: scans, frames, darks, and the ramp that strings them together."""

from collections.abc import Callable, Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
from bluesky.utils import MsgGenerator

from nearedge.models.spectrum import Array, Technique
from nearedge.sim.station import Station

# eV from the edge: FEFF's spectra end about 60 eV past it
SCAN_RANGE = (-30.0, 60.0)
# eV from the edge where the share of points is reached: most of them where the structure is
SHARES = ((-30.0, 0.0), (-6.0, 0.15), (20.0, 0.75), (60.0, 1.0))
DARK_POINTS = 5


def scan_energies(edge_energy: float, *, points: int) -> Array:
    """Return the energies of a step scan: (points,) eV, rising, most of them near the edge."""
    at, share = np.array(SHARES).T
    energies: Array = edge_energy + np.interp(np.linspace(0, 1, points), share, at)
    return energies


def metadata(station: Station, technique: Technique) -> dict[str, Any]:
    """Return what the start document says of a measurement.

    What only a simulator can know is under ``simulation``: nothing that makes an answer may read
    it. A trend can be drawn against its numbers as against those of any metadata.
    """
    hutch = station.hutch
    return {
        "sample_name": hutch.specimen.name,
        "technique": str(technique),
        "absorber": hutch.specimen.absorber,
        "edge": hutch.specimen.edge,
        "simulation": {
            "truth": hutch.specimen.truth(hutch.pressure).metadata(),
            "energy_offset_ev": hutch.energy_offset_ev,
            "edge_shift_ev": hutch.specimen.shift,
        },
    }


def xanes_scan(station: Station, *, points: int) -> MsgGenerator[str]:
    """Step through the edge: one run, one event for each energy."""
    energies = scan_energies(station.hutch.specimen.edge_energy, points=points)
    return (
        yield from bp.list_scan(
            [*station.detectors, station.press],
            station.mono,  # type: ignore[arg-type]
            energies.tolist(),
            md=metadata(station, Technique.XANES),
        )
    )


def eels_acquire(station: Station, *, frames: int) -> MsgGenerator[str]:
    """Take whole spectra: one run, one event (or one datum of a file) for each frame."""
    return (
        yield from bp.count(
            [*station.detectors, station.press],
            num=frames,
            md=metadata(station, Technique.EELS),
        )
    )


def dark_run(station: Station, *, technique: Technique) -> MsgGenerator[str]:
    """Read the detectors with the shutter closed, marked as a dark; leave the shutter open."""
    readables = [*station.detectors, station.press]
    if technique == Technique.XANES:
        readables.append(station.mono)
    yield from bps.mv(station.shutter, False)
    md = metadata(station, technique) | {"dark_frame": True, "scan_type": "dark"}
    del md["simulation"]  # there is no truth about a dark
    uid = yield from bp.count(readables, num=DARK_POINTS, md=md)
    yield from bps.mv(station.shutter, True)
    return uid


def pressure_ramp(
    station: Station,
    pressures: Sequence[float],
    measure: Callable[[Station], MsgGenerator[str]],
    *,
    pause_s: float = 0.0,
) -> MsgGenerator[list[str]]:
    """Measure at each pressure (GPa) in turn and return the uids of the runs."""
    uids: list[str] = []
    for pressure in pressures:
        yield from bps.mv(station.press, pressure)
        uids.append((yield from measure(station)))
        yield from bps.sleep(pause_s)
    return uids
