"""Kernel ridge regression from a spectrum to the descriptors of its cluster, beside the ensemble.

It interpolates between like training spectra where networks smooth over all; the mean of both errs
less than either (docs/decisions/0002-diffusion.md). One for each (absorber, edge) pair.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.channels import channels
from nearedge.models.encoder_training import LEAST_SPREAD
from nearedge.models.matern import matern
from nearedge.models.spectrum import Array

#: Variance of the noise, in units of the process's own.
NUGGET = 0.1
#: Brings the sum over the grid to the size of the level.
AREA_SCALE = 0.1
#: Shares of the ridge that are tried.
SHARES = np.linspace(0, 1, 11)
#: Parts of the grid that are measured, between which the shares differ: the ridge interpolates
#: badly where little is.
BANDS = (0.45, 0.8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """What was learned of one (absorber, edge) pair.

    Attributes
    ----------
    level, unit
        (g,) mean of the clean training spectra, and (g,) what a level is divided by.
    values
        (n, g) training spectra, NaN where nothing was measured; half precision.
    length
        Of the kernel.
    factor
        (n, d) what the training spectra weigh in each descriptor; half precision.
    mean, spread
        (d,) of the descriptors over the training sites.
    share
        (bands, d) weight of the ridge against the ensemble, 0 to 1, by how much was measured.
    """

    level: Tensor
    unit: Tensor
    values: Tensor
    length: Tensor
    factor: Tensor
    mean: Tensor
    spread: Tensor
    share: Tensor

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        """Descriptors (batch, d) of spectra and masks (batch, g)."""
        asked = _features(values, mask, self.level, self.unit)
        near = _kernel(asked, self.support, self.length)
        return near @ self.factor.float() * self.spread + self.mean

    @cached_property
    def support(self) -> Tensor:
        """Features of the training spectra, (n, 4 g)."""
        seen = (~self.values.isnan()).float()
        return _features(self.values.float().nan_to_num(), seen, self.level, self.unit)


def _features(values: Tensor, mask: Tensor, level: Tensor, unit: Tensor) -> Tensor:
    """All channels side by side, (n, 4 g)."""
    return torch.cat(channels(values, mask, level=level, unit=unit, area=AREA_SCALE), 1)


def _kernel(a: Tensor, b: Tensor, length: Tensor) -> Tensor:
    return matern(a, b, 3**0.5 / length)


def fit(values: Array, mask: Array, described: Array) -> Ridge:
    """Learn the descriptors of sites from their spectra.

    Parameters
    ----------
    values, mask
        (views, sites, g) as in `nearedge.models.augment.Bank`, the clean view first.
    described
        (sites, d) descriptors; NaN, where undefined, counts as the mean.

    Returns
    -------
        A ridge whose shares are 1.
    """
    clean, seen = values[0].astype(np.float64), mask[0].astype(np.float64)
    level = (clean * seen).sum(0) / np.maximum(seen.sum(0), 1)
    unit = np.maximum(clean.std(0), LEAST_SPREAD)
    mean = _mean(described, 0)
    spread = np.sqrt(_mean((described - mean) ** 2, 0)) + 1e-3
    wanted = np.tile(np.nan_to_num((described - mean) / spread), (len(values), 1))
    told = np.where(mask > 0, values, np.nan).reshape(-1, values.shape[2])
    start = Ridge(
        level=torch.from_numpy(level).float(),
        unit=torch.from_numpy(unit).float(),
        values=torch.from_numpy(told).half(),
        length=torch.ones(()),
        factor=torch.zeros(wanted.shape),
        mean=torch.from_numpy(mean).float(),
        spread=torch.from_numpy(spread).float(),
        share=torch.ones(len(BANDS) + 1, len(mean)),
    )
    return _solved(start, torch.from_numpy(wanted), sites=len(clean))


def _mean(values: Array, axis: int | tuple[int, ...]) -> Array:
    """Mean over what is defined; 0 where nothing is."""
    known = ~np.isnan(values)
    return np.asarray(np.nan_to_num(values).sum(axis) / np.maximum(known.sum(axis), 1))


def _solved(start: Ridge, wanted: Tensor, *, sites: int) -> Ridge:
    x = start.support
    apart = torch.cdist(x[:sites], x[:sites])
    length = apart[apart > 0].median() if (apart > 0).any() else torch.ones(())
    covariance = _kernel(x, x, length).double()
    covariance.diagonal().add_(NUGGET)
    factor = torch.cholesky_solve(wanted, torch.linalg.cholesky(covariance))
    return replace(start, length=length, factor=factor.half())


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
        (sites, d); NaN where undefined.
    bands
        (views, sites) of the spectra.
    """
    out = np.zeros((len(BANDS) + 1, truth.shape[1]))
    for number in range(len(out)):
        view, site = np.nonzero(bands == number)
        start, there = ensemble[view, site], ridge[view, site]
        errors = [_mean(np.abs(start + part * (there - start) - truth[site]), 0) for part in SHARES]
        out[number] = SHARES[np.argmin(errors, 0)]
    return torch.from_numpy(out).float()
