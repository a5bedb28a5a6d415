"""Where the edge lies: the e0 of Larch, and a threshold that noise moves less."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array

WIDTH = 0.7  # eV, of the Gaussian that smooths before the steepest rise of an edge is sought,
WIDENING = 0.085e-3  # and no less than this part of its energy: core holes are shorter-lived there
STEEP, RISING = (
    0.5,
    0.15,
)  # parts of the steepest slope from which a rise may be an edge, or begin one
GRID_STEP = 0.1  # eV
_CALM = round(
    10.0 / GRID_STEP
)  # a white line ends so far past its edge, and begins so far past its foot
# so long before its edge a pre-edge peak rises
PRE_EDGE = round(8.0 / GRID_STEP), round(20.0 / GRID_STEP)
_FEW = 100  # below this Larch's own estimate of the energy step is undefined


def find_e0(energy: Array, mu: Array) -> float:
    """Return the edge energy in eV, the same number as ``larch.xafs.find_e0``.

    The point of largest derivative, first of the data as they are, then near it of the derivative
    smoothed with a Lorentzian; a point counts only if its neighbours also rise steeply, so that
    glitches are passed over.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing; at least 10 points.
    mu
        (n,) absorption.
    """
    n = len(energy)
    first = _steepest(energy, _slope(energy, mu))
    near = energy[first]
    lo, hi = max(3, first - 75), min(first + 75, n - 3)
    if first < 0.05 * n:  # a glitch at the start, says Larch
        near, lo, hi = energy.mean(), max(3, first - 20), n - 3
    width = 0.5 * (_clip(_typical_step(energy)) + _clip(near / 25000.0))
    x, y = energy[lo:hi], mu[lo:hi]
    second = _steepest(x, _smooth_lorentzian(x[:-1], _slope(x, y), width=width))
    return float(x[second] if second >= 1 else energy[lo + 2])


def _clip(step: float) -> float:
    return max(0.01, min(1.0, step))


def _slope(energy: Array, mu: Array) -> Array:
    """Take the derivative without the last point, which Larch's ordering leaves out."""
    slope = np.gradient(mu[:-1]) / np.gradient(energy[:-1])
    return np.asarray(slope, dtype=float)


def _typical_step(energy: Array) -> float:
    """Return the mean of the ten smallest energy steps but the very smallest, eV."""
    n = len(energy) - 1
    if n < _FEW:
        return 1.0
    skip = n // _FEW
    steps = np.sort(np.diff(energy[:-2])[skip:-skip])
    return float(steps[skip : skip + 10].mean())


def _steepest(energy: Array, slope: Array) -> int:
    """Return the index of the largest slope whose neighbours are steep too; 0 for none."""
    n = len(slope)
    edge = max(3, int(n * 0.02))
    inner = slope[edge:-edge]
    scaled = (slope - inner.min()) / max(1e-10, np.ptp(inner))
    steep = _steep_points(scaled)
    candidate = np.zeros(n, dtype=bool)
    candidate[1:-1] = steep[:-2] & steep[1:-1] & steep[2:] & (scaled[1:-1] > 0)
    candidate[:edge] = candidate[n - edge + 1 :] = False
    return int(np.where(candidate, scaled, 0.0).argmax())


def _steep_points(scaled: Array) -> np.ndarray:
    threshold = 0.60 if len(scaled) > 20 else 0.30
    steep: np.ndarray = scaled > threshold
    if steep.sum() < 3:
        steep = scaled > 0.5 * threshold
        if steep.sum() <= 3:
            steep = scaled > 0.25 * threshold
    return steep if steep.sum() >= 3 else np.isfinite(scaled)


def _smooth_lorentzian(energy: Array, y: Array, *, width: float) -> Array:
    """Convolve with a Lorentzian of half width ``width`` eV on a grid of that step."""
    lo = width * int((energy[0] - 5 * width) / width)
    hi = width * int((energy[-1] + 5 * width) / width)
    n = min(1 + int(abs(hi - lo + width * 0.1) / width), 50 * len(energy))
    grid = np.linspace(lo, hi, n)
    on_grid = np.interp(grid, energy, y)
    window = 1.0 / (1.0 + (np.arange(2.0 * n) - n) ** 2)
    mirrored = np.concatenate((on_grid[n:0:-1], on_grid, on_grid[-1 : -n - 1 : -1]))
    smooth = np.convolve(window / window.sum(), mirrored, mode="valid")
    start = max(0, (len(smooth) - n) // 2)
    return np.interp(energy, grid, smooth[start : start + n])


def smoothing_width(energy: Array) -> float:
    """Give the deviation in eV of the Gaussian that smooths an edge near the mean ``energy``."""
    return max(WIDTH, WIDENING * float(np.mean(energy)))


def find_threshold(
    energy: Array, mu: Array, *, near: tuple[float, float] | None = None, width: float | None = None
) -> float:
    """Return the edge energy in eV, the first inflection of the smoothed spectrum that is steep.

    The last number of `find_rise`, which takes the same parameters.
    """
    return find_rise(energy, mu, near=near, width=width)[1]


def find_rise(
    energy: Array, mu: Array, *, near: tuple[float, float] | None = None, width: float | None = None
) -> tuple[float, float]:
    """Return where the absorption rises to a pre-edge peak or its edge, and where that is, eV.

    `find_e0` takes the measured point of steepest rise, so noise moves it from one inflection of
    an edge to another, as a small change of structure does. This one smooths with a Gaussian,
    interpolates, and takes the first inflection at least half as steep as the steepest, but not
    that of a pre-edge peak or a shoulder, behind which less than half of the edge is reached.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    mu
        (n,) absorption or counts.
    near
        Where the edge should be, eV; elsewhere it is looked for only if nothing there rises at
        least a sixth as steeply as the steepest rise of all. None: anywhere.
    width
        Standard deviation of the Gaussian, eV; None: `smoothing_width` there.
    """
    if width is None:
        width = smoothing_width(energy if near is None else np.array(near))
    grid = np.arange(energy[0], energy[-1], GRID_STEP)
    signal = np.interp(grid, energy, mu)
    slope = _smooth_slope(signal, width / GRID_STEP)
    if near is not None:
        inside = slope[(grid >= near[0]) & (grid <= near[1])]
        if inside.max(initial=-np.inf) > slope.max() / 6:
            slope = np.where((grid >= near[0]) & (grid <= near[1]), slope, 0.0)
    edge = past_pre_edge(signal, _steep(slope, STEEP))
    rises = edge - _steep(slope, RISING)
    before = rises[(rises >= PRE_EDGE[0]) & (rises <= PRE_EDGE[1])]
    first = edge - before.max(initial=0)
    onset, threshold = (
        float(grid[top] + GRID_STEP * vertex(slope[max(0, top - 1) : top + 2]))
        for top in (first, edge)
    )
    return onset, threshold


def inflections(energy: Array, mu: Array, *, within: tuple[float, float]) -> list[float]:
    """Return the energies in eV of rises at least a quarter as steep as the steepest.

    Parameters
    ----------
    energy, mu
        As in `find_threshold`.
    within
        First and last energy between which rises are looked for, eV.
    """
    grid = np.arange(energy[0], energy[-1], GRID_STEP)
    slope = _smooth_slope(np.interp(grid, energy, mu), smoothing_width(energy) / GRID_STEP)
    inside = np.flatnonzero((grid[1:-1] > within[0]) & (grid[1:-1] < within[1])) + 1
    if not len(inside):
        return []
    y = slope[inside]
    tops = (y >= slope[inside - 1]) & (y > slope[inside + 1]) & (y > 0.25 * y.max())
    return [float(at) for at in grid[inside[tops]]]


def _steep(slope: Array, share: float) -> NDArray[np.intp]:
    """Find the maxima of the slope above that share of the largest and above the noise."""
    largest = slope.max()
    scatter = 1.4826 * float(np.median(np.abs(slope)))
    floor = min(max(share * largest, 5.0 * scatter), largest)
    peak = np.zeros(len(slope), dtype=bool)
    peak[1:-1] = (slope[1:-1] >= slope[:-2]) & (slope[1:-1] > slope[2:])
    found = np.flatnonzero(peak & (slope >= floor))
    return found if len(found) else np.array([slope.argmax()])


def past_pre_edge(signal: Array, tops: NDArray[np.intp]) -> int:
    """Return the first of the steep places that is neither a pre-edge peak nor a low shoulder.

    Titanium, vanadium and six-valent chromium show such peaks, as steep as the edge itself.
    """
    for top, following in pairwise(tops.tolist()):
        if not _is_below_half(signal, top, following):
            return int(top)
    return int(tops[-1])


def _is_below_half(signal: Array, top: int, following: int) -> bool:
    """Tell whether less than half of the edge is reached somewhere between two steep places."""
    behind = signal[following + _CALM :]
    if following - top > PRE_EDGE[1] or not len(behind):
        return False
    foot = signal[max(0, top - _CALM) : top + 1].min()
    return bool(signal[top:following].min() < foot + 0.5 * (np.median(behind) - foot))


def _smooth_slope(y: Array, width: float) -> Array:
    """Differentiate per point ``y`` convolved with a Gaussian of ``width`` points."""
    kernel = slope_kernel(width)
    padded = np.pad(y, len(kernel) // 2, mode="edge")
    return np.convolve(padded, kernel, mode="valid")


def slope_kernel(width: float) -> Array:
    """Return what a curve is convolved with for the slope per point that `find_rise` takes."""
    x = np.arange(-int(4 * width), int(4 * width) + 1)
    kernel = -x * np.exp(-0.5 * (x / width) ** 2)
    return np.asarray(kernel / -(x * kernel).sum())


def vertex(y: Array) -> float:
    """Return the top of the parabola through three points, in points from the middle one."""
    if len(y) < 3 or not np.isfinite(y).all():
        return 0.0
    bend = y[0] - 2 * y[1] + y[2]
    return float(0.5 * (y[0] - y[2]) / bend) if bend < 0 else 0.0
