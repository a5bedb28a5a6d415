"""What the model reads of many spectra: `nearedge.models.parts.condition` for all at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.parts.condition import (
    FINE,
    GRID,
    LIMITS,
    PASSED,
    SEARCH,
    SMOOTH,
    condition,
    grid_of,
)
from nearedge.models.spectrum import Array, freeze_arrays

#: Spectra that are read together.
AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditions:
    """Spectra on the model's grid.

    Attributes
    ----------
    rows
        (r,) numbers of the spectra that could be read.
    values, mask
        (r, g) as in `nearedge.models.parts.condition.Condition`.
    origin
        (r,) eV from e0.
    refused
        Why the others could not be read, by number.
    """

    rows: NDArray[np.intp]
    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    origin: Array
    refused: dict[int, str]

    def __post_init__(self) -> None:
        freeze_arrays(self)


def conditions(spectra: NormalisedSpectra, *, span: Sequence[float] = GRID) -> Conditions:
    """Read normalised spectra on the model's grid, as `condition` reads each.

    Parameters
    ----------
    spectra
        The spectra; those that were rejected are passed over.
    span
        First, last and step of the grid, eV from half height.
    """
    grid = grid_of(span)
    good = np.flatnonzero(spectra.good)
    values = np.zeros((len(good), len(grid)), np.float32)
    mask, origin = np.zeros_like(values), np.zeros(len(good))
    refused: dict[int, str] = {}
    own = np.array([k in spectra.alone for k in good], dtype=bool)
    for at in np.flatnonzero(own):
        try:
            read = condition(spectra.alone[int(good[at])], span=span)
        except ValueError as error:
            refused[int(good[at])] = str(error)
            continue
        values[at], mask[at], origin[at] = read.values, read.mask, read.origin
    common = np.flatnonzero(~own)
    for begin in range(0, len(common), AT_ONCE):
        some = common[begin : begin + AT_ONCE]
        reader = _Reader(spectra, good[some])
        origin[some] = reader.half_ways()
        values[some], mask[some], outside = reader.read(origin[some], grid, slack=span[2] / 2)
        text = (
            f"no point between {grid[0]:g} and {grid[-1]:g} eV from the edge's half height; "
            "the model reads no others"
        )
        refused |= {int(k): text for k in good[some][outside]}
    kept = np.array([int(k) not in refused for k in good], dtype=bool)
    return Conditions(
        rows=good[kept],
        values=values[kept],
        mask=mask[kept],
        origin=origin[kept],
        refused=refused,
    )


class _Reader:
    """Reads some spectra of one axis, each at energies of its own."""

    def __init__(self, spectra: NormalisedSpectra, rows: NDArray[np.intp]) -> None:
        self._energy, self._flat = spectra.energy, spectra.flat[rows]
        self._zero = spectra.e0[rows] - spectra.energy_shift[rows]  # e0 on the measured axis
        steps = 0.5 * np.diff(self._energy) * (self._flat[:, 1:] + self._flat[:, :-1])
        self._area = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))

    def half_ways(self) -> Array:
        """Return where each is half way up, eV from e0."""
        first = np.maximum(self._energy[0] - self._zero, SEARCH[0])
        last = np.minimum(self._energy[-1] - self._zero, SEARCH[1])
        counts = np.maximum(np.ceil((last - first) / FINE), 0).astype(np.intp)
        out = np.zeros(len(self._flat))
        for count in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == count)
            fine = first[rows, None] + FINE * np.arange(count)
            out[rows] = _half_ways(fine, self._values(rows, fine))
        return out

    def _values(self, rows: NDArray[np.intp], at: Array) -> Array:
        """Return the straight lines between points at energies (rows, m) from e0, level beyond."""
        left, share = self._places(rows, at)
        y = self._flat[rows]
        low = np.take_along_axis(y, left, axis=1)
        high = np.take_along_axis(y, left + 1, axis=1)
        return np.asarray(low + share * (high - low))

    def _places(self, rows: NDArray[np.intp], at: Array) -> tuple[NDArray[np.intp], Array]:
        energy = self._energy
        absolute = np.clip(at + self._zero[rows, None], energy[0], energy[-1])
        left = np.clip(np.searchsorted(energy, absolute, side="right") - 1, 0, len(energy) - 2)
        return left, (absolute - energy[left]) / (energy[left + 1] - energy[left])

    def read(
        self, origin: Array, grid: Array, *, slack: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Return the values and masks on the grid, and which spectra have nothing there."""
        centre = self._zero + origin
        first, last = (self._energy[k] - centre for k in (0, -1))
        step = grid[1] - grid[0]
        ends = np.append(grid - step / 2, grid[-1] + step / 2)
        mean = np.diff(self._areas(ends + origin[:, None]), axis=1) / step
        mask = (grid >= first[:, None] - slack) & (grid <= last[:, None] + slack)
        values = np.where(mask, np.clip(mean, *LIMITS), 0.0)
        outside = (first > grid[-1]) | (last < grid[0])
        return values.astype(np.float32), mask.astype(np.float32), outside

    def _areas(self, at: Array) -> Array:
        """Return the area under the lines from the first point to energies (p, m) from e0."""
        rows = np.arange(len(self._flat))
        left, share = self._places(rows, at)
        step = self._energy[left + 1] - self._energy[left]
        low = np.take_along_axis(self._flat, left, axis=1)
        high = np.take_along_axis(self._flat, left + 1, axis=1)
        inside = step * share * (low + 0.5 * share * (high - low))
        absolute = at + self._zero[:, None]
        below = np.minimum(absolute - self._energy[0], 0.0) * self._flat[:, :1]
        above = np.maximum(absolute - self._energy[-1], 0.0) * self._flat[:, -1:]
        return np.asarray(np.take_along_axis(self._area, left, axis=1) + inside + below + above)


def _half_ways(fine: Array, y: Array) -> Array:
    """Return `nearedge.models.parts.condition.half_way` for energies and values (p, m)."""
    smooth = gaussian_filter1d(y, SMOOTH / 2.355 / FINE, axis=1)
    high = smooth >= PASSED
    count = smooth.shape[1]
    passed = np.where(high.any(axis=1), high.argmax(axis=1), count - 1)
    below = (smooth < 0.5) & (np.arange(count) < passed[:, None])
    last = count - 1 - below[:, ::-1].argmax(axis=1)
    rows = np.arange(len(y))
    at = np.minimum(last, count - 2) if count > 1 else np.zeros(len(y), dtype=np.intp)
    found = below.any(axis=1)
    if count < 2:
        return np.zeros(len(y))
    lower, upper = smooth[rows, at], smooth[rows, at + 1]
    found &= upper >= 0.5
    share = (0.5 - lower) / np.where(found, upper - lower, 1.0)
    return np.where(found, fine[rows, at] + share * FINE, 0.0)
