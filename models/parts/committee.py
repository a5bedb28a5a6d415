"""Networks, and trees if there are any, that read spectra of all edges together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nearedge.models.parts.forest import Forest, ForestReading
from nearedge.models.parts.general import General, GeneralSize, NetReading


class Committee(nn.Module):
    """Several networks and a forest whose readings are mixed.

    Parameters
    ----------
    size, members
        The size of the networks, and how many there are.
    forest
        It counts as much as all networks together; None: there is none.

    Attributes
    ----------
    size, forest
        As above.
    """

    def __init__(self, size: GeneralSize, *, members: int, forest: Forest | None = None) -> None:
        super().__init__()
        self.size, self.forest = size, forest
        self.members = nn.ModuleList(General(size) for _ in range(members))

    def forward(self, values: Tensor, mask: Tensor, absorber: Tensor, hint: Tensor) -> NetReading:
        """Return the mixture: mean odds, means, and the spreads of the mixture."""
        every = [member(values, mask, absorber, hint) for member in self.members]
        mixed = NetReading(
            cn=torch.stack([one.cn.softmax(-1) for one in every]).mean(0).log(),
            kind=torch.stack([one.kind.softmax(-1) for one in every]).mean(0).log(),
            bond=_mixed([one.bond for one in every]),
            cosine=_mixed([one.cosine for one in every]),
            radii=_mixed([one.radii for one in every]),
        )
        if self.forest is None:
            return mixed
        return _beside(mixed, self.forest(values, mask, absorber, hint))


def _beside(found: NetReading, told: ForestReading) -> NetReading:
    """Mix what trees say into what networks say; the radii keep their distance from the bond."""
    both = _mixed([found.bond, told.bond])
    moved = both[:, :1] - found.bond[:, :1]
    return NetReading(
        cn=(found.cn.softmax(-1) + told.cn).log(),
        kind=(found.kind.softmax(-1) + told.kind).log(),
        bond=both,
        cosine=found.cosine,
        radii=torch.stack([found.radii[..., 0] + moved, found.radii[..., 1]], -1),
    )


def _mixed(pairs: Sequence[Tensor]) -> Tensor:
    means = torch.stack([pair[..., 0] for pair in pairs])
    variances = torch.stack([torch.exp(2 * pair[..., 1]) for pair in pairs])
    mean = means.mean(0)
    variance = (variances + means**2).mean(0) - mean**2
    return torch.stack([mean, 0.5 * variance.clamp(min=1e-10).log()], -1)
