"""One site of what was measured: a spectrum is an average over sites, and a sample is one of them.

The encoder says what the average is expected to be, and which shares of coordination numbers are in
it. Given one of these numbers, this part says what a site of it is expected to be: of a mixture of
four- and sixfold silicon the sites have bonds of 1.6 and 1.8 Å, none has the mean.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import (
    EXPECTED_CN_CLASSES,
    RADII,
    SHELL,
    Expectation,
)
from nearedge.models.parts.placement import Given

#: Range of ln(standard deviation), in units of the descriptors' own spread.
_LOG_SPREAD = (-4.5, 1.0)

#: How far inside or outside the cutoff an atom is put that must be bonded, or must not, Å.
_CLEAR = 0.02
#: Ranks that every species is continued by, beyond those that the encoder speaks of.
_MORE = 12


class SiteHead(nn.Module):
    """From what is expected of an average to what is expected of a site with one of its CN.

    Parameters
    ----------
    species, edges
        How many there are.
    width
        Of the hidden layers.
    dropout
        Share of hidden numbers dropped in training.
    """

    def __init__(self, species: int, edges: int, *, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.species, self.edges = species, edges
        d = descriptors.count(species)
        known = descriptors.context_size(species, edges) + EXPECTED_CN_CLASSES
        self.register_buffer("centre", torch.zeros(edges, d))
        self.register_buffer("scale", torch.ones(edges, d))
        self.hidden = nn.Sequential(
            nn.Linear(known, width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.answer = nn.Linear(width, 2 * d)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, expected: Expectation, cn: Tensor) -> Expectation:
        """Give what is expected of sites.

        Parameters
        ----------
        expected
            Of each average.
        cn
            (batch,) coordination class of the site.
        """
        centre, scale = self.get_buffer("centre"), self.get_buffer("scale")
        context = descriptors.context(expected, centre=centre, scale=scale, edges=self.edges)
        own = functional.one_hot(cn, EXPECTED_CN_CLASSES).to(context.dtype)
        shift, log = self.answer(self.hidden(torch.cat([context, own], 1))).chunk(2, 1)
        unit = scale[expected.edge]
        spread = (expected.spread / unit).log() + log
        return Expectation(
            mean=expected.mean + shift * unit,
            spread=spread.clamp(*_LOG_SPREAD).exp() * unit,
            cn=torch.where(own > 0, 0.0, -20.0),
            edge=expected.edge,
        )


def given_by(
    expected: Expectation, cn: Tensor, *, absorber: Tensor, cutoffs: Tensor, atoms: int
) -> Given:
    """Tell the generator what is expected of sites.

    Parameters
    ----------
    expected
        Of each site.
    cn
        (batch,) how many atoms are bonded to it: radii that say otherwise are moved to the cutoff.
    absorber
        (batch,) number of the absorber among the species.
    cutoffs
        (species, species) longest bonds, Å.
    atoms
        How many atoms to place.
    """
    species = descriptors.species_in(expected.mean.shape[1])
    radii, kinds, slack = _merged(expected, species, atoms)
    bond = cutoffs[absorber[:, None], kinds]
    bonded = (radii - bond).argsort(1).argsort(1) < cn[:, None]
    radii = torch.where(
        bonded, torch.minimum(radii, bond - _CLEAR), torch.maximum(radii, bond + _CLEAR)
    )
    order = radii.argsort(dim=1, stable=True)
    cosine, scatter = expected.mean[:, 1 - SHELL], expected.mean[:, 2 - SHELL]
    return Given(
        radii=radii.gather(1, order),
        kinds=kinds.gather(1, order),
        absorber=absorber,
        cosine=cosine.clamp(-1, 1),
        scatter=scatter.clamp(0, 1),
        doubt=expected.spread[:, 1 - SHELL],
        slack=slack.gather(1, order),
    )


def _merged(expected: Expectation, species: int, atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Radii, species and spreads of the nearest atoms, (batch, atoms), nearest first.

    Beyond the ranks that are spoken of, each species goes on as dense as it is within them.
    """
    n = species * RADII
    radii = expected.mean[:, :n].unflatten(1, (species, RADII)).sort(-1).values
    spread = expected.spread[:, :n].unflatten(1, (species, RADII))
    further = (torch.arange(1, _MORE + 1, device=radii.device) / RADII + 1) ** (1 / 3)
    radii = torch.cat([radii, radii[..., -1:] * further], -1)
    spread = torch.cat([spread, spread[..., -1:].expand(-1, -1, _MORE)], -1)
    kinds = torch.arange(species, device=radii.device)[:, None].expand(-1, RADII + _MORE)
    radius, order = radii.flatten(1).sort(dim=1, stable=True)
    order = order[:, :atoms]
    kinds = kinds.reshape(1, -1).expand(len(radii), -1).gather(1, order)
    return radius[:, :atoms], kinds, spread.flatten(1).gather(1, order)
