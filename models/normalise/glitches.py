"""Glitches: a few readings far off a curve that goes on behind them as it went before."""

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array

#: Neighbouring points that one glitch may spoil.
LONGEST = 3
#: Height over the noise of one point, and over the signal's range, from which it is a glitch. The
#: range is that of the middle 80 % of the points, so that neither glitch nor white line sets it.
SIGNIFICANCE, LEAST_HEIGHT = 12.0, 0.1
#: Parts of its height by which the curve may differ on both sides of it, and bend beside it: a
#: white line between two points of a coarse scan is higher behind, and a peak has flanks.
LEVEL, FLANK = 0.08, 0.12
#: Times the signal's range: more than an edge with its white line rises at the end of a scan.
ABOVE_EDGES = 4.0
#: Part of the points beyond which it is no glitch but noise.
MOST = 0.02


def find_glitches(mu: Array, *, noise: float) -> NDArray[np.bool_]:
    """Return which points are glitches, (n,).

    A glitch is up to `LONGEST` neighbouring points that lie far off the straight line between the
    points beside them, where the curve beside them is smooth and goes on at the height that it had.
    Monochromators make them by Bragg reflections of their own, electronics by a lost count, cameras
    by cosmic rays. At the beginning of a scan, where a detector settles, one side is enough; at
    its end, too, where they are higher than any edge.

    Parameters
    ----------
    mu
        (n,) the signal in order of energy, whose step must be finer than its features.
    noise
        Standard deviation of one point.
    """
    lo, hi = np.quantile(mu, (0.1, 0.9))
    least = max(SIGNIFICANCE * noise, LEAST_HEIGHT * (hi - lo))
    found = _settling(mu, least) | _settling(mu[::-1], max(least, ABOVE_EDGES * (hi - lo)))[::-1]
    for size in range(1, LONGEST + 1):
        for first in _spikes(mu, size, least):
            found[first : first + size] = True
    if found.sum() > max(LONGEST, MOST * len(mu)):
        return np.zeros(len(mu), dtype=bool)
    return found


def _spikes(mu: Array, size: int, least: float) -> NDArray[np.intp]:
    """Return the first indices of groups of ``size`` points that stick out."""
    count = len(mu) - size - 1
    if count < 1:
        return np.zeros(0, dtype=np.intp)
    padded = np.pad(mu, 1, mode="edge")
    outer_left, left, right, outer_right = (
        padded[k : k + count] for k in (0, 1, size + 2, size + 3)
    )
    share = np.arange(1, size + 1) / (size + 1)
    inside = np.stack([padded[2 + k : 2 + k + count] for k in range(size)], axis=1)
    off = inside - (left[:, None] * (1 - share) + right[:, None] * share)
    height = np.where((off > 0).all(1) | (off < 0).all(1), np.abs(off).min(1), 0.0)
    flanks = np.maximum(np.abs(left - outer_left), np.abs(right - outer_right))
    # a curve that falls beside the glitch goes on falling below it
    fall = (left - outer_left + outer_right - right) / 2 * (size + 1)
    level = np.minimum(np.abs(right - left), np.abs(right - left - fall)) <= LEVEL * height
    return 1 + np.flatnonzero((height > least) & level & (flanks <= FLANK * height))


def _settling(mu: Array, least: float) -> NDArray[np.bool_]:
    """Return which of the first points lie far off the next ones, which agree."""
    found = np.zeros(len(mu), dtype=bool)
    for size in range(1, LONGEST + 1):
        behind = mu[size : size + 4]
        off = mu[:size] - behind[0]
        height = float(np.abs(off).min(initial=np.inf))
        if len(behind) == 4 and height > least and np.ptp(behind) <= FLANK * height:
            found[:size] = True
    return found
