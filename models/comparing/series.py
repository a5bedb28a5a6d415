"""The spectra of a series: how many components they have, and which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.models.comparing.combination import check_members
from nearedge.models.comparing.common import (
    RANGE,
    Common,
    CompareError,
    NamedSpectrum,
    on_common_energies,
)
from nearedge.models.maps.components import Components, components
from nearedge.models.maps.mixtures import Mixtures, mixtures
from nearedge.models.spectrum import Array, freeze_arrays

FEWEST_SPECTRA = 3
"""Spectra that a series needs to have components."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """A series of spectra and its principal components.

    Attributes
    ----------
    energy
        (g,) eV.
    flat
        (p, g) the spectra, flattened.
    components
        Of the spectra less their mean.
    """

    energy: Array
    flat: Array
    components: Components

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def shares(self) -> Array:
        """(c,) part of the variance in each component: the scree."""
        power = self.components.strengths**2
        return np.asarray(power / (power.sum() or 1.0))

    @property
    def indicator(self) -> Array:
        """(c,) Malinowski's indicator function for so many components; see `indicator`."""
        return indicator(self.components.strengths, len(self.flat))

    @property
    def indicated(self) -> int:
        """How many components the indicator function asks for: where it is least."""
        return int(np.argmin(self.indicator)) + 1 if len(self.indicator) else 0

    def off(self, member: Array) -> float:
        """Return how far a spectrum (g,) lies from all mixtures of the kept components.

        The root-mean-square difference, edge steps: Malinowski's target test. An end member that
        takes part in the series lies no farther than the noise.
        """
        away = member - self.components.mean
        vectors = self.components.vectors
        return float(np.sqrt(((away - away @ vectors.T @ vectors) ** 2).mean()))


def analyse(some: Sequence[NamedSpectrum], *, span: tuple[float, float] = RANGE) -> Analysis:
    """Find the principal components of a series.

    How many stand out of the noise is told by the rule of `nearedge.models.maps.components`. Since
    the mean is taken off first, a series of k end members whose weights add up to 1 has k - 1.

    Parameters
    ----------
    some
        The spectra, of one edge.
    span
        eV from the e0 of the first one.

    Raises
    ------
    CompareError
        If there are fewer than three, their edges differ, or their energies do not overlap.
    """
    if len(some) < FEWEST_SPECTRA:
        raise CompareError(
            f"found {len(some)} spectra; expected {FEWEST_SPECTRA} or more to find components"
        )
    found = on_common_energies(some, span=span)
    return Analysis(energy=found.energy, flat=found.flat, components=components(found.flat))


def series_mixtures(
    series: Sequence[NamedSpectrum],
    members: Sequence[NamedSpectrum],
    *,
    span: tuple[float, float] = RANGE,
) -> tuple[Mixtures, Common]:
    """Fit every spectrum of a series by the same end members.

    Returns
    -------
    tuple
        The weights, not negative and with a free sum; and all spectra on the energies that they
        share, the series first.

    Raises
    ------
    CompareError
        As of `nearedge.models.comparing.combination.combine`, or if there are more members than
        `nearedge.models.maps.mixtures.MOST`.
    """
    found = on_common_energies([*series, *members], span=span)
    ends = found.flat[len(series) :]
    check_members(ends, [one.name for one in members])
    try:
        return mixtures(found.flat[: len(series)], ends), found
    except ValueError as error:
        raise CompareError(str(error)) from error


def indicator(strengths: Array, count: int) -> Array:
    """Return Malinowski's indicator function for 1, 2 … components.

    ``IND = RE / (c - n)^2`` with ``RE^2 = (sum of the powers beyond n) / (r (c - n))``
    (Analytical Chemistry 49, 612, 1977). It is least for the number of components that the data
    bear; noise of another kind than an even one moves it.

    Parameters
    ----------
    strengths
        (min(p, g),) singular values of p spectra less their mean.
    count
        p; the mean takes one degree of freedom.

    Examples
    --------
    >>> found = indicator(np.array([10.0, 3.0, 0.1, 0.1, 0.1, 0.1]), 40)
    >>> int(np.argmin(found)) + 1
    2
    """
    columns = min(len(strengths), count - 1)
    power = strengths[:columns] ** 2
    left = np.cumsum(power[::-1])[::-1][1:]
    beyond = columns - np.arange(1, columns)
    rows = max(count - 1, columns)
    return np.asarray(np.sqrt(left / (rows * beyond)) / beyond**2)
