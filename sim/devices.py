"""Simulated devices of an X-ray beamline, for ophyd-async, without EPICS."""

import math

import numpy as np
from bluesky.protocols import Movable, Triggerable
from ophyd_async.core import AsyncStatus, StandardReadable, soft_signal_r_and_setter, soft_signal_rw
from ophyd_async.core import StandardReadableFormat as Format

from nearedge.sim.detection import counted, foil, thickness
from nearedge.sim.hutch import Hutch

I0_SHARE = 0.1  # of the photons, absorbed in the chamber before the specimen
DARK_RATE = 5e4  # counts per second with the shutter closed
ELEMENTS = 4
DEAD_TIME_S = 2e-7
RING_MA, RING_LIFETIME_S = 400.0, 3600.0
SOLID_ANGLE = (1.0e-2, 1.1e-2, 0.9e-2, 0.6e-2)  # detected part of the fluorescence, by element
SCATTER = 0.3  # other counts in an element, in units of the fluorescence at the edge step


class Mono(StandardReadable, Movable[float]):
    """A monochromator: its readback is off by the hutch's energy offset, and it needs to settle."""

    def __init__(self, hutch: Hutch, *, settle_s: float = 0.0, name: str = "") -> None:
        self._hutch = hutch
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.energy, self._set_energy = soft_signal_r_and_setter(
                float, hutch.energy + hutch.energy_offset_ev, units="eV"
            )
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.settle_s = soft_signal_rw(float, settle_s, units="s")
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:
        """Move to an energy of the instrument's own scale, eV."""
        await self._hutch.sleep(await self.settle_s.get_value())
        self._hutch.energy = value - self._hutch.energy_offset_ev
        self._set_energy(value)


class Press(StandardReadable, Movable[float]):
    """A press that squeezes the specimen, GPa."""

    def __init__(self, hutch: Hutch, *, name: str = "") -> None:
        self._hutch = hutch
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.pressure, self._set_pressure = soft_signal_r_and_setter(
                float, hutch.pressure, units="GPa"
            )
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:
        """Bring the specimen to a pressure, GPa."""
        self._hutch.pressure = value
        self._set_pressure(value)


class Shutter(StandardReadable, Movable[bool]):
    """The shutter before the specimen: True is open."""

    def __init__(self, hutch: Hutch, *, name: str = "") -> None:
        self._hutch = hutch
        with self.add_children_as_readables():
            self.open, self._set_open = soft_signal_r_and_setter(bool, hutch.shutter_open)
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def set(self, value: bool) -> None:
        """Open or close."""
        self._hutch.shutter_open = value
        self._set_open(value)


class Ring(StandardReadable, Triggerable):
    """The storage ring, read with the baseline: its current decays, and nothing depends on it."""

    def __init__(self, hutch: Hutch, *, name: str = "") -> None:
        self._clock, self._filled_at = hutch.clock, hutch.clock()
        with self.add_children_as_readables():
            self.current, self._set_current = soft_signal_r_and_setter(float, RING_MA, units="mA")
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Measure the current."""
        age = self._clock() - self._filled_at
        self._set_current(RING_MA * math.exp(-age / RING_LIFETIME_S))


class IonChambers(StandardReadable, Triggerable):
    """Three ion chambers: before the specimen, after it, and after a reference foil behind it.

    Their counts are Poisson-distributed around the current, with a dark current on top that stays
    when the shutter is closed.
    """

    def __init__(self, hutch: Hutch, *, dwell_s: float = 0.01, name: str = "") -> None:
        self._hutch = hutch
        self._rng = hutch.noise(1)
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.i0, self._set_i0 = soft_signal_r_and_setter(float, units="counts")
            self.it, self._set_it = soft_signal_r_and_setter(float, units="counts")
            self.ir, self._set_ir = soft_signal_r_and_setter(float, units="counts")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.dwell_s = soft_signal_rw(float, dwell_s, units="s")
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Count for one dwell time."""
        dwell = await self.dwell_s.get_value()
        await self._hutch.sleep(dwell)
        means = chamber_means(self._hutch, seconds=dwell)
        for set_counts, mean in zip((self._set_i0, self._set_it, self._set_ir), means, strict=True):
            set_counts(float(self._rng.poisson(mean + DARK_RATE * dwell)))


def chamber_means(hutch: Hutch, *, seconds: float) -> tuple[float, float, float]:
    """Return the counts that the three chambers expect, by Beer and Lambert."""
    photons = hutch.particles(seconds)
    edge_energy = hutch.specimen.edge_energy
    behind = (1 - I0_SHARE) * photons
    it = behind * np.exp(-thickness(hutch.absorption(), hutch.energy, edge_energy=edge_energy))
    ir = it * np.exp(-foil(hutch.energy, edge_energy=edge_energy))
    return I0_SHARE * photons, float(it), float(ir)


class FluorescenceDetector(StandardReadable, Triggerable):
    """A four-element detector with dead time: window counts, input and output rates per element.

    The rates are counts per second; an element's window holds what its electronics let through, so
    the true count is ``roi * icr / ocr``.
    """

    def __init__(self, hutch: Hutch, *, dwell_s: float = 0.01, name: str = "") -> None:
        self._hutch = hutch
        self._rng = hutch.noise(2)
        self._setters = []
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            for kind, units in (("roi", "counts"), ("icr", "1/s"), ("ocr", "1/s")):
                for element in range(1, ELEMENTS + 1):
                    signal, setter = soft_signal_r_and_setter(float, units=units)
                    setattr(self, f"{kind}{element}", signal)
                    self._setters.append((kind, element - 1, setter))
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.dwell_s = soft_signal_rw(float, dwell_s, units="s")
        super().__init__(name=name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Count for one dwell time."""
        dwell = await self.dwell_s.get_value()
        await self._hutch.sleep(dwell)
        photons = (1 - I0_SHARE) * self._hutch.particles(dwell)
        values = [
            fluorescence(photons * part, self._hutch.absorption(), seconds=dwell, rng=self._rng)
            for part in SOLID_ANGLE
        ]
        for kind, element, set_value in self._setters:
            set_value(values[element][kind])


def fluorescence(
    photons: float, edge: float, *, seconds: float, rng: np.random.Generator
) -> dict[str, float]:
    """Return what one element reports of a thin specimen.

    Parameters
    ----------
    photons
        Fluorescence photons it would detect at an absorption of one edge step.
    edge
        Absorption in units of the edge step.
    """
    window, other = rng.poisson(photons * edge), rng.poisson(photons * SCATTER)
    icr = (window + other) / seconds if seconds > 0 else 0.0
    ocr = counted(icr, dead_time_s=DEAD_TIME_S)
    passed = ocr / icr if icr > 0 else 1.0
    return {"roi": float(round(window * passed)), "icr": icr, "ocr": ocr}
