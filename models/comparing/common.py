"""Several spectra of one edge on the same energies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.models.spectrum import Array, NormalisedSpectrum, freeze_arrays

RANGE = (-20.0, 50.0)
"""eV from e0 in which spectra are compared, where nothing else is asked for."""
FEWEST = 10
"""Energies that a comparison needs."""


class CompareError(ValueError):
    """Spectra that cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedSpectrum:
    """A spectrum and what it is called.

    Attributes
    ----------
    name
        What a user knows it by: a scan, or a file.
    spectrum
        Normalised; its flattened form is compared.
    """

    name: str
    spectrum: NormalisedSpectrum

    @property
    def edge(self) -> str:
        """Absorber and edge: ``Si K``."""
        return f"{self.spectrum.absorber} {self.spectrum.edge}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Common:
    """Spectra on the same energies.

    Attributes
    ----------
    energy
        (g,) eV.
    flat
        (p, g) flattened, edge steps.
    """

    energy: Array
    flat: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)


def on_common_energies(
    some: Sequence[NamedSpectrum], *, span: tuple[float, float] = RANGE, margin: float = 0.0
) -> Common:
    """Put spectra onto the energies of the first one; none is shifted.

    The energies are those that all spectra have, within a range about the first one's edge. The
    others are interpolated by cubic splines, as Larch does.

    Parameters
    ----------
    some
        At least one spectrum.
    span
        eV from the e0 of the first one.
    margin
        eV that each spectrum must have beyond the energies that are used.

    Raises
    ------
    CompareError
        If their edges differ, or they have too few energies in common, or none at the edge.
    """
    check_edges(some)
    first = some[0]
    energy, e0 = first.spectrum.energy, first.spectrum.e0
    low = max(*(one.spectrum.energy[0] + margin for one in some), e0 + span[0])
    high = min(*(one.spectrum.energy[-1] - margin for one in some), e0 + span[1])
    inside = (energy >= low) & (energy <= high)
    if inside.sum() < FEWEST or not low < e0 < high:
        raise CompareError(_too_short(some, span, low, high, int(inside.sum())))
    grid = energy[inside]
    return Common(energy=grid, flat=np.array([flat_at(one.spectrum, grid) for one in some]))


def flat_at(spectrum: NormalisedSpectrum, energy: Array) -> Array:
    """Return the flattened spectrum at other energies, (g,) eV, by a cubic spline."""
    from scipy.interpolate import CubicSpline  # late: it takes half a second, before each command

    if np.array_equal(spectrum.energy, energy):
        return spectrum.flat
    return np.asarray(CubicSpline(spectrum.energy, spectrum.flat)(energy))


def check_edges(some: Sequence[NamedSpectrum]) -> None:
    """Raise `CompareError` if spectra are not of the edge of the first one."""
    edge = some[0].edge
    if others := [one for one in some if one.edge != edge]:
        listed = ", ".join(f"{one.name} ({one.edge})" for one in others)
        raise CompareError(
            f"found other edges than {edge} of {some[0].name}: {listed}. Compare spectra of one "
            "edge: leave the others out"
        )


def _too_short(
    some: Sequence[NamedSpectrum], span: tuple[float, float], low: float, high: float, count: int
) -> str:
    ends = "; ".join(
        f"{one.name} {one.spectrum.energy[0]:.1f} to {one.spectrum.energy[-1]:.1f} eV"
        for one in some
    )
    e0 = some[0].spectrum.e0
    return (
        f"found {count} energies from {low:.1f} to {high:.1f} eV that all spectra have; expected "
        f"{FEWEST} or more on both sides of e0, {e0:.1f} eV. Asked for are {span[0]:g} to "
        f"{span[1]:g} eV from e0; the spectra reach over {ends}. Ask for another range, or leave "
        "out what does not cover it"
    )
