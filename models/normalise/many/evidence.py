"""The tests of `nearedge.models.normalise.evidence` for many spectra at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.normalise.evidence import (
    MEDIAN,
    MIN_JUMP,
    MIN_SIGNIFICANCE,
    MIN_STEP_SIGNIFICANCE,
    PINNED_RUN,
    PRE_PEAK,
)
from nearedge.models.normalise.glitches import (
    ABOVE_EDGES,
    FLANK,
    LEAST_HEIGHT,
    LEVEL,
    LONGEST,
    SIGNIFICANCE,
    find_glitches,
)
from nearedge.models.normalise.many.e0 import later_rises
from nearedge.models.normalise.many.polynomials import Polynomials, RowWindows
from nearedge.models.normalise.many.slopes import Slopes
from nearedge.models.spectrum import Array

_BELOW, _PAST = (-10.0, -2.0), (0.5, 6.0)  # eV from a rise: where its height is taken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fits:
    """Where the steps of many spectra are, and from which ranges they come.

    Attributes
    ----------
    e0, edge_step, pre1, pre2, norm1, norm2
        (p,) as in `nearedge.models.normalise.pre_edge.EdgeFit` and its ranges.
    nnorm, npre
        (p,) degrees.
    """

    e0: Array
    edge_step: Array
    pre1: Array
    pre2: Array
    norm1: Array
    norm2: Array
    nnorm: NDArray[np.intp]
    npre: NDArray[np.intp]

    def some(self, rows: NDArray[np.intp], *, sign: float = 1.0) -> "Fits":
        """Return some of them, their steps times ``sign``."""
        found = {name: getattr(self, name)[rows] for name in self.__slots__}
        return Fits(**{**found, "edge_step": sign * found["edge_step"]})


def noises(energy: Array, mu: Array) -> Array:
    """Return the noise of one point of each spectrum (p, n), as `evidence.noise` does."""
    left, right = np.diff(energy)[:-1], np.diff(energy)[1:]
    weight = right / (left + right)
    between = weight * mu[:, :-2]
    between += (1 - weight) * mu[:, 2:]
    np.subtract(mu[:, 1:-1], between, out=between)
    np.abs(between, out=between)
    between /= np.sqrt(1 + weight**2 + (1 - weight) ** 2)
    return np.asarray(1.4826 * np.median(between, axis=1, overwrite_input=True))


def has_glitches(mu: Array, noise: Array) -> NDArray[np.bool_]:
    """Tell whether `find_glitches` finds any in each spectrum (p, n)."""
    lo, hi = np.quantile(mu, (0.1, 0.9), axis=1)
    least = np.maximum(SIGNIFICANCE * noise, LEAST_HEIGHT * (hi - lo))
    beyond = np.maximum(least, ABOVE_EDGES * (hi - lo))
    maybe = _may_settle(mu, least) | _may_settle(mu[:, ::-1], beyond)
    for size in range(1, LONGEST + 1):
        maybe |= _may_spike(mu, size, least)
    for k in np.flatnonzero(maybe):
        maybe[k] = find_glitches(mu[k], noise=float(noise[k])).any()
    return maybe


def _may_spike(mu: Array, size: int, least: Array) -> NDArray[np.bool_]:
    """Tell whether any first point of a group sticks out so far that the group may be a glitch."""
    count = mu.shape[1] - size - 1
    if count < 1:
        return np.zeros(len(mu), dtype=bool)
    left, inside, right = (mu[:, k : k + count] for k in (0, 1, size + 1))
    share = 1 / (size + 1)
    off = np.abs(inside - (left * (1 - share) + right * share))
    rows, at = np.nonzero(off > least[:, None])
    if not len(rows):  # as in nearly all spectra: the rest costs more
        return np.zeros(len(mu), dtype=bool)
    step = (right - left)[rows, at]
    before = mu[rows, at] - mu[rows, np.maximum(at - 1, 0)]
    behind = mu[rows, np.minimum(at + size + 2, mu.shape[1] - 1)] - mu[rows, at + size + 1]
    fall = (before + behind) / 2 * (size + 1)
    level = np.minimum(np.abs(step), np.abs(step - fall))
    found = np.zeros(len(mu), dtype=bool)
    found[rows[level <= LEVEL * off[rows, at]]] = True
    return found


def _may_settle(mu: Array, least: Array) -> NDArray[np.bool_]:
    found = np.zeros(len(mu), dtype=bool)
    for size in range(1, LONGEST + 1):
        behind = mu[:, size : size + 4]
        height = np.abs(mu[:, :size] - behind[:, :1]).min(axis=1)
        found |= (height > least) & (np.ptp(behind, axis=1) <= FLANK * height)
    return found


def is_plain(mu: Array) -> NDArray[np.bool_]:
    """Tell whether each spectrum (p, n) changes, and no detector can have been at its limit."""
    top, span = mu.max(axis=1), np.ptp(mu, axis=1)
    at_top = mu >= (top - 1e-9 * span)[:, None]
    run = at_top[:, PINNED_RUN - 1 :].copy()
    for k in range(PINNED_RUN - 1):
        run &= at_top[:, k : k + run.shape[1]]
    return np.asarray((span > 1e-12 * np.abs(mu).max(axis=1)) & ~run.any(axis=1))


def step_errors(energy: Array, noise: Array, fits: Fits) -> Array:
    """Give the standard deviation of the edge steps, (p,), for the noise of one point (p,)."""
    pre, post = (
        _windows(energy, fits.e0 + lo, fits.e0 + hi)
        for lo, hi in ((fits.pre1, fits.pre2), (fits.norm1, fits.norm2))
    )
    x = energy[post.at] - fits.e0[:, None]
    curve = Polynomials(x, post.inside, np.minimum(fits.nnorm, post.count - 1)).weights(
        np.zeros(len(x))
    )
    centre = (curve * np.where(post.inside, x, 0.0)).sum(axis=1)
    line = Polynomials(
        energy[pre.at] - fits.e0[:, None], pre.inside, np.minimum(fits.npre, pre.count - 1)
    ).weights(centre)
    return np.asarray(noise * np.hypot(np.linalg.norm(line, axis=1), np.linalg.norm(curve, axis=1)))


def _windows(energy: Array, lo: Array, hi: Array) -> RowWindows:
    """Return the points from ``lo`` to ``hi`` (p,) eV; of none the nearest to ``lo``."""
    begin = np.searchsorted(energy, lo, side="left")
    end = np.searchsorted(energy, hi, side="right")
    for k in np.flatnonzero(begin >= end):
        begin[k] = np.abs(energy - lo[k]).argmin()
        end[k] = begin[k] + 1
    return RowWindows.between(begin, end, size=len(energy))


def show_edges(
    energy: Array, mu: Array, noise: Array, slopes: Slopes, slope: Array, fits: Fits, errors: Array
) -> NDArray[np.bool_]:
    """Tell whether each spectrum jumps, as `nearedge.models.normalise.evidence.shows_edge` tells.

    Parameters
    ----------
    energy, mu, noise
        (n,), (p, n) and (p,).
    slopes, slope
        The fine grid, and the (p, g) slopes of ``mu``.
    fits, errors
        The steps that they show, and (p,) the steps' errors.
    """
    shown = np.zeros(len(mu), dtype=bool)
    rows = np.flatnonzero(fits.edge_step > MIN_STEP_SIGNIFICANCE * errors)
    if not len(rows):
        return shown
    level = _levelled(energy, mu[rows])
    step, own_noise = fits.edge_step[rows], noise[rows]
    found = _jump(energy, level, fits.e0[rows], step, own_noise)
    left = np.flatnonzero(~found)
    if len(left):
        at, there = later_rises(
            slopes, slope[rows[left]], after=fits.e0[rows[left]], reach=PRE_PEAK
        )
        for k in range(at.shape[1]):
            asked = np.flatnonzero(there[:, k] & ~found[left])
            some = left[asked]
            found[some] = _jump(energy, level[some], at[asked, k], step[some], own_noise[some])
    shown[rows] = found
    return shown


def _levelled(energy: Array, mu: Array) -> Array:
    """Take from each spectrum the line through all of it."""
    x = energy - energy.mean()
    level: Array = mu - mu.mean(axis=1, keepdims=True)
    level -= (level @ x / (x @ x))[:, None] * x
    return level


def _jump(
    energy: Array, level: Array, at: Array, edge_step: Array, noise: Array
) -> NDArray[np.bool_]:
    below, past = _between(energy, at, _BELOW), _between(energy, at, _PAST)
    enough = (below.count > 0) & (past.count > 0)
    jump = _medians(level, past) - _medians(level, below)
    with np.errstate(divide="ignore"):
        points = np.hypot(past.count**-0.5, below.count**-0.5)
    deviation = MEDIAN * noise * points
    return np.asarray(
        enough & (jump > MIN_SIGNIFICANCE * deviation) & (jump > MIN_JUMP * edge_step)
    )


def _between(energy: Array, at: Array, span: tuple[float, float]) -> RowWindows:
    """Return the points of a span in eV from ``at`` (p,), or the nearest one beyond."""
    off = energy - at[:, None]
    begin, end = (off < span[0]).sum(axis=1), (off <= span[1]).sum(axis=1)
    empty = begin >= end
    if span[0] < 0:
        begin = np.where(empty, np.maximum(end - 1, 0), begin)
    else:
        end = np.where(empty, np.minimum(begin + 1, len(energy)), end)
    return RowWindows.between(begin, np.maximum(end, begin), size=len(energy))


def _medians(values: Array, windows: RowWindows) -> Array:
    """Return the median of each row of ``values`` (p, n) in its window; NaN in an empty one."""
    picked = np.take_along_axis(values, windows.at, axis=1)
    picked = np.sort(np.where(windows.inside, picked, np.inf), axis=1)
    count = windows.count
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1)
    middle = np.minimum(middle, picked.shape[1] - 1)
    found = np.take_along_axis(picked, middle, axis=1).mean(axis=1)
    return np.where(count > 0, found, np.nan)
