"""The simulated station: every device of one profile around one hutch."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ophyd_async.core import (
    StandardDetector,
    StandardReadable,
    StaticPathProvider,
    init_devices,
)

from nearedge.callbacks.instrument import Instrument
from nearedge.sim.camera import EelsCamera, EelsFileCamera, Optics
from nearedge.sim.devices import FluorescenceDetector, IonChambers, Mono, Press, Ring, Shutter
from nearedge.sim.hutch import Hutch
from nearedge.sim.silica import Specimen, silica
from nearedge.streaming.settings.profile import Profile, SimulatorSettings

PHOTONS, ELECTRONS = 1e8, 1e11  # per second

Detectors = tuple[StandardReadable | StandardDetector, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Station:
    """Devices that a plan needs, and the hutch they stand in.

    Attributes
    ----------
    detectors
        Read at every point of a scan, or in every frame.
    ring
        Read before a run and after it.
    """

    hutch: Hutch
    mono: Mono
    press: Press
    shutter: Shutter
    ring: Ring
    detectors: Detectors


def build_station(
    profile: Profile,
    *,
    specimen: Specimen | None = None,
    directory: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Station:
    """Return the station that a profile describes.

    A RunEngine must exist before: it owns the event loop that connects the devices.

    Parameters
    ----------
    specimen
        None: silica at the profile's edge.
    directory
        The folder for the files of the camera (mode ``eels-files``).

    Raises
    ------
    ValueError
        If the edge has no shipped spectra, or a camera that writes files has no directory.
    """
    settings = profile.simulator
    hutch = build_hutch(profile.instrument, settings, specimen=specimen, clock=clock, sleep=sleep)
    with init_devices():
        mono, press, shutter, ring = Mono(hutch), Press(hutch), Shutter(hutch), Ring(hutch)
        detectors = DETECTORS[settings.mode](hutch, settings, directory)
    for detector, name in zip(detectors, NAMES[settings.mode], strict=True):
        detector.set_name(name)
    return Station(
        hutch=hutch, mono=mono, press=press, shutter=shutter, ring=ring, detectors=detectors
    )


def build_hutch(
    instrument: Instrument,
    settings: SimulatorSettings,
    *,
    specimen: Specimen | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Hutch:
    """Return the hutch with its specimen."""
    return Hutch(
        specimen=specimen or silica(instrument.absorber, instrument.edge),
        flux=settings.flux or (ELECTRONS if settings.mode.startswith("eels") else PHOTONS),
        resolution_ev=settings.resolution_ev,
        energy_offset_ev=settings.energy_offset_ev,
        seed=settings.seed,
        clock=clock,
        sleep=sleep,
    )


def _transmission(hutch: Hutch, settings: SimulatorSettings, directory: Path | None) -> Detectors:
    return (IonChambers(hutch, dwell_s=settings.dwell_s),)


def _fluorescence(hutch: Hutch, settings: SimulatorSettings, directory: Path | None) -> Detectors:
    return (
        IonChambers(hutch, dwell_s=settings.dwell_s),
        FluorescenceDetector(hutch, dwell_s=settings.dwell_s),
    )


def _eels(hutch: Hutch, settings: SimulatorSettings, directory: Path | None) -> Detectors:
    return (EelsCamera(Optics(hutch, dwell_s=settings.dwell_s)),)


def _eels_files(hutch: Hutch, settings: SimulatorSettings, directory: Path | None) -> Detectors:
    if directory is None:
        raise ValueError(
            "mode eels-files writes HDF5 files and found no folder for them: "
            "set instrument.readable_roots to the folder they shall go to"
        )
    provider = StaticPathProvider(lambda device=None: uuid.uuid4().hex, directory)
    return (EelsFileCamera(Optics(hutch, dwell_s=settings.dwell_s), path_provider=provider),)


DETECTORS = {
    "transmission": _transmission,
    "fluorescence": _fluorescence,
    "eels": _eels,
    "eels-files": _eels_files,
}
NAMES = {
    "transmission": ("chambers",),
    "fluorescence": ("chambers", "fluo"),
    "eels": ("camera",),
    "eels-files": ("camera",),
}
