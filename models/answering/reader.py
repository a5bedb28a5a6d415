"""From a spectrum to what is expected of its cluster: the ensemble and the ridges together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.views import Bank
from nearedge.models.parts import ridge
from nearedge.models.parts.device import CPU
from nearedge.models.parts.encoder import Ensemble
from nearedge.models.parts.ridge import Ridges
from nearedge.models.spectrum import Array
from nearedge.models.training.encoders import Targets, mix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """Both regressions; the ridges are in the order of the edges."""

    ensemble: Ensemble
    ridges: tuple[Ridges, ...]

    @torch.inference_mode()
    def __call__(self, values: Tensor, mask: Tensor, edge: int) -> Expectation:
        """Give what is expected of clusters around one kind of absorber.

        Parameters
        ----------
        values, mask
            (batch, grid) as in `nearedge.models.parts.condition.Condition`.
        edge
            Index of the (absorber, edge) pair.
        """
        told = self.ensemble(values, mask, torch.full((len(values),), edge))
        own = self.ridges[edge]
        return _blended(told, own(values, mask), own.share[ridge.band(mask)])


def _blended(expected: Expectation, mean: Tensor, share: Tensor) -> Expectation:
    """Move the means by ``share`` towards those of a ridge; the spreads are the ensemble's."""
    mean = expected.mean + share * (mean - expected.mean)
    return Expectation(mean, expected.spread, expected.cn, expected.edge)


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
    blind = _blind(bank, known.edge, described, folds, ensemble, views=views, device=device)
    bands = ridge.band(torch.from_numpy(bank.mask))
    ridges = []
    for k in range(int(known.edge.max()) + 1):
        own = np.flatnonzero(known.edge == k)
        share = ridge.share(
            blind[:, own], ensemble[:, own], described[:, own], bands[:, own].numpy()
        )
        fitted = ridge.fit_bands(bank, own, described, views=views, device=device)
        ridges.append(replace(fitted, share=share))
    shares = torch.stack([one.share for one in ridges])[torch.from_numpy(known.edge), bands]
    return tuple(ridges), [
        _blended(e, torch.from_numpy(said).float(), share)
        for e, said, share in zip(expected, blind, shares, strict=True)
    ]


def _blind(
    bank: Bank,
    edge: NDArray[np.int64],
    described: Array,
    folds: NDArray[np.int64],
    ensemble: Array,
    *,
    views: int,
    device: torch.device,
) -> Array:
    """Return what ridges say that never saw a site's family, (views, sites, d)."""
    out = ensemble.copy()
    for k in np.unique(edge):
        for fold in np.unique(folds):
            own = np.flatnonzero((edge == k) & (folds == fold))
            rest = np.flatnonzero((edge == k) & (folds != fold))
            if not len(rest):
                continue
            fitted = ridge.fit_bands(bank, rest, described, views=views, device=device)
            for view, (values, mask) in enumerate(zip(bank.values, bank.mask, strict=True)):
                said = fitted(torch.from_numpy(values[own]), torch.from_numpy(mask[own]))
                out[view, own] = said.numpy()
    return out
