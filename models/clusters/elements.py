"""What a network reads of an element: its place in the periodic table, and its size."""

from collections.abc import Sequence

import numpy as np

from nearedge.models.clusters.geometry import bond_cutoff, covalent_radii
from nearedge.models.spectrum import Array

#: How many numbers `element_features` gives of an element.
FEATURES = 4
#: Atomic numbers of the noble gases; each ends a period.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def periodic_place(symbol: str) -> tuple[int, int, int]:
    """Return the atomic number, period and group; the f elements count to group 3.

    Examples
    --------
    >>> periodic_place("Fe")
    (26, 4, 8)
    """
    number = 1 + list(covalent_radii()).index(symbol)
    period = next(k for k, last in enumerate(_NOBLE) if number <= last)
    before, last = _NOBLE[period - 1], _NOBLE[period]
    place = number - before
    group = place if place <= 2 and number != last else max(18 - (last - number), 3)
    return number, period, group


def element_features(symbols: Sequence[str]) -> Array:
    """Return atomic number, period, group and covalent radius, each about 1: (symbols, 4)."""
    radii = covalent_radii()
    places = np.array([periodic_place(symbol) for symbol in symbols], float)
    sizes = np.array([radii[symbol] for symbol in symbols])
    return np.column_stack([places / [40.0, 4.0, 9.0], sizes])


def cutoff_table(symbols: Sequence[str]) -> Array:
    """Return the longest bond between each two elements, (symbols, symbols) Å."""
    return np.array([[bond_cutoff(a, b) for b in symbols] for a in symbols])
