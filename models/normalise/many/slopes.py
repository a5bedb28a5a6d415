"""Slopes of many smoothed spectra: one product of matrices in the place of many convolutions."""

from functools import lru_cache

import numpy as np

from nearedge.models.normalise.e0 import GRID_STEP, slope_kernel
from nearedge.models.spectrum import Array

_TILE = 64  # points of the fine grid calculated together; each depends on few measured ones


class Slopes:
    """Interpolates spectra onto the fine grid, smooths and differentiates them.

    Both are linear, so that each point of the slope is a weighted sum of a few measured points.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    width
        Standard deviation of the smoothing Gaussian, eV.

    Attributes
    ----------
    grid
        (g,) eV, the fine grid of `nearedge.models.normalise.e0`.
    """

    def __init__(self, energy: Array, width: float) -> None:
        self.grid = np.arange(energy[0], energy[-1], GRID_STEP)
        kernel = slope_kernel(width / GRID_STEP)
        self._tiles = [
            _tile(energy, self.grid, kernel, first) for first in range(0, len(self.grid), _TILE)
        ]

    def __call__(self, mu: Array) -> Array:
        """Return slopes (p, g), per point of the grid, of spectra (p, n)."""
        out = np.empty((len(mu), len(self.grid)))
        level = mu - mu.mean(axis=1, keepdims=True)  # a constant has no slope, but rounding errors
        for number, (first, weights) in enumerate(self._tiles):
            begin = number * _TILE
            np.matmul(
                level[:, first : first + len(weights)],
                weights,
                out=out[:, begin : begin + weights.shape[1]],
            )
        return out


def _tile(energy: Array, grid: Array, kernel: Array, first: int) -> tuple[int, Array]:
    """Return the first measured point that counts, and weights (points, some of the grid)."""
    columns = np.arange(first, min(first + _TILE, len(grid)))
    half = len(kernel) // 2
    at = np.clip(columns + np.arange(-half, half + 1)[:, None], 0, len(grid) - 1)
    left = np.clip(np.searchsorted(energy, grid[at], side="right") - 1, 0, len(energy) - 2)
    share = (grid[at] - energy[left]) / (energy[left + 1] - energy[left])
    weight = np.broadcast_to(kernel[::-1, None], at.shape)  # a convolution turns its kernel round
    begin, end = int(left.min()), int(left.max()) + 2
    shape = (end - begin, len(columns))
    place = (left - begin) * len(columns) + (columns - first)
    size = shape[0] * shape[1]
    out: Array = np.zeros(size)
    out += np.bincount(place.ravel(), (weight * (1 - share)).ravel(), minlength=size)
    out += np.bincount((place + len(columns)).ravel(), (weight * share).ravel(), minlength=size)
    return begin, out.reshape(shape)


@lru_cache(maxsize=8)
def _cached(energy: bytes, width: float) -> Slopes:
    return Slopes(np.frombuffer(energy), width)


def slopes_of(energy: Array, width: float) -> Slopes:
    """Return the slopes of an axis; those of the latest axes are kept."""
    return _cached(np.ascontiguousarray(energy, np.float64).tobytes(), width)
