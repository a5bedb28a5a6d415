"""Trees that read the spectra of all edges beside the networks.

A tree asks about one number after another, of the spectrum and of the composition, and answers with
what the training sites had that gave the same answers. Where an element has few structures trees
err elsewhere than networks do, so that both together err less than either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from nearedge.models.clusters.geometry import covalent_radii
from nearedge.models.parts.general import KINDS, element_numbers, elements, kind_of

#: Kinds of ligands that are told from metals.
_LIGANDS = KINDS - 1
#: Above every covalent radius, Å.
_LARGE = 9.0
#: Least standard deviation of a bond, Å.
_LEAST = 1e-3


@cache
def _numbers() -> Tensor:
    return torch.tensor(element_numbers(), dtype=torch.float32)


@cache
def _radii() -> Tensor:
    return torch.tensor([covalent_radii()[symbol] for symbol in elements()])


@cache
def _kinds() -> Tensor:
    kinds = torch.tensor([kind_of(symbol) for symbol in elements()])
    return functional.one_hot(kinds, KINDS)[:, :_LIGANDS].float()


def composition_numbers(absorber: Tensor, hint: Tensor) -> Tensor:
    """Return what a composition says of ligands and metals, (batch, 11); 0 where it is not known.

    Whether there are hard, soft and metalloid ligands, how many metals and elements, the mean
    radius of the ligands, mean, largest and smallest of the metals, the smallest of all, and
    whether the composition is known. The absorber counts as a neighbour only where nothing else is
    named.

    Parameters
    ----------
    absorber
        (batch,) places in `nearedge.models.parts.general.elements`.
    hint
        (batch, elements + 1) as `nearedge.models.parts.general.hint_of` gives it.
    """
    radii, held, known = _radii(), hint[:, :-1], hint[:, -1:]
    others = held * (1 - functional.one_hot(absorber, held.shape[1]))
    near = torch.where(others.any(1, keepdim=True), others, held)
    ligands = near * _kinds().sum(1)
    metals = near - ligands
    found = [
        (near @ _kinds() > 0).float(),
        metals.sum(1, keepdim=True),
        near.sum(1, keepdim=True),
        _mean_radius(ligands),
        _mean_radius(metals),
        (metals * radii).amax(1, keepdim=True),
        torch.where(metals > 0, radii, _LARGE).amin(1, keepdim=True) * metals.any(1, keepdim=True),
        torch.where(near > 0, radii, _LARGE).amin(1, keepdim=True),
        torch.ones_like(known),
    ]
    return torch.cat(found, 1) * known


def _mean_radius(some: Tensor) -> Tensor:
    return (some @ _radii())[:, None] / some.sum(1, keepdim=True).clamp(min=1)


def forest_numbers(values: Tensor, mask: Tensor, absorber: Tensor, hint: Tensor) -> Tensor:
    """Return what the trees ask about, (batch, numbers).

    Every other value and step of the spectrum, how much of the grid was measured, the absorber's
    place in the periodic table, and `composition_numbers`. Parameters as of
    `nearedge.models.parts.general.General.forward`.
    """
    return torch.cat(
        [
            values[:, ::2],
            values.diff(dim=1)[:, ::2],
            mask.sum(1, keepdim=True),
            _numbers()[absorber],
            composition_numbers(absorber, hint),
        ],
        1,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeTables:
    """Trees as tables.

    Attributes
    ----------
    root
        (trees,) the node that each tree begins with.
    number, threshold
        (nodes,) the number that a node asks about, and what it is compared with.
    child
        (nodes,) the node to go on with where the number is no larger, the next one where it is;
        -1 - k at the k-th leaf.
    leaf
        (leaves, figures) what the training sites of a leaf have.
    """

    root: Tensor
    number: Tensor
    threshold: Tensor
    child: Tensor
    leaf: Tensor

    def answers(self, numbers: Tensor) -> Tensor:
        """Return the leaf that every tree comes to, (batch, trees, figures)."""
        at = self.root.long().expand(len(numbers), -1)
        while bool(((child := self.child[at].long()) >= 0).any()):
            asked = numbers.gather(1, self.number[at].long())
            larger = (asked > self.threshold[at].float()).long()
            at = torch.where(child >= 0, child + larger, at)
        return self.leaf[-1 - child].float()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForestReading:
    """What a forest says of a batch.

    Attributes
    ----------
    cn, kind
        (batch, classes) and (batch, kinds) probabilities.
    bond
        (batch, 2) as `nearedge.models.parts.general.NetReading` has it.
    """

    cn: Tensor
    kind: Tensor
    bond: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Trees that tell coordination numbers, kinds of ligands, and bonds.

    Attributes
    ----------
    cn, kind
        Their leaves have the shares of `nearedge.models.parts.general.GENERAL_CN_CLASSES` and of
        `nearedge.models.parts.general.KINDS`.
    bond
        Their leaves have the mean first-shell distance less the absorber's radius and its standard
        deviation, Å.
    """

    cn: TreeTables
    kind: TreeTables
    bond: TreeTables

    def tensors(self) -> dict[str, Tensor]:
        """Return everything by name, as `of` takes it."""
        return {
            f"{trees.name}.{table.name}": getattr(getattr(self, trees.name), table.name)
            for trees in fields(self)
            for table in fields(TreeTables)
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Forest":
        """Put a forest together again."""

        def trees(name: str) -> TreeTables:
            return TreeTables(**{f.name: tensors[f"{name}.{f.name}"] for f in fields(TreeTables)})

        return cls(**{part.name: trees(part.name) for part in fields(cls)})

    def __call__(
        self, values: Tensor, mask: Tensor, absorber: Tensor, hint: Tensor
    ) -> ForestReading:
        """Read a batch; parameters as of `nearedge.models.parts.general.General.forward`."""
        numbers = forest_numbers(values, mask, absorber, hint)
        mean, spread = self.bond.answers(numbers).unbind(-1)
        deviation = (spread.square().mean(1) + mean.var(1, unbiased=False)).sqrt()
        return ForestReading(
            cn=self.cn.answers(numbers).mean(1),
            kind=self.kind.answers(numbers).mean(1),
            bond=torch.stack([mean.mean(1), deviation.clamp(min=_LEAST).log()], -1),
        )
