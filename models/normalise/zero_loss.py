"""The zero-loss peak of a low-loss spectrum: where it is and how wide."""

import numpy as np
from numpy.typing import NDArray

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
    found = float(zero_loss_centres(energy, counts[None])[0])
    return found if np.isfinite(found) else None


def zero_loss_centres(energy: Array, counts: Array) -> Array:
    """Return `zero_loss_centre` of each of many low losses (p, m), (p,) eV; NaN where none is."""
    rows = np.arange(len(counts))
    top = _highest(counts)
    height = counts[rows, top]
    peaked = (np.abs(energy[top]) <= MAX_OFFSET) & (
        height >= MIN_CONTRAST * np.median(counts, axis=1)
    )
    lo, hi = _half_maximum(counts, top)
    lo, hi = np.minimum(lo, top - 1), np.maximum(hi, top + 1)
    found = np.full(len(counts), np.nan)
    for k in np.flatnonzero(peaked & (lo >= 0) & (hi < counts.shape[1])):
        near = slice(lo[k], hi[k] + 1)
        found[k] = _summit(energy[near], counts[k, near], float(energy[top[k]]), height[k])
    return found


def _summit(energy: Array, counts: Array, top: float, height: float) -> float:
    """Return where the parabola of a peak is highest, or its highest channel where it is not."""
    y = np.maximum(counts, 1e-3 * height)
    off = energy - top
    bend, slope, _ = np.polyfit(off, np.log(y), 2, w=np.sqrt(y))
    within = bend < 0 and off[0] <= -slope / (2 * bend) <= off[-1]
    return float(top - slope / (2 * bend)) if within else top


def zero_loss_fwhm(energy: Array, counts: Array) -> float:
    """Return the full width at half maximum of the zero-loss peak, eV, interpolated."""
    top, lo, hi = _peak(counts)
    half = counts[top] / 2
    left = _crossing(energy, counts, lo - 1, half)
    right = _crossing(energy, counts, hi, half)
    return right - left


def elastic_threshold(energy: Array, counts: Array) -> float:
    """Return the energy in eV of the first minimum past the zero-loss peak."""
    _, _, past = _peak(counts)
    rising = np.flatnonzero(np.diff(counts[past:]) > 0)
    return float(energy[past + rising[0]] if len(rising) else energy[-1])


def _peak(counts: Array) -> tuple[int, int, int]:
    """Return the highest channel of a spectrum, the first and the last above half of it."""
    top = _highest(counts[None])
    first, last = _half_maximum(counts[None], top)
    return int(top[0]), int(first[0]), int(last[0])


def _highest(counts: Array) -> NDArray[np.intp]:
    """Return for each row the index of the largest count that is no spike of one channel."""
    padded = np.pad(counts, ((0, 0), (1, 1)), mode="edge")
    neighbours = np.maximum(padded[:, :-2], padded[:, 2:])
    return np.asarray(np.minimum(counts, _SPIKE * neighbours).argmax(1))


def _half_maximum(
    counts: Array, top: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each row the first and last index around ``top`` above half of the maximum."""
    channel, size = np.arange(counts.shape[1]), counts.shape[1]
    low = counts < np.take_along_axis(counts, top[:, None], 1) / 2
    left = np.where(low & (channel < top[:, None]), channel, -1).max(1)
    right = np.where(low & (channel > top[:, None]), channel, size).min(1)
    return left + 1, right - 1


def _crossing(energy: Array, counts: Array, i: int, height: float) -> float:
    """Return the energy between points ``i`` and ``i + 1`` at which the counts pass ``height``."""
    if i < 0 or i + 1 >= len(counts):
        return float(energy[max(0, min(i, len(energy) - 1))])
    part = (height - counts[i]) / (counts[i + 1] - counts[i])
    return float(energy[i] + part * (energy[i + 1] - energy[i]))
