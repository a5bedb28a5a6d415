"""Fit the forward surrogates, and measure how far they err."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.clusters.descriptors import numbers
from nearedge.models.clusters.invariants import invariants
from nearedge.models.data.dataset import Site
from nearedge.models.parts.surrogate import Surrogate, features

#: Weight of the triples beside the pairs.
TRIPLES = 0.5
#: Inverse square length of the kernel, in units of the median square distance of training clusters.
SHARPNESS = 0.2
#: Most clusters that are learned from: more cost more bytes and seconds than they teach.
MOST = 1000


def as_tensors(
    sites: Sequence[Site], *, atoms: int, vocabulary: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return the nearest atoms of sites: positions (n, atoms, 3) and numbers (n, atoms)."""
    kinds = numbers(np.stack([site.species[:atoms] for site in sites]), vocabulary)
    positions = np.stack([site.positions[:atoms] for site in sites])
    return torch.tensor(positions, dtype=torch.float64), torch.from_numpy(kinds)


def fit(
    positions: Tensor, kinds: Tensor, values: NDArray[np.floating], *, species: int
) -> Surrogate:
    """Learn the spectra of clusters.

    Parameters
    ----------
    positions, kinds
        (n, atoms, 3) Å, double precision, and (n, atoms) species numbers.
    values
        (n, g) their spectra on the model's grid.
    species
        How many species there are.
    """
    centre, scale = _scale(positions, kinds, species=species)
    x = ((features(positions, kinds, species=species) - centre) / scale).half().double()
    y = torch.as_tensor(np.asarray(values, np.float64)).half().double()
    square = torch.cdist(x, x) ** 2
    sharpness = SHARPNESS / square[square > 0].median() if (square > 0).any() else torch.ones(())
    stored = {"centre": centre, "scale": scale, "support": x, "values": y, "sharpness": sharpness}
    return Surrogate.solve(stored)


def _scale(positions: Tensor, kinds: Tensor, *, species: int) -> tuple[Tensor, Tensor]:
    """Return the centre, and one scale for all pair numbers and one for all triple numbers."""
    pairs, triples = invariants(positions, kinds, species=species)
    parts = []
    for values, weight in ((pairs, 1.0), (triples, TRIPLES)):
        spread = (values - values.mean(0)).square().mean().sqrt().clamp(min=1e-9)
        parts.append((spread * values.shape[1] ** 0.5 / weight).expand(values.shape[1]))
    return torch.cat([pairs, triples], 1).mean(0), torch.cat(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateError:
    """Error on families that were left out, root-mean-square over the grid, median over sites.

    Attributes
    ----------
    error
        The error of the surrogate, edge steps.
    scatter
        The error of the mean spectrum of training instead: what not knowing the cluster costs.
    calibration
        Root-mean-square ratio of the error to its stated standard deviation; 1 is honest.
    """

    error: float
    scatter: float
    calibration: float


def cross_validate(
    sites: Sequence[Site],
    values: NDArray[np.floating],
    folds: NDArray[np.int64],
    *,
    atoms: int,
    vocabulary: Sequence[str],
) -> SurrogateError:
    """Predict each fold's spectra from the other folds.

    Parameters
    ----------
    sites
        The sites of one (absorber, edge) pair.
    values
        (sites, g) their spectra on the model's grid.
    folds
        (sites,) fold of each site's family.
    """
    positions, kinds = as_tensors(sites, atoms=atoms, vocabulary=vocabulary)
    error, scatter, ratio = (np.full(len(sites), np.nan) for _ in range(3))
    for fold in np.unique(folds):
        own, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(rest):
            continue
        found = fit(positions[rest], kinds[rest], values[rest], species=len(vocabulary))
        answer, spread = found(positions[own].float(), kinds[own], species=len(vocabulary))
        truth = values[own]
        error[own] = np.sqrt(((answer.numpy() - truth) ** 2).mean(1))
        scatter[own] = np.sqrt(((values[rest].mean(0) - truth) ** 2).mean(1))
        ratio[own] = error[own] / spread.numpy()
    return SurrogateError(
        error=float(np.nanmedian(error)),
        scatter=float(np.nanmedian(scatter)),
        calibration=float(np.sqrt(np.nanmean(ratio**2))),
    )
