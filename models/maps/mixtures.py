"""Pixels as mixtures of end members: the linear combination fit of spectroscopists, for a map."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from nearedge.models.spectrum import Array, freeze_arrays

#: With more end members than this their subsets are too many to try.
MOST = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixtures:
    """How much of each end member is in each pixel.

    Attributes
    ----------
    fractions
        (p, k) not negative; their sum is not forced to be 1 and tells how well the members do.
        NaN where a pixel has no spectrum.
    misfit
        (p,) root-mean-square difference to the fit, edge steps.
    """

    fractions: Array
    misfit: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)


def mixtures(spectra: Array, members: Array) -> Mixtures:
    """Fit every spectrum by a sum of end members with fractions that are not negative.

    Of all subsets of members that fit without a negative fraction the best one is taken, which is
    the solution of non-negative least squares.

    Parameters
    ----------
    spectra
        (p, g) normalised, NaN in rows that are not fitted.
    members
        (k, g) normalised spectra of the end members, not copies of each other.

    Raises
    ------
    ValueError
        If there are none, more than `MOST`, or two that are alike.
    """
    count = len(members)
    if not 1 <= count <= MOST:
        raise ValueError(f"found {count} end members; expected 1 to {MOST}")
    if np.linalg.matrix_rank(members) < count:
        raise ValueError("two end members are alike, or one is a mixture of others: leave one out")
    known = np.isfinite(spectra).all(axis=1)
    own = spectra[known]
    best = np.zeros((len(own), count))
    misfit = np.sqrt((own**2).mean(axis=1))  # of nothing at all
    for chosen in _subsets(count):
        some = members[chosen]
        found = own @ np.linalg.pinv(some)
        off = np.sqrt(((own - found @ some) ** 2).mean(axis=1))
        better = (found >= 0).all(axis=1) & (off < misfit)
        misfit[better] = off[better]
        best[better] = 0.0
        best[np.ix_(better, chosen)] = found[better]
    fractions, left = np.full((len(spectra), count), np.nan), np.full(len(spectra), np.nan)
    fractions[known], left[known] = best, misfit
    return Mixtures(fractions=fractions, misfit=left)


def _subsets(count: int) -> Iterator[list[int]]:
    for size in range(1, count + 1):
        yield from map(list, combinations(range(count), size))
