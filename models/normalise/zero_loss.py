"""The zero-loss peak of a low-loss spectrum: where it is and how wide."""

import numpy as np

from nearedge.models.spectrum import Array

MAX_OFFSET = 20.0  # eV; a peak further from 0 is no misplaced zero-loss peak
MIN_CONTRAST = 5.0  # its height over the median channel
_SPIKE = 5.0  # a channel this many times above both neighbours is a spike


def zero_loss_centre(energy: Array, counts: Array) -> float | None:
    """Return the energy of the zero-loss peak in eV, to a fraction of a channel, or None.

    The top of a parabola through the logarithms of the counts above half of the maximum, which
    is exact for a Gaussian peak.

    Parameters
    ----------
    energy
        (m,) eV, uniform and increasing.
    counts
        (m,) low-loss counts.
    """
    top = _highest(counts)
    if abs(energy[top]) > MAX_OFFSET or counts[top] < MIN_CONTRAST * np.median(counts):
        return None
    lo, hi = _half_maximum(counts, top)
    lo, hi = min(lo, top - 1), max(hi, top + 1)
    if lo < 0 or hi >= len(counts):
        return None
    near = slice(lo, hi + 1)
    y = np.maximum(counts[near], 1e-3 * counts[top])
    off = energy[near] - energy[top]
    bend, slope, _ = np.polyfit(off, np.log(y), 2, w=np.sqrt(y))
    within = bend < 0 and off[0] <= -slope / (2 * bend) <= off[-1]
    return float(energy[top] - slope / (2 * bend)) if within else float(energy[top])


def zero_loss_fwhm(energy: Array, counts: Array) -> float:
    """Return the full width at half maximum of the zero-loss peak, eV, interpolated."""
    top = _highest(counts)
    lo, hi = _half_maximum(counts, top)
    half = counts[top] / 2
    left = _crossing(energy, counts, lo - 1, half)
    right = _crossing(energy, counts, hi, half)
    return right - left


def elastic_threshold(energy: Array, counts: Array) -> float:
    """Return the energy in eV of the first minimum past the zero-loss peak."""
    _, past = _half_maximum(counts, _highest(counts))
    rising = np.flatnonzero(np.diff(counts[past:]) > 0)
    return float(energy[past + rising[0]] if len(rising) else energy[-1])


def _highest(counts: Array) -> int:
    """Return the index of the largest count that is no spike of one channel."""
    padded = np.pad(counts, 1, mode="edge")
    neighbours = np.maximum(padded[:-2], padded[2:])
    return int(np.minimum(counts, _SPIKE * neighbours).argmax())


def _half_maximum(counts: Array, top: int) -> tuple[int, int]:
    """Return the first and last index around ``top`` with counts above half of the maximum."""
    low = np.flatnonzero(counts < counts[top] / 2)
    left, right = low[low < top], low[low > top]
    first = int(left[-1]) + 1 if len(left) else 0
    last = int(right[0]) - 1 if len(right) else len(counts) - 1
    return first, last


def _crossing(energy: Array, counts: Array, i: int, height: float) -> float:
    """Return the energy between points ``i`` and ``i + 1`` at which the counts pass ``height``."""
    if i < 0 or i + 1 >= len(counts):
        return float(energy[max(0, min(i, len(energy) - 1))])
    part = (height - counts[i]) / (counts[i + 1] - counts[i])
    return float(energy[i] + part * (energy[i + 1] - energy[i]))
