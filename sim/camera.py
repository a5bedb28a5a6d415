"""A simulated EELS camera: whole spectra embedded in events, or written to HDF5 files."""

import math

import numpy as np
from bluesky.protocols import Triggerable
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    PathProvider,
    SignalR,
    StandardDetector,
    StandardReadable,
    soft_signal_r_and_setter,
    soft_signal_rw,
)
from ophyd_async.core import StandardReadableFormat as Format

from nearedge.models.spectrum import Array
from nearedge.sim.detection import low_loss, power_law, scattered_twice
from nearedge.sim.frame_files import (
    FrameAcquisition,
    FrameFiles,
    FrameForm,
    FrameTrigger,
    FrameWriter,
)
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
FORMS = dict.fromkeys(("spectrum", "low_loss"), FrameForm(shape=(CHANNELS,), dtype="<f8"))


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
        writer = FrameWriter(optics.expose, FORMS)
        self.add_detector_logics(
            FrameTrigger(writer), FrameAcquisition(writer), FrameFiles(writer, path_provider)
        )
        axis = axis_signals(optics)
        self.dispersion, self.offset = axis["dispersion"], axis["offset"]
        self.low_loss_offset = axis["low_loss_offset"]
        self.add_config_signals(*axis.values())
        super().__init__(name=name)
