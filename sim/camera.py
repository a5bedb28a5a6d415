"""A simulated EELS camera: whole spectra embedded in events, or written to HDF5 files."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from bluesky.protocols import Triggerable
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    PathProvider,
    SignalR,
    StandardDetector,
    StandardReadable,
    StreamableDataProvider,
    StreamResourceDataProvider,
    StreamResourceInfo,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from nearedge.models.spectrum import Array
from nearedge.sim.detection import low_loss, power_law, scattered_twice
from nearedge.sim.hutch import Hutch

CHANNELS = 1024
DISPERSION = 0.15  # eV per channel
BEFORE_EDGE = 62.0  # eV
BEFORE_ZERO_LOSS = 20.0  # eV
DRIFT_EV, DRIFT_PERIOD_S = 0.2, 600.0
EDGE_SHARE = 1e-4  # of the electrons, per eV: more than in life, so that a frame need not take long
BACKGROUND = 2.0  # at the edge, in units of the edge step
EXPONENT = 3.0
PLASMON_EV, T_OVER_LAMBDA = 23.0, 0.05
LOW_LOSS_SHARE = 1e-3  # the low-loss spectrum is exposed for this part of the time
GAIN, READ_NOISE, BIAS = 4.0, 3.0, 100.0  # counts per electron, counts, counts
RESOURCES = ("spectrum", "low_loss")


class Optics:
    """The spectrometer before either camera: what a frame holds, and the axis it is said to have.

    Attributes
    ----------
    offset, low_loss_offset
        Nominal energy of channel 0, eV. The true axis is off by the hutch's energy offset and a
        slow drift; the zero-loss peak shows by how much.
    """

    def __init__(self, hutch: Hutch, *, dwell_s: float) -> None:
        self.hutch = hutch
        self.dwell_s = dwell_s
        self.offset = hutch.specimen.edge_energy - BEFORE_EDGE
        self.low_loss_offset = -BEFORE_ZERO_LOSS
        self._rng = hutch.noise(3)

    async def expose(self) -> tuple[Array, Array]:
        """Wait for one frame and return its core-loss and low-loss counts, (1024,) each."""
        await self.hutch.sleep(self.dwell_s)
        electrons = self.hutch.particles(self.dwell_s)
        shift = self._shift()
        core = core_electrons(self.hutch, channels(self.offset) - shift)
        low = low_loss(
            channels(self.low_loss_offset) - shift,
            fwhm=max(self.hutch.resolution_ev, DISPERSION),
            plasmon=PLASMON_EV,
            t_over_lambda=T_OVER_LAMBDA,
        )
        return self._read(core * electrons), self._read(low * electrons * LOW_LOSS_SHARE)

    def _shift(self) -> float:
        drift = DRIFT_EV * math.sin(2 * math.pi * self.hutch.clock() / DRIFT_PERIOD_S)
        return self.hutch.energy_offset_ev + drift

    def _read(self, electrons: Array) -> Array:
        counts = GAIN * self._rng.poisson(electrons) + BIAS
        return counts + self._rng.normal(0, READ_NOISE, CHANNELS)


def channels(offset: float) -> Array:
    """Return the energy of every channel, eV."""
    return offset + DISPERSION * np.arange(CHANNELS, dtype=np.float64)


def core_electrons(hutch: Hutch, energy: Array) -> Array:
    """Return the core-loss electrons expected in each channel for one electron of the beam.

    Parameters
    ----------
    energy
        (1024,) true energy of each channel, eV.
    """
    edge = hutch.specimen.mu(energy, pressure=hutch.pressure, fwhm=hutch.resolution_ev)
    twice = scattered_twice(edge, step=DISPERSION, plasmon=PLASMON_EV, t_over_lambda=T_OVER_LAMBDA)
    background = power_law(energy, exponent=EXPONENT, at=hutch.specimen.edge_energy)
    return EDGE_SHARE * DISPERSION * (BACKGROUND * background + twice)


def axis_signals(optics: Optics) -> dict[str, SignalR[float]]:
    """Return the configuration signals that tell the energy axis."""
    return {
        "dispersion": soft_signal_rw(float, DISPERSION, units="eV"),
        "offset": soft_signal_rw(float, optics.offset, units="eV"),
        "low_loss_offset": soft_signal_rw(float, optics.low_loss_offset, units="eV"),
    }


class EelsCamera(StandardReadable, Triggerable):
    """A camera whose spectra travel inside event documents."""

    def __init__(self, optics: Optics, *, name: str = "") -> None:
        self._optics = optics
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.spectrum, self._set_spectrum = soft_signal_r_and_setter(
                Array1D[np.float64], np.zeros(CHANNELS), units="counts"
            )
            self.low_loss, self._set_low_loss = soft_signal_r_and_setter(
                Array1D[np.float64], np.zeros(CHANNELS), units="counts"
            )
        axis = axis_signals(optics)
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.dispersion, self.offset = axis["dispersion"], axis["offset"]
            self.low_loss_offset = axis["low_loss_offset"]
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Take one frame."""
        core, low = await self._optics.expose()
        self._set_spectrum(core)
        self._set_low_loss(low)


class EelsFileCamera(StandardDetector):
    """A camera that writes HDF5 and emits ``stream_resource`` and ``stream_datum`` documents."""

    def __init__(self, optics: Optics, *, path_provider: PathProvider, name: str = "") -> None:
        writer = FrameWriter(optics)
        self.add_detector_logics(
            FrameTrigger(writer), FrameAcquisition(writer), FrameFiles(writer, path_provider)
        )
        axis = axis_signals(optics)
        self.dispersion, self.offset = axis["dispersion"], axis["offset"]
        self.low_loss_offset = axis["low_loss_offset"]
        self.add_config_signals(*axis.values())
        super().__init__(name=name)


class FrameWriter:
    """Writes frames to one HDF5 file at a time, readable while it grows (SWMR)."""

    def __init__(self, optics: Optics) -> None:
        self._optics = optics
        self._file: h5py.File | None = None
        self.frames = 1
        self.written, self.set_written = soft_signal_r_and_setter(int)

    def open(self, path: Path) -> None:
        """Start a file with an empty dataset for each resource."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # unlocked: readers follow the file while it grows, in this process or another
        self._file = h5py.File(path, "w", libver="latest", locking=False)
        for name in RESOURCES:
            self._file.create_dataset(
                name, (0, CHANNELS), np.float64, maxshape=(None, CHANNELS), chunks=(1, CHANNELS)
            )
        self._file.swmr_mode = True
        self.set_written(0)

    async def write(self) -> None:
        """Expose and write the frames that were asked for."""
        for _ in range(self.frames):
            self._append(await self._optics.expose())

    def _append(self, frame: Sequence[Array]) -> None:
        if self._file is None:
            raise RuntimeError("no file is open: the detector was triggered before it was prepared")
        count = len(self._file[RESOURCES[0]]) + 1
        for name, values in zip(RESOURCES, frame, strict=True):
            dataset = self._file[name]
            dataset.resize(count, axis=0)
            dataset[-1] = values
            dataset.flush()
        self.set_written(count)

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


class FrameTrigger(DetectorTriggerLogic):
    """Says how many frames come next."""

    def __init__(self, writer: FrameWriter) -> None:
        self._writer = writer

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        """Take the number of frames; their time is the optics' own."""
        self._writer.frames = num


class FrameAcquisition(DetectorAcquireLogic):
    """Exposes in a task of its own."""

    def __init__(self, writer: FrameWriter) -> None:
        self._writer = writer
        self._task: asyncio.Task[None] | None = None

    async def start_acquiring(self) -> None:
        """Begin to expose."""
        self._task = asyncio.create_task(self._writer.write())

    async def wait_for_idle(self) -> None:
        """Wait until the frames are written."""
        if self._task is not None:
            await self._task

    async def ensure_stopped(self) -> None:
        """Stop exposing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None


class FrameFiles(DetectorDataLogic):
    """Says where the frames are."""

    def __init__(self, writer: FrameWriter, path_provider: PathProvider) -> None:
        self._writer = writer
        self._path_provider = path_provider

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Open a new file and describe its datasets."""
        info = self._path_provider(datakey_name)
        file = f"{info.filename}.h5"
        self._writer.open(Path(info.directory_path) / file)
        return StreamResourceDataProvider(
            uri=f"{info.directory_uri}{file}",
            resources=[self._resource(datakey_name, name) for name in RESOURCES],
            mimetype="application/x-hdf5",
            collections_written_signal=self._writer.written,
        )

    def _resource(self, datakey_name: str, dataset: str) -> StreamResourceInfo:
        return StreamResourceInfo(
            data_key=f"{datakey_name}-{dataset}",
            shape=(CHANNELS,),
            chunk_shape=(1, CHANNELS),
            dtype_numpy="<f8",
            parameters={"dataset": f"/{dataset}"},
        )

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Plot the core loss."""
        return [f"{datakey_name}-{RESOURCES[0]}"]

    async def stop(self) -> None:
        """Close the file."""
        self._writer.close()
