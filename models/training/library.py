"""Put the library of known clusters together, and learn how expectations of them err."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation, numbers
from nearedge.models.data.dataset import Site
from nearedge.models.parts.library import REACH, Library, standardised
from nearedge.models.training.denoiser import Clusters

#: Where the correlations of the errors are learned, an expectation that is off by more standard
#: deviations than this counts as off by so many.
WORST_LEARNED = 4.0
#: Share of the errors' variance that is taken to be uncorrelated.
UNCORRELATED = 0.2


def surroundings(sites: Sequence[Site], *, vocabulary: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return positions (n, 48, 3) and species (n, 48) of the nearest atoms; NaN, 0 beyond."""
    positions = np.full((len(sites), REACH, 3), np.nan, np.float32)
    kinds = np.zeros((len(sites), REACH), np.uint8)
    for row, site in enumerate(sites):
        has = min(len(site.species), REACH)
        positions[row, :has] = site.positions[:has]
        kinds[row, :has] = numbers(site.species[:has], vocabulary)
    return torch.from_numpy(positions), torch.from_numpy(kinds)


def build(
    clusters: Clusters,
    around: tuple[Tensor, Tensor],
    expected: list[Expectation],
    truth: Tensor,
) -> Library:
    """Make the library of clusters, and learn how expectations err together.

    Parameters
    ----------
    clusters
        What to choose from.
    around
        Their `surroundings`.
    expected
        For each view of the training spectra what is expected of sites whose family was not seen.
    truth
        (sites, d) their descriptors.
    """
    errors = [standardised(e.mean, e.spread, truth) for e in expected]
    edges = int(clusters.edge.max()) + 1
    return Library(
        positions=around[0].half(),
        kinds=around[1],
        described=clusters.described.half(),
        cn=clusters.cn.to(torch.uint8),
        edge=clusters.edge.to(torch.uint8),
        precision=torch.stack(
            [
                _precision(
                    torch.cat([off[e.edge == k] for off, e in zip(errors, expected, strict=True)])
                )
                for k in range(edges)
            ]
        ),
    )


def _precision(off: Tensor) -> Tensor:
    """Return the inverse covariance (d, d) of errors (n, d) in standard deviations."""
    off = off.nan_to_num().clamp(-WORST_LEARNED, WORST_LEARNED).double()
    covariance = off.T @ off / len(off)
    own = covariance.diagonal().clamp(min=1e-3).diag()
    inverse: Tensor = torch.linalg.inv((1 - UNCORRELATED) * covariance + UNCORRELATED * own)
    return inverse.float()
