"""Devices that measure a simulated map: lines of a spectrum image, sweeps, and images."""

import asyncio

import numpy as np
from bluesky.protocols import Movable, Triggerable
from numpy.typing import NDArray
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    PathProvider,
    StandardDetector,
    StandardReadable,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from nearedge.sim.frame_files import (
    FrameAcquisition,
    FrameFiles,
    FrameForm,
    FrameTrigger,
    FrameWriter,
)
from nearedge.sim.maps import SimulatedMap

RESOURCE = "spectrum"


class Stage(StandardReadable, Movable[float]):
    """Moves the sample under the probe, nm."""

    def __init__(self, *, name: str = "") -> None:
        self.at = 0.0
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.y, self._set_y = soft_signal_r_and_setter(float, 0.0, units="nm")
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:
        """Move to a line."""
        self.at = value
        self._set_y(value)


class LineCamera(StandardDetector):
    """A spectrometer's camera that writes a line of a spectrum image for each trigger."""

    def __init__(
        self,
        simulated: SimulatedMap,
        stage: Stage,
        *,
        dwell_s: float,
        path_provider: PathProvider,
        name: str = "",
    ) -> None:
        positions = simulated.axes[0].positions

        async def expose() -> tuple[NDArray[np.floating]]:
            await asyncio.sleep(dwell_s)
            return (simulated.data[int(np.abs(positions - stage.at).argmin())],)

        form = FrameForm(shape=simulated.data.shape[1:], dtype="<u4")
        writer = FrameWriter(expose, {RESOURCE: form})
        self.add_detector_logics(
            FrameTrigger(writer), FrameAcquisition(writer), FrameFiles(writer, path_provider)
        )
        step = float(simulated.energy[1] - simulated.energy[0])
        self.dispersion = soft_signal_rw(float, step, units="eV")
        self.offset = soft_signal_rw(float, float(simulated.energy[0]), units="eV")
        self.add_config_signals(self.dispersion, self.offset)
        super().__init__(name=name)


class Sweeper(StandardReadable, Triggerable):
    """A monochromator that sweeps over the edge to and fro, and the absorption that it finds."""

    def __init__(self, simulated: SimulatedMap, *, name: str = "") -> None:
        self._simulated, self._next = simulated, 0
        nothing = np.zeros(len(simulated.energy))
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.energy, self._set_energy = soft_signal_r_and_setter(
                Array1D[np.float64], nothing, units="eV"
            )
            self.mu, self._set_mu = soft_signal_r_and_setter(Array1D[np.float64], nothing)
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Sweep once, the other way round than before."""
        sweep = np.asarray(self._simulated.data[self._next % len(self._simulated.data)], float)
        way = -1 if self._next % 2 else 1
        self._next += 1
        self._set_energy(self._simulated.energy[::way].copy())
        self._set_mu(sweep[::way].copy())


class Imager(StandardReadable, Triggerable, Movable[float]):
    """A full-field microscope: an image of the absorption at the energy to which it is set."""

    def __init__(self, simulated: SimulatedMap, *, dwell_s: float, name: str = "") -> None:
        self._simulated, self._dwell_s = simulated, dwell_s
        self._at = float(simulated.energy[0])
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.energy, self._set_energy = soft_signal_r_and_setter(float, self._at, units="eV")
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.image, self._set_image = soft_signal_r_and_setter(
                np.ndarray, np.zeros(simulated.data.shape[1:])
            )
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:
        """Move to an energy, eV."""
        self._at = value
        self._set_energy(value)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Take an image."""
        await asyncio.sleep(self._dwell_s)
        nearest = int(np.abs(self._simulated.energy - self._at).argmin())
        self._set_image(np.asarray(self._simulated.data[nearest], np.float64))
