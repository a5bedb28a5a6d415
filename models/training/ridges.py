"""Fit the kernel ridges, and find how much each counts beside the ensemble."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.answering.reader import blended
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.views import Bank
from nearedge.models.parts.device import CPU
from nearedge.models.parts.ridge import (
    BANDS,
    NEARNESS,
    Ridge,
    Ridges,
    band,
    between,
    kernel,
)
from nearedge.models.spectrum import Array
from nearedge.models.training.encoders import LEAST_SPREAD, Targets, mean_and_spread, mix

#: Variance of the noise, in units of the process's own.
NUGGET = 0.1
#: Shares of the ridges that are tried.
SHARES = np.linspace(0, 1, 11)


def fit_ridges(
    bank: Bank,
    known: Targets,
    folds: NDArray[np.int64],
    expected: Sequence[Expectation],
    *,
    views: int,
    device: torch.device = CPU,
) -> tuple[tuple[Ridges, ...], list[Expectation]]:
    """Fit the ridges, and blend what they say blindly with what the ensemble says blindly.

    Parameters
    ----------
    bank, known
        Training spectra in several views, and what is to be answered.
    folds
        (sites,) part of each site's family.
    expected
        For each view what members of the ensemble expect that never saw a site's family.
    views
        How many of a site's views in a band are learned from, at most.
    device
        Where the ridges are solved.

    Returns
    -------
        The ridges of each edge, and the blended expectations.
    """
    ensemble = np.stack([e.mean.double().numpy() for e in expected])
    described = mix(known, bank.members).mean
    blind, near = said_blindly(
        bank, known.edge, described, folds, ensemble, views=views, device=device
    )
    bands = band(torch.from_numpy(bank.mask))
    ridges = []
    for k in range(int(known.edge.max()) + 1):
        own = np.flatnonzero(known.edge == k)
        part = best_share(
            blind[:, own],
            ensemble[:, own],
            described[:, own],
            bands[:, own].numpy(),
            near[:, own],
        )
        fitted = fit_bands(bank, own, described, views=views, device=device)
        ridges.append(replace(fitted, share=part))
    shares, edge = torch.stack([one.share for one in ridges]), torch.from_numpy(known.edge)
    rows = zip(expected, blind, bands, torch.from_numpy(near).float(), strict=True)
    return tuple(ridges), [
        blended(e, torch.from_numpy(said).float(), between(shares[edge, own], apart))
        for e, said, own, apart in rows
    ]


def said_blindly(
    bank: Bank,
    edge: NDArray[np.int64],
    described: Array,
    folds: NDArray[np.int64],
    ensemble: Array,
    *,
    views: int,
    device: torch.device = CPU,
) -> tuple[Array, Array]:
    """Return what ridges say that never saw a site's family, (views, sites, d), and how near.

    Parameters as of `fit_ridges`; ``edge`` (sites,), ``described`` and ``ensemble`` (views, sites,
    d), which stands where there is no other family.
    """
    out, near = ensemble.copy(), np.zeros(ensemble.shape[:2])
    for k in np.unique(edge):
        for fold in np.unique(folds):
            own = np.flatnonzero((edge == k) & (folds == fold))
            rest = np.flatnonzero((edge == k) & (folds != fold))
            if not len(rest):
                continue
            fitted = fit_bands(bank, rest, described, views=views, device=device)
            for view, (values, mask) in enumerate(zip(bank.values, bank.mask, strict=True)):
                said, close = fitted(torch.from_numpy(values[own]), torch.from_numpy(mask[own]))
                out[view, own], near[view, own] = said.numpy(), close.numpy()
    return out, near


def fit_bands(
    bank: Bank, sites: NDArray[np.int64], described: Array, *, views: int, device: torch.device
) -> Ridges:
    """Fit a ridge to the spectra of each band.

    Parameters
    ----------
    bank
        Views of the training spectra.
    sites
        The sites to learn from.
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
    share = torch.ones(len(ridges), len(NEARNESS), described.shape[2])
    return Ridges(bands=ridges, share=share)


def _first(within: NDArray[np.bool_], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return view and site of the first ``most`` views within; all clean ones if none is."""
    if not within.any():
        return np.zeros(within.shape[1], np.int64), np.arange(within.shape[1])
    view, site = np.nonzero(within & (within.cumsum(0) <= most))
    return view, site


def fit(
    values: NDArray[np.floating],
    mask: NDArray[np.floating],
    described: Array,
    *,
    device: torch.device = CPU,
) -> Ridge:
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
    mean = _mean(described)
    spread = np.sqrt(_mean((described - mean) ** 2)) + 1e-3
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


def _solved(start: Ridge, wanted: Tensor, *, device: torch.device) -> Ridge:
    x = start.support.to(device)
    apart = torch.cdist(x, x)
    length = apart[apart > 0].median() if (apart > 0).any() else torch.ones((), device=device)
    covariance = kernel(x, x, length).double()
    covariance.diagonal().add_(NUGGET)
    factor = torch.cholesky_solve(wanted.to(device), torch.linalg.cholesky(covariance))
    return replace(start, length=length.cpu(), factor=factor.half().cpu())


def best_share(
    ridge: Array, ensemble: Array, truth: Array, bands: NDArray[np.int64], near: Array
) -> Tensor:
    """Find for each band, nearness and descriptor the share at which their mean errs least.

    Parameters
    ----------
    ridge, ensemble
        (views, sites, d) what each says of sites whose family it never saw.
    truth
        (views, sites, d); NaN where undefined.
    bands
        (views, sites) of the spectra.
    near
        (views, sites) how near each spectrum is to those that its ridge learned from. Where there
        are none so near, the ridge counts nothing.
    """
    levels = np.array(NEARNESS)
    level = np.digitize(near, (levels[1:] + levels[:-1]) / 2)
    out = np.zeros((len(BANDS) + 1, len(levels), truth.shape[2]))
    for number, height in np.ndindex(*out.shape[:2]):
        view, site = np.nonzero((bands == number) & (level == height))
        start, there = ensemble[view, site], ridge[view, site]
        errors = [
            _mean(np.abs(start + part * (there - start) - truth[view, site])) for part in SHARES
        ]
        out[number, height] = SHARES[np.argmin(errors, 0)]
    return torch.from_numpy(out).float()


def _mean(values: Array) -> Array:
    """Return the mean over the rows of what is defined; 0 where nothing is."""
    known = ~np.isnan(values)
    return np.asarray(np.nan_to_num(values).sum(0) / np.maximum(known.sum(0), 1))
