"""What the generator is told of a site: the expectation of its spectrum, rank by rank."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import RADII, SHELL, Expectation
from nearedge.models.parts.placement import Given

#: How far inside or outside the longest bond an atom is put that must be bonded, or must not, Å.
CLEAR = 0.02
#: Ranks that every species is continued by, beyond those that an expectation speaks of.
MORE = 12
#: Å that an atom of the absorber's own element, if it is not expected to be bonded, stands back by.
ALIKE = 10.0
#: Widest that a radius is taken to scatter, Å.
WIDEST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks:
    """Atoms that are expected, nearest first; all (batch, atoms).

    Attributes
    ----------
    radii, slack
        Expected distance from the absorber and its standard deviation, Å.
    kinds, places
        Number of the species, and rank among the atoms of this species, from 0.
    """

    radii: Tensor
    slack: Tensor
    kinds: Tensor
    places: Tensor

    def sorted(self, radii: Tensor) -> "Ranks":
        """Move the atoms to other radii, and sort them by these."""
        order = radii.argsort(dim=1, stable=True)
        return Ranks(
            radii=radii.gather(1, order),
            slack=self.slack.gather(1, order),
            kinds=self.kinds.gather(1, order),
            places=self.places.gather(1, order),
        )


def ranks_of(
    expected: Expectation, cn: Tensor, *, absorber: Tensor, cutoffs: Tensor, atoms: int
) -> Ranks:
    """Give the nearest atoms that are expected, with as many bonded ones as there must be.

    Radii on the wrong side of the longest bond are moved to it.

    Parameters
    ----------
    expected
        The expectation of each site.
    cn
        (batch,) how many atoms are bonded to it.
    absorber
        (batch,) number of the absorber among the species.
    cutoffs
        (species, species) longest bonds, Å.
    atoms
        How many to give.
    """
    found = _merged(expected, atoms)
    bond = cutoffs[absorber[:, None], found.kinds]
    gap = found.radii - bond
    alike = (found.kinds == absorber[:, None]) & (gap > 0)
    bonded = (gap + ALIKE * alike).argsort(1).argsort(1) < cn[:, None]
    inside = torch.minimum(found.radii, bond - CLEAR)
    return found.sorted(torch.where(bonded, inside, torch.maximum(found.radii, bond + CLEAR)))


def given_by(expected: Expectation, ranks: Ranks, *, absorber: Tensor, cutoffs: Tensor) -> Given:
    """Tell the generator what is expected of sites whose `ranks_of` these are."""
    cosine, scatter = expected.mean[:, 1 - SHELL], expected.mean[:, 2 - SHELL]
    return Given(
        radii=ranks.radii,
        kinds=ranks.kinds,
        absorber=absorber,
        cosine=cosine.clamp(-1, 1),
        scatter=scatter.clamp(0, 1),
        doubt=expected.spread[:, 1 - SHELL].clamp(max=0.5),
        slack=ranks.slack,
        bonded=ranks.radii < cutoffs[absorber[:, None], ranks.kinds],
    )


def _merged(expected: Expectation, atoms: int) -> Ranks:
    """Merge the species' radii into one list, nearest first.

    Beyond the ranks that are spoken of, each species goes on as dense as it is within them.
    """
    species = descriptors.species_in(expected.mean.shape[1])
    n = species * RADII
    radii = expected.mean[:, :n].reshape(-1, species, RADII).sort(-1).values
    slack = expected.spread[:, :n].reshape(-1, species, RADII).clamp(max=WIDEST)
    further = (torch.arange(1, MORE + 1, device=radii.device) / RADII + 1) ** (1 / 3)
    radii = torch.cat([radii, radii[..., -1:] * further], -1)
    slack = torch.cat([slack, slack[..., -1:].expand(-1, -1, MORE)], -1)
    number = torch.arange(species * (RADII + MORE), device=radii.device)
    every = Ranks(
        radii=radii.flatten(1),
        slack=slack.flatten(1),
        kinds=(number // (RADII + MORE)).expand(len(radii), -1),
        places=(number % (RADII + MORE)).expand(len(radii), -1),
    )
    merged = every.sorted(every.radii)
    return Ranks(
        radii=merged.radii[:, :atoms],
        slack=merged.slack[:, :atoms],
        kinds=merged.kinds[:, :atoms],
        places=merged.places[:, :atoms],
    )
