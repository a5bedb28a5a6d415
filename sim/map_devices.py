"""Devices that measure a simulated map: lines of a spectrum image, sweeps, and images."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from bluesky.protocols import Movable, Triggerable
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    PathProvider,
    StandardDetector,
    StandardReadable,
    StreamableDataProvider,
    StreamResourceDataProvider,
    StreamResourceInfo,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from nearedge.sim.camera import FrameAcquisition, FrameFiles, FrameTrigger, FrameWriter
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


class LineWriter(FrameWriter):
    """Writes the line of a spectrum image at which the stage is, (x, energy) counts."""

    def __init__(self, simulated: SimulatedMap, stage: Stage, *, dwell_s: float) -> None:
        self._simulated, self._stage, self._dwell_s = simulated, stage, dwell_s
        self._lines: h5py.File | None = None
        self.frames = 1
        self.written, self.set_written = soft_signal_r_and_setter(int)

    def open(self, path: Path) -> None:
        """Start a file without a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = self._simulated.data.shape[1:]
        self._lines = h5py.File(path, "w", libver="latest", locking=False)
        self._lines.create_dataset(
            RESOURCE, (0, *shape), np.uint32, maxshape=(None, *shape), chunks=(1, *shape)
        )
        self._lines.swmr_mode = True
        self.set_written(0)

    async def write(self) -> None:
        """Expose and write the lines that were asked for."""
        for _ in range(self.frames):
            await asyncio.sleep(self._dwell_s)
            self._write_line()

    def _write_line(self) -> None:
        if self._lines is None:
            raise RuntimeError("no file is open: the detector was triggered before it was prepared")
        dataset = self._lines[RESOURCE]
        positions = self._simulated.axes[0].positions
        line = self._simulated.data[int(np.abs(positions - self._stage.at).argmin())]
        count = len(dataset) + 1
        dataset.resize(count, axis=0)
        dataset[-1] = line
        dataset.flush()
        self.set_written(count)

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None


class LineFiles(FrameFiles):
    """Says where the lines are."""

    def __init__(
        self, writer: FrameWriter, path_provider: PathProvider, shape: Sequence[int]
    ) -> None:
        super().__init__(writer, path_provider)
        self._shape = tuple(shape)

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Open a new file and describe its data set."""
        info = self._path_provider(datakey_name)
        file = f"{info.filename}.h5"
        self._writer.open(Path(info.directory_path) / file)
        return StreamResourceDataProvider(
            uri=f"{info.directory_uri}{file}",
            resources=[
                StreamResourceInfo(
                    data_key=f"{datakey_name}-{RESOURCE}",
                    shape=self._shape,
                    chunk_shape=(1, *self._shape),
                    dtype_numpy="<u4",
                    parameters={"dataset": f"/{RESOURCE}"},
                )
            ],
            mimetype="application/x-hdf5",
            collections_written_signal=self._writer.written,
        )

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Plot the spectra."""
        return [f"{datakey_name}-{RESOURCE}"]


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
        writer = LineWriter(simulated, stage, dwell_s=dwell_s)
        self.add_detector_logics(
            FrameTrigger(writer),
            FrameAcquisition(writer),
            LineFiles(writer, path_provider, simulated.data.shape[1:]),
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
