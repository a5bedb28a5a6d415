"""What the model reads of a spectrum: values on a fixed grid, and where they are known.

The grid counts from where the edge is half way up. That place moves smoothly with the spectrum; e0,
the steepest place, jumps from one rise to another where an edge has several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.ndimage import gaussian_filter1d

from nearedge.models.spectrum import Array, NormalisedSpectrum, freeze_arrays

#: First, last and step of the grid that the shipped model reads, eV from half height.
GRID = (-10.0, 60.0, 0.5)
#: Values are clipped to this range: a glitch must not drown everything else.
LIMITS = (-1.0, 8.0)
#: Where half height is looked for, eV from e0, in what steps, and how smoothed (FWHM).
SEARCH, FINE, SMOOTH = (-15.0, 30.0), 0.05, 0.4
#: The edge is surely passed where the spectrum is this high.
PASSED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """A spectrum on the model's grid.

    Attributes
    ----------
    values
        (g,) normalised absorption, 0 where it was not measured.
    mask
        (g,) 1 where it was measured, 0 elsewhere.
    origin
        Where the grid counts from, eV from e0.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    origin: float = 0.0

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def known(self) -> Array:
        """Give the values as a reader wants them: NaN where nothing was measured."""
        out: Array = self.values.astype(np.float64)
        out[self.mask == 0] = np.nan
        return out


def grid_of(span: Sequence[float]) -> Array:
    """Return the energies from ``span``: first, last and step, eV from half height."""
    first, last, step = span
    return np.asarray(first + step * np.arange(round((last - first) / step) + 1), np.float64)


def _bin_mean(x: Array, y: Array, *, grid: Array) -> Array:
    """Return the mean of the straight lines over the bin around each grid point.

    Averaging keeps the photons of scans that are finer than the grid; the lines make it independent
    of where in a bin its points lie.
    """
    step = grid[1] - grid[0]
    ends = np.append(grid - step / 2, grid[-1] + step / 2)
    fine = np.union1d(x, ends)
    area = cumulative_trapezoid(np.interp(fine, x, y), fine, initial=0)
    return np.asarray(np.diff(area[np.searchsorted(fine, ends)]) / step)


def half_way(energy: Array, flat: Array) -> float:
    """Return where a spectrum is last below one half before it is surely past its edge.

    Parameters
    ----------
    energy, flat
        (n,) eV from e0, and what rises from 0 to 1 there.

    Returns
    -------
        eV from e0; 0, e0 itself, where the spectrum never rises through one half.
    """
    fine = np.arange(max(energy[0], SEARCH[0]), min(energy[-1], SEARCH[1]), FINE)
    if not len(fine):
        return 0.0
    smooth = gaussian_filter1d(np.interp(fine, energy, flat), SMOOTH / 2.355 / FINE)
    passed = int((smooth >= PASSED).argmax()) if smooth.max() >= PASSED else len(smooth) - 1
    below = np.flatnonzero(smooth[:passed] < 0.5)
    if not len(below) or smooth[below[-1] + 1] < 0.5:
        return 0.0
    k = int(below[-1])
    share = (0.5 - smooth[k]) / (smooth[k + 1] - smooth[k])
    return float(fine[k] + share * FINE)


def condition(
    spectrum: NormalisedSpectrum, *, span: Sequence[float] = GRID, shift: float = 0.0
) -> Condition:
    """Read a normalised spectrum on the model's grid.

    Points outside the measured range are masked, never extrapolated; a gap of the scan is
    bridged by a straight line, as a plot of it would be.

    Parameters
    ----------
    spectrum
        The spectrum as `normalise_xanes` or `normalise_eels` give it.
    span
        First, last and step of the grid, eV from half height.
    shift
        eV added to the energies: the error of the origin that training imitates.

    Raises
    ------
    ValueError
        If none of the grid was measured.
    """
    grid = grid_of(span)
    good = np.isfinite(spectrum.flat) & np.isfinite(spectrum.energy)
    from_e0, flat = spectrum.energy[good] - spectrum.e0, spectrum.flat[good]
    origin = half_way(from_e0, flat) if flat.size else 0.0
    relative = from_e0 - origin + shift
    if not relative.size or relative[0] > grid[-1] or relative[-1] < grid[0]:
        raise ValueError(
            f"no point between {grid[0]:g} and {grid[-1]:g} eV from the edge's half height; "
            "the model reads no others"
        )
    slack = span[2] / 2
    mask = (grid >= relative[0] - slack) & (grid <= relative[-1] + slack)
    values = np.where(mask, np.clip(_bin_mean(relative, flat, grid=grid), *LIMITS), 0.0)
    return Condition(
        values=values.astype(np.float32), mask=mask.astype(np.float32), origin=origin - shift
    )
