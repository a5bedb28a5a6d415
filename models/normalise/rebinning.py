"""Rebin a scan that is much finer than anything in it."""

import numpy as np

from nearedge.models.spectrum import Array

#: Up to so many points a scan stays as it is.
MOST_POINTS = 5_000
#: Width of a bin, eV: a fifth of the step in which the model reads, and finer than any core hole.
BIN = 0.1
ROUNDING = 1e-6  # of energies, as part of a bin: steps that divide a bin shall fill it evenly


def rebin(rows: Array) -> Array:
    """Average rows whose energies lie in one bin, of a scan of more than `MOST_POINTS` points.

    The noise of what comes out is that of the means, and is estimated from them; so the error of
    the edge step is, too.

    Parameters
    ----------
    rows
        (n, k) energies, eV, strictly increasing, and the signals measured there.

    Returns
    -------
    (m, k) with m <= n, strictly increasing energies, in bins of `BIN` eV.
    """
    if len(rows) <= MOST_POINTS:
        return rows
    bins = np.floor((rows[:, 0] - rows[0, 0]) / BIN + ROUNDING)
    return mean_of_groups(rows, np.flatnonzero(np.diff(bins, prepend=-1.0)))


def mean_of_groups(rows: Array, starts: np.ndarray) -> Array:
    """Average (n, k) rows from each of the ``starts`` to the next, (len(starts), k)."""
    sizes = np.diff(starts, append=len(rows))
    means: Array = np.add.reduceat(rows, starts, axis=0) / sizes[:, None]
    return means
