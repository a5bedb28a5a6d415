"""Known surroundings that agree with what is expected: where the drawing of clusters starts.

How a few dozen atoms can lie around another is known from the clusters of training. Those whose
descriptors agree with the expectation, drawn by their likelihood, already have an arrangement that
matter takes; noise and the denoiser then make them the spectrum's own. Drawn from pure noise, every
third sample took an arrangement that exists nowhere (docs/decisions/0002-diffusion.md). What lies
beyond the atoms that the denoiser moves stays as it is in the known cluster.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import SHELL, Expectation, species_in
from nearedge.models.parts.diffusion import SPREAD_FLOOR, encode_kinds

#: Atoms of a cluster that are kept, as far as it has so many.
REACH = 48
#: A descriptor that is off by more standard deviations than this counts as off by so many.
WORST = 6.0
#: What the mean angle counts besides: later steps move radii to the expected ones, but hardly
#: directions.
INSISTENCE = 2.0


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
        """Return how likely each cluster is, (n,) logarithms whose highest is 0."""
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
    """Return how far expectations are off, in standard deviations."""
    return (mean - truth) / spread.clamp(min=SPREAD_FLOOR)
