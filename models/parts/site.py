"""One site of what was measured: a spectrum is an average over sites, and a sample is one of them.

The encoder says what the average is expected to be, and which shares of coordination numbers are in
it. Given one of these numbers, this part says what a site of it is expected to be: of a mixture of
four- and sixfold silicon the sites have bonds of 1.6 and 1.8 Å, none has the mean.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation

#: Range of ln(standard deviation), in units of the descriptors' own spread.
_LOG_SPREAD = (-4.5, 1.0)


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
