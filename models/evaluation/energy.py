"""The energy score: whether drawn clusters scatter about the truth as they should.

Errors of sorted lists punish clusters that scatter honestly where the spectrum leaves something
open, and forgive those that are all wrong alike. The energy score (Gneiting & Raftery, JASA 102,
359 (2007)) is the mean distance of the drawn to the true, less half of the mean distance among the
drawn: nobody has a better one in the mean than who draws from the true distribution. For one
drawn cluster it is the distance.
"""

from collections.abc import Sequence

import numpy as np

from nearedge.models.spectrum import Array

#: Shares at which lists of different lengths are compared.
_LEVELS = (np.arange(24) + 0.5) / 24


def quantiles(lists: Sequence[Array]) -> Array:
    """Return quantiles (lists, levels), whose mean difference is a Wasserstein distance.

    Parameters
    ----------
    lists
        Ascending, NaN past the last; a row of NaN for an empty one.
    """
    out = np.full((len(lists), len(_LEVELS)), np.nan)
    for row, values in zip(out, lists, strict=True):
        known = values[~np.isnan(values)]
        if len(known):
            row[:] = known[(_LEVELS * len(known)).astype(int)]
    return out


def energy_score(drawn: Array, weights: Array, truths: Array) -> float:
    """Return the energy score of drawn vectors against true ones; NaN if either is empty.

    Parameters
    ----------
    drawn, weights
        (samples, n), rows of NaN where undefined, and (samples,).
    truths
        (sites, n). For several sites, the mean score of each of them.

    Returns
    -------
        In units of the vectors, whose distance is the mean absolute difference.
    """
    known = ~np.isnan(drawn).any(1) & (weights > 0)
    true = truths[~np.isnan(truths).any(1)]
    if not known.any() or not len(true):
        return float("nan")
    share = weights[known] / weights[known].sum()
    to_truth = share @ np.abs(drawn[known, None] - true[None]).mean(-1)
    among = share @ np.abs(drawn[known, None] - drawn[None, known]).mean(-1) @ share
    return float(to_truth.mean() - among / 2)
