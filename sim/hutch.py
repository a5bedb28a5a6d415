"""What the simulated devices share: the beam, the specimen in it, and the clock."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from nearedge.models.spectrum import Array
from nearedge.sim.silica import Specimen

DRIFT = 0.03  # part of the flux
DRIFT_PERIOD_S = 300.0


@dataclass(slots=True, kw_only=True, eq=False)
class Hutch:
    """The physical state that devices act on and read; no device is ever told the truth otherwise.

    Attributes
    ----------
    flux
        Photons or electrons per second, its mean.
    resolution_ev
        Full width at half maximum of the energy resolution.
    energy_offset_ev
        Error of the energy scale: what an instrument reports less what is true.
    seed
        The seed of all noise. Each device draws from a generator of its own, so that the order in
        which devices are read does not change a value.
    clock, sleep
        Seconds, and the coroutine that lets them pass: exchanged in tests.
    pressure, shutter_open, energy
        GPa, whether the beam reaches the specimen, and the true photon energy in eV (at first
        that of the edge).
    """

    specimen: Specimen
    flux: float = 1e8
    resolution_ev: float = 0.4
    energy_offset_ev: float = 0.3
    seed: int = 0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    pressure: float = 0.0
    shutter_open: bool = True
    energy: float = 0.0
    _curve: tuple[float, Array, Array] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.energy = self.energy or self.specimen.edge_energy

    def noise(self, device: int) -> np.random.Generator:
        """Return the generator of one device."""
        return np.random.default_rng([self.seed, device])

    def particles(self, seconds: float) -> float:
        """Return the mean number of photons or electrons that arrive in a time; 0 when shut."""
        drift = 1 + DRIFT * math.sin(2 * math.pi * self.clock() / DRIFT_PERIOD_S)
        return self.flux * drift * seconds if self.shutter_open else 0.0

    def absorption(self) -> float:
        """Return the specimen's absorption at the present energy and pressure, in edge steps."""
        grid, mu = self._present_curve()
        return float(np.interp(self.energy, grid, mu))

    def _present_curve(self) -> tuple[Array, Array]:
        if self._curve is None or self._curve[0] != self.pressure:
            grid = self.specimen.edge_energy + np.arange(-100.0, 200.0, 0.1)
            mu = self.specimen.mu(grid, pressure=self.pressure, fwhm=self.resolution_ev)
            self._curve = (self.pressure, grid, mu)
        return self._curve[1], self._curve[2]
