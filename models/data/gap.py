"""What lies between a calculated spectrum and a measured one, as random functions for training.

FEFF's spectra differ from measurement by more than most structures differ from each other: the
median is 0.12 edge steps, 0.05 after the best broadening, stretch and scale. A network that is to
answer for measurements learns from views that are as far from the calculation, in as many ways: a
broadening that grows with energy, a stretched energy axis, a white line of another height,
self-absorption, an error of normalisation, and smooth random residuals. The residuals are partly
those of measured compounds (`residual_modes`), which tell nothing of structures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from nearedge.models.data.instruments import half_height, scan, scan_points
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import GRID, LIMITS, grid_of
from nearedge.models.spectrum import Array, Rejected, Spectrum

STEP = 0.25
#: Energies from the edge on which views are made, eV.
FINE: Array = np.arange(-30.0, 90.0 + STEP / 2, STEP)
#: Broadenings between which a view's is interpolated, eV (sigma).
SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: The scan that a calculated spectrum is normalised as, eV from the edge.
_START, _END = -50.0, 62.0
#: Correlation lengths of smooth residuals, eV.
_LENGTHS = (2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TheoryGap:
    """How far views lie from the calculation; everything is drawn evenly unless said otherwise.

    Attributes
    ----------
    broadening, growth
        Most Gaussian broadening (sigma, eV) and most growth of it per eV; small ones more often.
    stretch
        Half the range by which the energy axis is stretched about 1; half of the views get a third.
    white_line
        Least and most change of the first peaks' height.
    absorption, absorbing
        Most self-absorption, and the share of views that have some.
    scale, slope
        Most errors of the normalisation: a factor, and one that grows per eV.
    residual
        Most factor of the residuals.
    noise
        Most noise, edge steps; little of it more often.
    jitter
        Standard deviation of an error of the origin, eV.
    """

    broadening: float = 4.0
    growth: float = 0.2
    stretch: float = 0.11
    white_line: tuple[float, float] = (-0.4, 0.25)
    absorption: float = 0.35
    absorbing: float = 0.25
    scale: float = 0.06
    slope: float = 1.5e-3
    residual: float = 1.2
    noise: float = 0.02
    jitter: float = 0.5


def broadened_levels(spectrum: Spectrum) -> Array:
    """Return a calculated spectrum, normalised, on `FINE` in all `SIGMAS`: (sigmas, fine)."""
    seen = scan(spectrum, scan_points(start=_START, end=_END, spacing=STEP))
    found = normalise_xanes(seen)
    if isinstance(found, Rejected):  # its edge is too broad for the finder: as FEFF normalises it
        values = np.interp(FINE, seen.energy - half_height(spectrum), seen.mu)
    else:
        values = np.interp(FINE, found.energy - found.e0, found.flat)
    return np.stack([_broadened(values, sigma) for sigma in SIGMAS])


def _broadened(values: Array, sigma: float) -> Array:
    if not sigma:
        return values
    return np.asarray(gaussian_filter1d(values, sigma / STEP, mode="nearest"))


def residual_modes(path: Path, *, most: float = 0.15, count: int = 16) -> Array:
    """Return the square root of the covariance of measured residuals, (fine, modes).

    Parameters
    ----------
    path
        Parquet with a row for each compound, its ``residual`` on `FINE`: measurement less the
        calculation that was broadened, stretched and scaled to it.
    most
        A compound whose residual is larger (root mean square) counts as one of this size: FEFF's
        worst failures must not rule.
    count
        Modes that are kept.
    """
    import pyarrow.parquet as pq

    rows = np.array(pq.read_table(path).column("residual").to_pylist(), dtype=np.float64)
    rows *= np.minimum(1.0, most / np.sqrt((rows**2).mean(1, keepdims=True)))
    _, values, vectors = np.linalg.svd(rows / np.sqrt(len(rows)), full_matrices=False)
    return np.asarray(vectors[:count].T * values[:count])


def smooth_modes(lengths: Sequence[float] = _LENGTHS) -> list[Tensor]:
    """Return for each correlation length (fine, modes): random weights of them are smooth."""
    found = []
    for length in lengths:
        covariance = np.exp(-0.5 * ((FINE[:, None] - FINE) / length) ** 2)
        values, vectors = np.linalg.eigh(covariance)
        kept = values > 1e-6 * values.max()
        modes = vectors[:, kept] * np.sqrt(values[kept])
        found.append(torch.tensor(modes, dtype=torch.float32))
    return found


class Views:
    """Makes views of spectra.

    Parameters
    ----------
    gap
        How far they lie from the calculation.
    residuals
        (fine, modes) square root of the covariance of measured residuals; None: smooth ones alone.
    generator
        Draws them.
    """

    def __init__(
        self, gap: TheoryGap, *, residuals: Array | None = None, generator: torch.Generator
    ) -> None:
        self._gap, self._generator = gap, generator
        self._energy = torch.tensor(FINE, dtype=torch.float32)
        self._sigmas = torch.tensor(SIGMAS)
        self._smooth = smooth_modes()
        self._size = 0.06 * torch.exp(-self._energy.clamp(min=0) / 25) + 0.02
        self._measured = None if residuals is None else torch.tensor(residuals, dtype=torch.float32)

    def __call__(self, levels: Tensor) -> Tensor:
        """Return a view (batch, fine) of each spectrum (batch, sigmas, fine)."""
        gap, energy, n = self._gap, self._energy, len(levels)
        past = energy.clamp(min=0)[None]
        width = gap.broadening * self._even(n) ** 2 + gap.growth * self._even(n) ** 2 * past
        x = self._broaden(levels, width.clamp(max=SIGMAS[-1] - 1e-3))
        range_ = torch.where(self._even(n) < 0.5, gap.stretch / 3, gap.stretch)
        x = interpolate(x, energy[None] / (1 + range_ * self._even(n, -1, 1)))
        x = x * self._white_line(x)
        taken = gap.absorption * self._even(n) * (self._even(n) < gap.absorbing)
        x = x / (1 + taken * (x - 1)).clamp(min=0.2)
        x = x * (1 + gap.scale * self._even(n, -1, 1) + gap.slope * self._even(n, -1, 1) * past)
        size = self._even(n, 0.15, 1) * gap.residual * torch.sigmoid((energy + 3) / 1.5)
        x = x + size * self._residual(n)
        noise = gap.noise * self._even(n) ** 3
        return x + noise * torch.randn(x.shape, generator=self._generator)

    def read(self, levels: Tensor, *, span: Sequence[float] = GRID) -> Tensor:
        """Return views on a model's grid, (batch, grid), with an error of the origin.

        Parameters
        ----------
        levels
            (batch, sigmas, fine) spectra.
        span
            The grid, as of `nearedge.models.parts.condition.grid_of`.
        """
        seen = self(levels)
        error = self._gap.jitter * torch.randn(len(levels), 1, generator=self._generator)
        return read_views(seen, error=error, span=span)

    def _even(self, n: int, lo: float = 0.0, hi: float = 1.0) -> Tensor:
        return lo + (hi - lo) * torch.rand(n, 1, generator=self._generator)

    def _broaden(self, levels: Tensor, width: Tensor) -> Tensor:
        k = torch.searchsorted(self._sigmas, width.contiguous(), right=True) - 1
        share = (width - self._sigmas[k]) / (self._sigmas[k + 1] - self._sigmas[k])
        near, far = (levels.gather(1, (k + i)[:, None])[:, 0] for i in (0, 1))
        return near * (1 - share) + far * share

    def _white_line(self, x: Tensor) -> Tensor:
        n, place = len(x), self._energy[None]
        bell = torch.exp(-(((place - self._even(n, 0, 6)) / self._even(n, 3, 8)) ** 2))
        change = self._even(n, *self._gap.white_line) * bell
        return 1 + change * (x / 0.5).clamp(0, 1)  # what is below half height stays below

    def _residual(self, n: int) -> Tensor:
        smooth = torch.zeros(n, len(self._energy))
        for modes in self._smooth:
            smooth = smooth + self._normal(n, modes.shape[1]) @ modes.T * self._even(n)
        if self._measured is None:
            return smooth * self._size
        measured = self._normal(n, self._measured.shape[1]) @ self._measured.T
        return 0.8 * measured + 0.5 * smooth * self._size

    def _normal(self, n: int, m: int) -> Tensor:
        return torch.randn(n, m, generator=self._generator)


def interpolate(x: Tensor, energy: Tensor) -> Tensor:
    """Read spectra (batch, fine) at energies (batch, m), eV from the edge."""
    place = ((energy - float(FINE[0])) / STEP).clamp(0, len(FINE) - 1.001)
    k = place.floor().long()
    share = place - k
    return x.gather(1, k) * (1 - share) + x.gather(1, k + 1) * share


def half_ways(x: Tensor) -> Tensor:
    """Return where spectra (batch, fine) are half way up, (batch, 1) eV, as `half_way` does."""
    energy = torch.tensor(FINE, dtype=torch.float32)
    inside = (energy > -15) & (energy < 30)
    place, y = energy[inside], functional.avg_pool1d(x[:, None], 3, 1, 1)[:, 0][:, inside]
    index = torch.arange(y.shape[1])
    passed = (y >= 0.8).float().argmax(1, keepdim=True)
    below = ((y < 0.5) & (index < passed)) * index
    k = below.argmax(1, keepdim=True).clamp(max=y.shape[1] - 2)
    low, high = y.gather(1, k), y.gather(1, k + 1)
    share = ((0.5 - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)
    found: Tensor = place[k] + STEP * share
    return found


def read_views(x: Tensor, *, error: Tensor | float = 0.0, span: Sequence[float] = GRID) -> Tensor:
    """Read views (batch, fine) on a model's grid, (batch, grid).

    Parameters
    ----------
    error
        (batch, 1) error of the origin, eV.
    span
        The grid, as of `nearedge.models.parts.condition.grid_of`.
    """
    grid = torch.tensor(grid_of(span), dtype=torch.float32)
    return interpolate(x, half_ways(x) + error + grid).clamp(*LIMITS)
