"""Maps of silica whose structure is known at every pixel, and how their answers compare with it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from nearedge.models.maps.image import ScanAxis
from nearedge.models.spectrum import Array
from nearedge.sim.detection import power_law
from nearedge.sim.silica import Specimen, silica

NOTHING = -1.0
"""Pressure of a pixel where there is no sample."""
DENSE = 60.0  # GPa: all silicon is six-fold
_LEVELS = 33  # pressures whose spectra are mixed
RESOLUTION = 0.8  # eV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedMap:
    """A map and the truth.

    Attributes
    ----------
    technique
        As in a profile.
    energy
        (n,) eV.
    data
        Over the axes, energies last or, of a stack of images, first.
    stack
        Whether they come first.
    axes
        The axes of the pixels.
    cn_mean, bond_mean
        Over the axes, what is there, Å; NaN where there is nothing.
    """

    technique: str
    energy: Array
    data: NDArray[np.floating]
    stack: bool
    axes: tuple[ScanAxis, ...]
    cn_mean: Array
    bond_mean: Array


def eels_map(*, size: int = 32, seed: int = 0) -> SimulatedMap:
    """Return a spectrum image of a grain boundary between two silicas, with a hole in a corner."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    boundary = size / 2 + 0.15 * size * np.sin(2 * np.pi * y / size)
    pressure = DENSE / (1 + np.exp(-(x - boundary) / 0.7))
    pressure[np.hypot(x, y) < size / 5] = NOTHING
    energy = np.linspace(1780.0, 1907.5, 256)
    background = 3 * power_law(energy, exponent=3.2, at=1839.0)
    thickness = 1 - 0.3 * y / size

    def counts(edge: Array, there: Array) -> NDArray[np.floating]:
        mean = thickness[..., None] * (background + there[..., None] * edge)
        counted: NDArray[np.floating] = rng.poisson(2e5 * mean).astype(np.uint32)
        return counted

    axes = tuple(_axis(name, "nm", 0.5, size) for name in ("y", "x"))
    return _simulated("eels", energy, pressure, axes, counts)


def xanes_map(*, size: int = 40, seed: int = 0) -> SimulatedMap:
    """Return a full-field stack of a dense grain in four-fold silica: an image at each energy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    pressure = DENSE / (1 + np.exp((np.hypot(x, y) - size / 4) / 1.5))
    energy = np.concatenate(
        [np.arange(1800.0, 1834.0, 2.0), np.arange(1834.0, 1860.0, 0.4), np.arange(1860, 1900, 1.0)]
    )

    def absorption(edge: Array, there: Array) -> NDArray[np.floating]:
        mean = 0.3 + there[..., None] * edge
        return np.asarray(mean + rng.normal(0, 0.01, mean.shape), np.float32)

    axes = tuple(_axis(name, "um", 0.1, size) for name in ("y", "x"))
    return _simulated("xanes", energy, pressure, axes, absorption, stack=True)


def quick_map(*, sweeps: int = 400, seed: int = 0) -> SimulatedMap:
    """Return sweeps of a quick scan, twenty a second, while the pressure rises."""
    rng = np.random.default_rng(seed)
    pressure = np.linspace(0.0, DENSE, sweeps)
    energy = np.arange(1800.0, 1900.0, 0.5)

    def absorption(edge: Array, there: Array) -> NDArray[np.floating]:
        mean = 0.3 + there[..., None] * edge
        return np.asarray(mean + rng.normal(0, 0.01, mean.shape), np.float32)

    return _simulated("xanes", energy, pressure, (_axis("time", "s", 0.05, sweeps),), absorption)


KINDS: dict[str, Callable[..., SimulatedMap]] = {
    "eels": eels_map,
    "xanes": xanes_map,
    "quick": quick_map,
}


def _axis(name: str, unit: str, step: float, count: int) -> ScanAxis:
    return ScanAxis(name=name, unit=unit, positions=np.linspace(0.0, step * (count - 1), count))


def _simulated(
    technique: str,
    energy: Array,
    pressure: Array,
    axes: tuple[ScanAxis, ...],
    detect: Callable[[Array, Array], NDArray[np.floating]],
    *,
    stack: bool = False,
) -> SimulatedMap:
    specimen = silica()
    there = pressure >= 0
    levels = np.linspace(0.0, DENSE, _LEVELS)
    nearest = np.abs(np.where(there, pressure, 0.0)[..., None] - levels).argmin(axis=-1)
    edges = np.array([specimen.mu(energy, pressure=float(p), fwhm=RESOLUTION) for p in levels])
    data = detect(edges[nearest], there.astype(float))
    cn, bond = _truths(specimen, levels)
    return SimulatedMap(
        technique=technique,
        energy=energy,
        data=np.moveaxis(data, -1, 0) if stack else data,
        stack=stack,
        axes=axes,
        cn_mean=np.where(there, cn[nearest], np.nan),
        bond_mean=np.where(there, bond[nearest], np.nan),
    )


def _truths(specimen: Specimen, levels: Array) -> tuple[Array, Array]:
    found = [specimen.truth(float(pressure)) for pressure in levels]
    return np.array([one.cn_mean for one in found]), np.array([one.bond_mean for one in found])


def write_map(simulated: SimulatedMap, path: Path) -> None:
    """Write a map as an instrument would, NXdata in HDF5, and the truth beside it."""
    names = [axis.name for axis in simulated.axes]
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs["NX_class"], data.attrs["signal"] = "NXdata", "data"
        data.attrs["axes"] = ["energy", *names] if simulated.stack else [*names, "energy"]
        data["data"], data["energy"] = simulated.data, simulated.energy
        data["energy"].attrs["units"] = "eV"
        for axis in simulated.axes:
            data[axis.name] = axis.positions
            data[axis.name].attrs["units"] = axis.unit
        truth = entry.create_group("truth")
        truth["cn_mean"], truth["bond_mean"] = simulated.cn_mean, simulated.bond_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class MapComparison:
    """The answers of a map against the truth.

    Attributes
    ----------
    pixels, holding, answered, refused
        How many there are, how many hold sample, and how many of these are answered; and how many
        pixels have a reason instead of an answer.
    cn_error, bond_error
        Mean absolute errors over answered pixels, the latter in Å.
    cn_inside, bond_inside
        Shares of them whose truth lies in the 90 % interval.
    """

    pixels: int
    holding: int
    answered: int
    refused: int
    cn_error: float
    bond_error: float
    cn_inside: float
    bond_inside: float
    lost: int

    @property
    def good(self) -> bool:
        """Whether each pixel has an answer or its reason, and each that holds sample an answer."""
        return not self.lost and self.answered == self.holding

    def lines(self) -> Iterator[str]:
        """Yield what was found, in words."""
        yield (
            f"{self.answered} of {self.holding} pixels with sample are answered; "
            f"{self.refused} of all {self.pixels} have a reason instead, {self.lost} neither"
        )
        yield (
            f"mean error of the mean coordination number {self.cn_error:.2f}; truth inside its "
            f"90 % interval at {self.cn_inside:.0%} of the pixels"
        )
        yield (
            f"mean error of the mean bond {self.bond_error:.3f} Å; truth inside its 90 % interval "
            f"at {self.bond_inside:.0%} of the pixels"
        )


def compare_map(simulated: SimulatedMap, path: Path) -> MapComparison:
    """Compare the file that `nearedge map` wrote with the truth."""
    with h5py.File(path) as file:
        figures = {
            name: item[()]
            for name, item in file["entry/figures"].items()
            if item.shape == simulated.cn_mean.shape
        }
    return compare_figures(simulated, figures)


COMPARED = (
    *("cn_mean", "cn_mean_lo", "cn_mean_hi", "bond", "bond_lo", "bond_hi"),
    "reason",
)
"""Figures that `compare_figures` needs."""


def compare_figures(
    simulated: SimulatedMap, figures: Mapping[str, NDArray[np.floating]]
) -> MapComparison:
    """Compare figures over a map with the truth.

    Parameters
    ----------
    simulated
        What was measured.
    figures
        Those `COMPARED`, by name, each over the map.
    """
    has_answer = np.isfinite(figures["cn_mean"]) & np.isfinite(figures["bond"])
    holding = np.isfinite(simulated.cn_mean)
    both = has_answer & holding

    def error(name: str, truth: Array) -> float:
        return float(np.abs(figures[name] - truth)[both].mean()) if both.any() else np.nan

    def inside(name: str, truth: Array) -> float:
        held = (figures[f"{name}_lo"] <= truth) & (truth <= figures[f"{name}_hi"])
        return float(held[both].mean()) if both.any() else np.nan

    refused = figures["reason"] >= 0
    return MapComparison(
        pixels=holding.size,
        holding=int(holding.sum()),
        answered=int(both.sum()),
        refused=int(refused.sum()),
        lost=int((~has_answer & ~refused).sum()),
        cn_error=error("cn_mean", simulated.cn_mean),
        bond_error=error("bond", simulated.bond_mean),
        cn_inside=inside("cn_mean", simulated.cn_mean),
        bond_inside=inside("bond", simulated.bond_mean),
    )
