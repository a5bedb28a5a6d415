"""Clusters that grow out of nothing: where drawing starts, with nothing looked up.

Each sample's coordination number is drawn first, by its probability. What is expected of a site is
told to the generator (`nearedge.models.parts.growth`), which places one atom after the other, none
where it overlaps another if there is room. More first shells grow than are wanted; those grow on
whose bond angles agree with what is expected.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts.diffusion import encode_kinds
from nearedge.models.parts.growth import grow_in_parts, take_chances
from nearedge.models.parts.placement import Given, Placement, angles_between
from nearedge.models.parts.told import given_by, ranks_of

#: Coordination numbers that are less likely than this are not drawn.
LEAST_SHARE = 0.01
#: Least standard deviation that the expected mean of the angles' cosines is taken to have.
SHARPEST = 0.03
#: Samples that grow together, as many as a processor keeps at hand.
PART = 16


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
        How many first shells grow for each that grows on.
    """

    placement: Placement
    absorbers: Tensor
    nearest: Tensor
    temperature: float
    surplus: int = 1

    @torch.inference_mode()
    def draw(
        self, expected: Expectation, samples: int, *, atoms: int, generator: torch.Generator
    ) -> Tensor:
        """Draw clusters for an expectation, a batch of one: (samples, atoms, 3 + species)."""
        cn = drawn_classes(expected.cn[0], samples, generator=generator)
        cn = cn.repeat_interleave(self.surplus)
        told = expected.expand(len(cn))
        absorber = self.absorbers[told.edge]
        cutoffs = self.placement.get_buffer("cutoffs")
        ranks = ranks_of(told, cn, absorber=absorber, cutoffs=cutoffs, atoms=atoms)
        positions, kinds = grow_in_parts(
            self.placement,
            given_by(told, ranks, absorber=absorber, cutoffs=cutoffs),
            take_chances(len(cn), atoms, generator=generator),
            temperature=self.temperature,
            nearest=self.nearest,
            choose=self._best,
            size=PART * self.surplus,
        )
        return torch.cat([positions, encode_kinds(kinds, len(cutoffs))], -1)

    def _best(self, given: Given, shell: Tensor) -> Tensor:
        """Choose, of the first shells that grew in place of each other, the likeliest by angle."""
        bonded = given.bonded[:, : shell.shape[1]]
        cosine, _ = angles_between(shell, bonded)
        off = (cosine - given.cosine) / given.doubt.clamp(min=SHARPEST)
        best = torch.where(bonded.sum(1) > 1, off**2, 0.0).reshape(-1, self.surplus).argmin(1)
        return best + self.surplus * torch.arange(len(best))
