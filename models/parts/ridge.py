"""Kernel ridge regression from a spectrum to the descriptors of its cluster, beside the ensemble.

It interpolates between like training spectra where networks smooth over all; the mean of both errs
less than either (docs/decisions/0002-diffusion.md). Short and long parts of a scan are unlike each
other, so each (absorber, edge) pair has a ridge for each band of how much was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearedge.models.data.views import Bank
from nearedge.models.parts.channels import channels
from nearedge.models.parts.device import CPU
from nearedge.models.parts.matern import matern
from nearedge.models.spectrum import Array
from nearedge.models.training.encoders import LEAST_SPREAD, mean_and_spread

#: Variance of the noise, in units of the process's own.
NUGGET = 0.1
#: Brings the sum over the grid to the size of the level.
AREA_SCALE = 0.1
#: Shares of the ridges that are tried.
SHARES = np.linspace(0, 1, 11)
#: Parts of the grid that are measured, between which one ridge ends and the next begins.
BANDS = (0.45, 0.8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """What was learned of one (absorber, edge) pair from spectra of one band.

    Attributes
    ----------
    level, unit
        (g,) mean of the training spectra, and (g,) what a level is divided by.
    values
        (n, …) training spectra as far as any of them reaches, NaN where nothing was measured; half
        precision.
    length
        Of the kernel.
    factor
        (n, d) what the training spectra weigh in each descriptor; half precision.
    mean, spread
        (d,) of the descriptors over the training spectra.
    """

    level: Tensor
    unit: Tensor
    values: Tensor
    length: Tensor
    factor: Tensor
    mean: Tensor
    spread: Tensor

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        """Descriptors (batch, d) of spectra and masks (batch, g)."""
        asked = _features(values, mask, self.level, self.unit)
        near = _kernel(asked, self.support, self.length)
        return near @ self.factor.float() * self.spread + self.mean

    @cached_property
    def support(self) -> Tensor:
        """Features of the training spectra, (n, 4 g)."""
        missing = len(self.level) - self.values.shape[1]
        values = functional.pad(self.values.float(), (0, missing), value=torch.nan)
        seen = (~values.isnan()).float()
        return _features(values.nan_to_num(), seen, self.level, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridges:
    """The ridges of one (absorber, edge) pair.

    Attributes
    ----------
    bands
        One ridge for each band, the shortest spectra first.
    share
        (bands, d) weight of each against the ensemble, 0 to 1.
    """

    bands: Sequence[Ridge]
    share: Tensor

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        """Descriptors (batch, d) of spectra and masks (batch, g), each by the ridge of its band."""
        found = band(mask)
        out = torch.zeros(len(values), self.share.shape[1])
        for number, ridge in enumerate(self.bands):
            own = found == number
            if own.any():
                out[own] = ridge(values[own], mask[own])
        return out


def _features(values: Tensor, mask: Tensor, level: Tensor, unit: Tensor) -> Tensor:
    """All channels side by side, (n, 4 g)."""
    return torch.cat(channels(values, mask, level=level, unit=unit, area=AREA_SCALE), 1)


def _kernel(a: Tensor, b: Tensor, length: Tensor) -> Tensor:
    return matern(a, b, 3**0.5 / length)


def fit(values: Array, mask: Array, described: Array, *, device: torch.device = CPU) -> Ridge:
    """Learn descriptors from spectra.

    Parameters
    ----------
    values, mask
        (n, g) as in `nearedge.models.parts.condition.Condition`.
    described
        (n, d) descriptors of their sites; NaN, where undefined, counts as the mean.
    device
        Where the equations are solved.
    """
    level, unit = mean_and_spread(values, mask)
    mean = _mean(described, 0)
    spread = np.sqrt(_mean((described - mean) ** 2, 0)) + 1e-3
    reach = int(np.flatnonzero((mask > 0).any(0))[-1]) + 1
    start = Ridge(
        level=torch.from_numpy(level).float(),
        unit=torch.from_numpy(np.maximum(unit, LEAST_SPREAD)).float(),
        values=torch.from_numpy(np.where(mask > 0, values, np.nan)[:, :reach]).half(),
        length=torch.ones(()),
        factor=torch.zeros(described.shape),
        mean=torch.from_numpy(mean).float(),
        spread=torch.from_numpy(spread).float(),
    )
    wanted = torch.from_numpy(np.nan_to_num((described - mean) / spread))
    return _solved(start, wanted, device=device)


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean over what is defined; 0 where nothing is."""
    known = ~np.isnan(values)
    return np.asarray(np.nan_to_num(values).sum(axis) / np.maximum(known.sum(axis), 1))


def _solved(start: Ridge, wanted: Tensor, *, device: torch.device) -> Ridge:
    x = start.support.to(device)
    apart = torch.cdist(x, x)
    length = apart[apart > 0].median() if (apart > 0).any() else torch.ones((), device=device)
    covariance = _kernel(x, x, length).double()
    covariance.diagonal().add_(NUGGET)
    factor = torch.cholesky_solve(wanted.to(device), torch.linalg.cholesky(covariance))
    return replace(start, length=length.cpu(), factor=factor.half().cpu())


def fit_bands(
    bank: Bank, sites: NDArray[np.int64], described: Array, *, views: int, device: torch.device
) -> Ridges:
    """Fit a ridge to the spectra of each band.

    Parameters
    ----------
    bank
        Views of the training spectra.
    sites
        Those to learn from.
    described
        (views, all sites, d) descriptors.
    views
        How many of a site's views in a band are learned from, at most.
    device
        Where the equations are solved.

    Returns
    -------
        Ridges whose shares are 1.
    """
    found = band(torch.from_numpy(bank.mask[:, sites])).numpy()
    ridges = []
    for number in range(len(BANDS) + 1):
        view, site = _first(found == number, views)
        told = bank.values[view, sites[site]], bank.mask[view, sites[site]]
        ridges.append(fit(*told, described[view, sites[site]], device=device))
    return Ridges(bands=ridges, share=torch.ones(len(ridges), described.shape[2]))


def _first(within: NDArray[np.bool_], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return view and site of the first ``most`` views within; all clean ones if none is."""
    if not within.any():
        return np.zeros(within.shape[1], np.int64), np.arange(within.shape[1])
    view, site = np.nonzero(within & (within.cumsum(0) <= most))
    return view, site


def band(mask: Tensor) -> Tensor:
    """Index of the band (...) that a mask (..., g) falls into."""
    return torch.bucketize(mask.mean(-1), torch.tensor(BANDS))


def share(ridge: Array, ensemble: Array, truth: Array, bands: NDArray[np.int64]) -> Tensor:
    """For each band and descriptor the share of the ridge at which their mean errs least.

    Parameters
    ----------
    ridge, ensemble
        (views, sites, d) what each says of sites whose family it never saw.
    truth
        (views, sites, d); NaN where undefined.
    bands
        (views, sites) of the spectra.
    """
    out = np.zeros((len(BANDS) + 1, truth.shape[2]))
    for number in range(len(out)):
        view, site = np.nonzero(bands == number)
        start, there = ensemble[view, site], ridge[view, site]
        errors = [
            _mean(np.abs(start + part * (there - start) - truth[view, site]), 0) for part in SHARES
        ]
        out[number] = SHARES[np.argmin(errors, 0)]
    return torch.from_numpy(out).float()
