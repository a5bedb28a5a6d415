"""From a spectrum to the shares of coordination numbers in it, by networks that learned averages.

What is measured is an average over sites. The encoder learned mostly from spectra of single sites,
and reads the average of four- and sixfold silicon as one of them. These networks learned from
averages of unlike sites as often as from single ones, and speak of the mean alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesSize:
    """Sizes of the networks.

    Attributes
    ----------
    grid, edges
        Points of the condition, (absorber, edge) pairs; each pair has networks of its own.
    members
        Networks whose mean is the answer.
    width
        The width of the hidden layers.
    dropout
        Share of hidden numbers dropped in training.
    """

    grid: int
    edges: int
    members: int = 3
    width: int = 192
    dropout: float = 0.3


class Shares(nn.Module):
    """Networks from whole spectra to the shares of coordination numbers.

    Parameters
    ----------
    size
        The size of the networks.
    """

    def __init__(self, size: SharesSize) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("level", torch.zeros(size.edges, size.grid))
        self.register_buffer("unit", torch.ones(size.edges, size.grid))
        self.members = nn.ModuleList(
            nn.ModuleList(_member(size) for _ in range(size.members)) for _ in range(size.edges)
        )

    def channels(self, values: Tensor, mask: Tensor, edge: int) -> Tensor:
        """Return what the networks of an edge read of spectra (batch, grid), (batch, 2 grid)."""
        level, unit = self.get_buffer("level")[edge], self.get_buffer("unit")[edge]
        return torch.cat([(values - level) / unit * mask, mask], 1)

    @torch.inference_mode()
    def forward(self, values: Tensor, mask: Tensor, edge: int) -> Tensor:
        """Return the shares of CN = 0 … 10, (batch, classes); they sum to 1.

        Parameters
        ----------
        values, mask
            (batch, grid) as in `nearedge.models.parts.condition.Condition`, of whole scans.
        edge
            Index of the (absorber, edge) pair.
        """
        read, members = self.channels(values, mask, edge), self.members[edge]
        assert isinstance(members, nn.ModuleList)  # noqa: S101
        return torch.stack([member(read).softmax(1) for member in members]).mean(0)


def _member(size: SharesSize) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2 * size.grid, size.width),
        nn.SiLU(),
        nn.Dropout(size.dropout),
        nn.Linear(size.width, size.width),
        nn.SiLU(),
        nn.Dropout(size.dropout),
        nn.Linear(size.width, EXPECTED_CN_CLASSES),
    )
