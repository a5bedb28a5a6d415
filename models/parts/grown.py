"""Clusters that grow out of nothing: where drawing starts, with nothing looked up.

Each sample's coordination number is drawn first, by its probability. What is expected of a site is
told to the generator (`nearedge.models.parts.growth`), which places one atom after the other. More
clusters grow than are wanted; those are kept in which no atoms overlap and whose bond angles agree
with what is expected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import SHELL, Expectation
from nearedge.models.parts.diffusion import encode_kinds
from nearedge.models.parts.growth import Chance, grow_in_parts, take_chances, together
from nearedge.models.parts.placement import Given, Placement, angles_between
from nearedge.models.parts.told import given_by, ranks_of

#: Coordination numbers that are less likely than this are not drawn.
LEAST_SHARE = 0.01
#: Least standard deviation that the expected mean of the angles' cosines is taken to have.
SHARPEST = 0.03
#: What overlapping atoms cost: more than any disagreement of the angles.
OVERLAP = 1e3


def drawn_classes(log: Tensor, samples: int, *, generator: torch.Generator) -> Tensor:
    """Draw coordination classes (samples,), ascending, by logarithms of their odds (classes,).

    Systematic resampling: a class that is due k times is drawn k times or once more or less.
    """
    odds = log.double().softmax(0)
    shares = torch.where(odds < LEAST_SHARE, 0, odds).cumsum(0)
    steps = torch.arange(samples) + torch.rand(1, generator=generator, dtype=torch.float64)
    found = torch.searchsorted(shares, steps / samples * shares[-1])
    return found.clamp(max=len(odds) - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grown:
    """Clusters drawn from a density.

    Attributes
    ----------
    placement
        The density.
    absorbers
        (edges,) number of each edge's absorber among the species.
    nearest
        (species, species) distance that two atoms keep, Å.
    temperature
        Below 1 the likely places are drawn more often than they are likely.
    surplus
        How many times as many clusters grow as are wanted.
    """

    placement: Placement
    absorbers: Tensor
    nearest: Tensor
    temperature: float
    surplus: int = 1

    @torch.inference_mode()
    def draw(
        self,
        expected: Sequence[Expectation],
        samples: int,
        *,
        atoms: int,
        generators: Sequence[torch.Generator],
    ) -> list[Tensor]:
        """Draw clusters for some expectations, batches of one: (samples, atoms, 3 + species) each.

        All grow together, where the density is. Random numbers are drawn on the CPU.

        Parameters
        ----------
        expected, generators
            What is expected of each site, and its random numbers.
        samples, atoms
            Clusters for each site, and atoms of a cluster.
        """
        pairs = list(zip(expected, generators, strict=True))
        asked = [self._asked(one, samples, atoms, generator) for one, generator in pairs]
        parts = torch.split(self._grow(asked, generators).cpu(), samples * self.surplus)
        return [
            self._drawn(positions, given, one)
            for positions, (given, _), one in zip(parts, asked, expected, strict=True)
        ]

    def _asked(
        self, expected: Expectation, samples: int, atoms: int, generator: torch.Generator
    ) -> tuple[Given, Chance]:
        """Return what is given of one site's clusters, and their random numbers."""
        cn = drawn_classes(expected.cn[0], samples, generator=generator)
        cn = cn.repeat_interleave(self.surplus)
        told = expected.expand(len(cn))
        absorber, cutoffs = self.absorbers[told.edge], self._cutoffs
        ranks = ranks_of(told, cn, absorber=absorber, cutoffs=cutoffs, atoms=atoms)
        given = given_by(told, ranks, absorber=absorber, cutoffs=cutoffs)
        return given, take_chances(len(cn), atoms, generator=generator)

    def _grow(
        self, asked: Sequence[tuple[Given, Chance]], generators: Sequence[torch.Generator]
    ) -> Tensor:
        """Place the atoms of all sites' clusters, (clusters, atoms, 3) Å.

        All random numbers are taken already; what else places atoms may take more of each site's.
        """
        device = self.placement.rank.device
        grown, _ = grow_in_parts(
            self.placement,
            Given.join([given for given, _ in asked]).to(device),
            together([chance for _, chance in asked]).to(device),
            temperature=self.temperature,
        )
        return grown

    @property
    def _cutoffs(self) -> Tensor:
        return self.placement.get_buffer("cutoffs").cpu()

    def _drawn(self, positions: Tensor, given: Given, expected: Expectation) -> Tensor:
        """Return a site's clusters, of those that grew in place of each other the best."""
        drawn = torch.cat([positions, encode_kinds(given.kinds, len(self._cutoffs))], -1)
        if self.surplus == 1:
            return drawn
        return self._kept(drawn, given.kinds, given.bonded, expected)

    def _kept(self, drawn: Tensor, kinds: Tensor, bonded: Tensor, expected: Expectation) -> Tensor:
        """Keep the best of the clusters that grew in place of each other."""
        positions = drawn[..., :3]
        apart = torch.cdist(positions, positions) + 1e3 * torch.eye(positions.shape[1])
        close = (self.nearest[kinds[:, :, None], kinds[:, None]] - apart).clamp(min=0).sum((1, 2))
        cosine, _ = angles_between(positions, bonded)
        mean, spread = expected.mean[0, 1 - SHELL], expected.spread[0, 1 - SHELL]
        off = torch.where(bonded.sum(1) > 1, (cosine - mean) / spread.clamp(min=SHARPEST), 0.0)
        cost = (off**2 / 2 + OVERLAP * close).reshape(-1, self.surplus)
        best = cost.argmin(1) + self.surplus * torch.arange(len(cost))
        return drawn[best]
