"""The spectrum that stands for a group of pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.inversion import Inversion
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected

AT_ONCE = 512
"""Spectra that are summed together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Representative:
    """The spectrum that stands for a group of pixels, and its answer.

    Attributes
    ----------
    pixels
        How many the group has.
    spectrum
        The mean of their raw spectra, normalised; None where it was rejected.
    answer
        The answer with clusters, or why there is none.
    """

    pixels: int
    spectrum: NormalisedSpectrum | None
    answer: Inversion | Rejected


def mean_measured(mu: NDArray[np.floating], rows: NDArray[np.intp]) -> Array:
    """Return the mean (n,) of the measured spectra (p, n) of some pixels; NaN counts as zero."""
    mean = np.zeros(mu.shape[1])
    for begin in range(0, len(rows), AT_ONCE):
        some = np.asarray(mu[rows[begin : begin + AT_ONCE]], np.float64)
        mean += np.nan_to_num(some).sum(axis=0) / len(rows)
    return mean
