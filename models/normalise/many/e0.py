"""Where the edges of many spectra lie: `nearedge.models.normalise.e0` for all at once."""

import numpy as np
from numpy.typing import NDArray

from nearedge.models.normalise.e0 import (
    GRID_STEP,
    PRE_EDGE,
    RISING,
    STEEP,
    find_rise,
    past_pre_edge,
)
from nearedge.models.normalise.many.slopes import Slopes
from nearedge.models.spectrum import Array


def find_rises(
    energy: Array, mu: Array, slopes: Slopes, slope: Array, *, near: tuple[float, float]
) -> tuple[Array, Array]:
    """Return where each spectrum rises to a pre-edge peak or its edge, and where that is, eV.

    Parameters
    ----------
    energy, mu
        (n,) eV, strictly increasing, and (p, n).
    slopes, slope
        The fine grid, and the (p, g) slopes of ``mu`` on it.
    near
        As in `nearedge.models.normalise.e0.find_rise`.

    Returns
    -------
        (p,) and (p,) eV.
    """
    grid = slopes.grid
    begin, end = np.searchsorted(grid, near[0]), np.searchsorted(grid, near[1], side="right")
    onset, threshold = np.empty(len(mu)), np.empty(len(mu))
    usual = np.zeros(len(mu), dtype=bool)
    if begin < end:
        steepest = slope[:, begin:end].max(axis=1)
        usual = (steepest > 0) & (steepest > slope.max(axis=1) / 6)
    for k in np.flatnonzero(~usual):  # the edge is not where it should be: looked for everywhere
        onset[k], threshold[k] = find_rise(energy, mu[k], near=near)
    rows = np.flatnonzero(usual)
    if len(rows):
        onset[rows], threshold[rows] = _rises_near(
            energy, mu, grid, slope, rows, (int(begin), int(end))
        )
    return onset, threshold


def _rises_near(
    energy: Array,
    mu: Array,
    grid: Array,
    slope: Array,
    rows: NDArray[np.intp],
    span: tuple[int, int],
) -> tuple[Array, Array]:
    """Find the rises of some rows whose slope counts as 0 outside ``span``."""
    begin, end = span
    inside = slope[rows, begin:end]
    largest = inside.max(axis=1)
    scatter = 1.4826 * _median_size(inside, len(grid))
    peak = _peaks(inside, first=begin == 0, last=end == len(grid))
    peak[:, 0] &= inside[:, 0] >= 0  # what lies before it counts as 0
    peak[:, -1] &= inside[:, -1] > 0
    top = np.empty(len(rows), dtype=np.intp)
    for n, some in enumerate(_steep(inside, peak, largest, scatter, STEEP)):
        if len(some) == 1:
            top[n] = some[0]
        else:
            signal = np.interp(grid, energy, mu[rows[n]])
            top[n] = past_pre_edge(signal, some + begin) - begin
    first = top.copy()
    for n, some in enumerate(_steep(inside, peak, largest, scatter, RISING)):
        before = top[n] - some
        before = before[(before >= PRE_EDGE[0]) & (before <= PRE_EDGE[1])]
        first[n] -= before.max(initial=0)
    onset, threshold = (
        grid[at + begin] + GRID_STEP * _vertices(slope, rows, at + begin, span)
        for at in (first, top)
    )
    return onset, threshold


def _median_size(inside: Array, count: int) -> Array:
    """Return the median of the slopes' sizes over the whole grid, most of which may count as 0."""
    zeros = count - inside.shape[1]
    if 2 * zeros > count:
        return np.zeros(len(inside))
    padded = np.pad(np.abs(inside), ((0, 0), (0, zeros)))
    return np.asarray(np.median(padded, axis=1))


def _peaks(inside: Array, *, first: bool, last: bool) -> NDArray[np.bool_]:
    """Tell which points are maxima; the ends only where the grid goes on beyond them."""
    peak = np.ones(inside.shape, dtype=bool)
    peak[:, 1:] = inside[:, 1:] >= inside[:, :-1]
    peak[:, :-1] &= inside[:, :-1] > inside[:, 1:]
    peak[:, 0] &= not first
    peak[:, -1] &= not last
    return peak


def _steep(
    inside: Array, peak: NDArray[np.bool_], largest: Array, scatter: Array, share: float
) -> list[NDArray[np.intp]]:
    """Return the steep maxima of each row, or where it is steepest."""
    floor = np.minimum(np.maximum(share * largest, 5.0 * scatter), largest)
    row, at = np.nonzero(peak & (inside >= floor[:, None]))
    found = np.split(at, np.searchsorted(row, np.arange(1, len(inside))))
    return [
        some if len(some) else np.array([one.argmax()])
        for some, one in zip(found, inside, strict=True)
    ]


def _vertices(
    slope: Array, rows: NDArray[np.intp], at: NDArray[np.intp], span: tuple[int, int]
) -> Array:
    """Return the tops of the parabolas around ``at``, in points from it; 0 at the grid's ends."""
    begin, end = span
    off = np.zeros(len(rows))
    whole = (at > 0) & (at < slope.shape[1] - 1)
    k, i = rows[whole], at[whole]
    before = np.where(i - 1 >= begin, slope[k, i - 1], 0.0)
    behind = np.where(i + 1 < end, slope[k, i + 1], 0.0)
    bend = before - 2 * slope[k, i] + behind
    curved = bend < 0
    off[whole] = np.where(curved, 0.5 * (before - behind) / np.where(curved, bend, 1.0), 0.0)
    return off


def later_rises(
    slopes: Slopes, slope: Array, *, after: Array, reach: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the energies of rises behind ``after``, as `e0.inflections` does.

    Parameters
    ----------
    slopes, slope
        As in `find_rises`.
    after
        (p,) eV, from where rises are looked for.
    reach
        How far to look, eV.

    Returns
    -------
        (p, m) eV in ascending order, and (p, m) which of them are there.
    """
    grid = slopes.grid
    begin = np.clip(np.searchsorted(grid, after, side="right"), 1, len(grid) - 1)
    end = np.clip(np.searchsorted(grid, after + reach, side="left"), begin, len(grid) - 1)
    width = int((end - begin).max(initial=0))
    if not width:
        return np.empty((len(after), 0)), np.empty((len(after), 0), dtype=bool)
    at = begin[:, None] + np.arange(-1, width + 1)
    y = np.take_along_axis(slope, np.minimum(at, len(grid) - 1), axis=1)
    inside = np.arange(width) < (end - begin)[:, None]
    middle = y[:, 1:-1]
    highest = np.where(inside, middle, -np.inf).max(axis=1, keepdims=True)
    tops = inside & (middle >= y[:, :-2]) & (middle > y[:, 2:]) & (middle > 0.25 * highest)
    most = int(tops.sum(axis=1).max(initial=0))
    order = np.argsort(~tops, axis=1, kind="stable")[:, :most]
    found = np.take_along_axis(tops, order, axis=1)
    return grid[np.minimum(begin[:, None] + order, len(grid) - 1)], found
