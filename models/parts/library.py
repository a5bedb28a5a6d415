"""Known surroundings that agree with what is expected: where the drawing of clusters starts.

How a few dozen atoms can lie around another is known from the clusters of training. Those whose
descriptors agree with the expectation, drawn by their likelihood, already have an arrangement that
matter takes; noise and the denoiser then make them the spectrum's own. Drawn from pure noise, every
third sample took an arrangement that exists nowhere (docs/decisions/0002-diffusion.md). What lies
beyond the atoms that the denoiser moves stays as it is in the known cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import SHELL, Expectation, numbers, species_in
from nearedge.models.data.dataset import Site
from nearedge.models.parts.diffusion import SPREAD_FLOOR, encode_kinds
from nearedge.models.training.denoiser import Clusters

#: Atoms of a cluster that are kept, as far as it has so many.
REACH = 48
#: A descriptor that is off by more standard deviations than this counts as off by so many.
WORST = 6.0
#: The same where the correlations of the errors are learned.
WORST_LEARNED = 4.0
#: What the mean angle counts besides: later steps move radii to the expected ones, but hardly
#: directions.
INSISTENCE = 2.0
#: Share of the errors' variance that is taken to be uncorrelated.
UNCORRELATED = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Library:
    """The clusters of training.

    Attributes
    ----------
    positions, kinds
        (n, 48, 3) Å, half precision, nearest first and NaN beyond the last, and (n, 48) species
        numbers.
    described, cn, edge
        (n, d) descriptors, half precision, (n,) coordination classes and (n,) edges.
    precision
        (edges, d, d) inverse covariance of the errors of expectations, in units of their spread.
    """

    positions: Tensor
    kinds: Tensor
    described: Tensor
    cn: Tensor
    edge: Tensor
    precision: Tensor

    def likelihood(self, expected: Expectation) -> Tensor:
        """Logarithm of how likely each cluster is, (n,), for a batch of one; the highest is 0."""
        off = standardised(expected.mean, expected.spread, self.described.float())
        # a cluster without angles is as likely as one that is off by the usual
        off = torch.where(off.isnan(), torch.ones_like(off), off).clamp(-WORST, WORST)
        distance = ((off @ self.precision[expected.edge[0]]) * off).sum(1)
        distance = distance + INSISTENCE * off[:, 1 - SHELL] ** 2
        log = expected.cn[0][self.cn.long()] - 0.5 * distance
        log = torch.where(self.edge == expected.edge[0], log, -torch.inf)
        return log - log.max()

    def draw(
        self, expected: Expectation, samples: int, *, atoms: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw clusters by their likelihood.

        Systematic resampling: a cluster that is due k times is drawn k times or once more or less.

        Returns
        -------
            The nearest atoms (samples, atoms, 3 + species), and as many beyond them as all the
            drawn clusters have (samples, …, 3 + species).
        """
        shares = self.likelihood(expected).double().softmax(0).cumsum(0)
        steps = torch.arange(samples) + torch.rand(1, generator=generator)
        chosen = torch.searchsorted(shares, steps.double() / samples).clamp(max=len(shares) - 1)
        kinds = encode_kinds(self.kinds[chosen].long(), species_in(self.described.shape[1]))
        drawn = torch.cat([self.positions[chosen].float(), kinds], -1)
        common = int(drawn.isfinite().all(-1).all(0).sum())
        return drawn[:, :atoms], drawn[:, atoms:common]


def standardised(mean: Tensor, spread: Tensor, truth: Tensor) -> Tensor:
    """How far expectations are off, in standard deviations."""
    return (mean - truth) / spread.clamp(min=SPREAD_FLOOR)


def _precision(off: Tensor) -> Tensor:
    """Inverse covariance (d, d) of errors (n, d) in standard deviations."""
    off = off.nan_to_num().clamp(-WORST_LEARNED, WORST_LEARNED).double()
    covariance = off.T @ off / len(off)
    own = covariance.diagonal().clamp(min=1e-3).diag()
    return torch.linalg.inv((1 - UNCORRELATED) * covariance + UNCORRELATED * own).float()


def surroundings(sites: Sequence[Site], *, vocabulary: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Positions (n, 48, 3) and species numbers (n, 48) of the nearest atoms; NaN, 0 beyond."""
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
