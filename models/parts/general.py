"""One network that reads the spectra of all edges.

The absorber enters by what it is, a learned vector of its element beside its place in the periodic
table, its size and the width of its core hole, so that elements learn from each other. What is
known of the sample's composition enters as the elements that there are; training leaves it out at
random, so that it need not be known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters.geometry import HARD, METALLOIDS, SOFT, covalent_radii
from nearedge.models.parts.channels import CHANNELS, channels
from nearedge.models.parts.encoder import AREA_SCALE
from nearedge.models.spectrum import Array

#: Coordination numbers 0 … 14; what lies above counts as 14.
GENERAL_CN_CLASSES = 15
#: Kinds of ligands: hard (oxygen and its like), soft (sulfur and its like), metalloids, metals.
KINDS = 4
#: Radii of the nearest atoms that are estimated.
RANKS = 12
#: Range of ln(standard deviation), Å or cosine.
LOG_SPREAD = (-5.0, 1.0)
#: K widths, eV, of some elements (Krause & Oliver, J. Phys. Chem. Ref. Data 8, 1979).
_WIDTHS = {
    **{8: 0.15, 12: 0.36, 14: 0.48, 16: 0.59, 20: 0.81, 22: 0.94, 24: 1.08, 26: 1.25, 28: 1.44},
    **{29: 1.55, 30: 1.67, 33: 2.14, 34: 2.33, 38: 3.25, 42: 4.52, 48: 7.28, 50: 8.49},
}
#: Atomic numbers of the noble gases; each ends a period.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)
_FEATURES = 5


@cache
def elements() -> tuple[str, ...]:
    """Return the symbols by atomic number, hydrogen first."""
    return tuple(covalent_radii())


def number_of(symbol: str) -> int:
    """Place of an element in `elements`: its atomic number less one."""
    return elements().index(symbol)


def telling(symbols: Sequence[str]) -> list[str]:
    """Return the elements of a sample that say something of neighbours.

    Hydrogen does not, for calculated structures have none, nor do elements without a covalent
    radius.
    """
    return [symbol for symbol in symbols if symbol in elements() and symbol != "H"]


def hint_of(symbols: Sequence[str]) -> Array:
    """Return which elements there are, (elements + 1,): the last says whether that is known.

    Only those that are `telling` count.
    """
    out = np.zeros(len(elements()) + 1)
    known = telling(symbols)
    for symbol in known:
        out[number_of(symbol)] = 1.0
    out[-1] = float(bool(known))
    return out


def kind_of(symbol: str) -> int:
    """Return the kind of a ligand, 0 … `KINDS` - 1."""
    return next((k for k, some in enumerate((HARD, SOFT, METALLOIDS)) if symbol in some), 3)


def _place(number: int) -> tuple[int, int]:
    """Return the period and group of an atomic number; the f elements count to group 3."""
    period = next(k for k, last in enumerate(_NOBLE) if number <= last)
    place = number - _NOBLE[period - 1]
    left = _NOBLE[period] - number
    group = place if place <= 2 and left else max(18 - left, 3)
    return period, group


def element_numbers() -> Array:
    """Return what the network reads of each element: (elements, 5), each about 1."""
    known, widths = list(_WIDTHS), np.log(list(_WIDTHS.values()))
    rows = []
    for number, symbol in enumerate(elements(), start=1):
        period, group = _place(number)
        width = np.interp(np.log(number), np.log(known), widths)
        rows.append([number / 40, period / 4, group / 9, covalent_radii()[symbol], width])
    return np.array(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralSize:
    """Sizes of the network.

    Attributes
    ----------
    grid
        Points of the condition.
    width
        The width of the hidden layers.
    element, hint
        Length of an element's vector, and of what is read of the composition.
    dropout
        Share of hidden numbers dropped in training.
    """

    grid: int
    width: int = 256
    element: int = 12
    hint: int = 48
    dropout: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetReading:
    """What the network says of a batch.

    Attributes
    ----------
    cn
        (batch, `GENERAL_CN_CLASSES`) logarithms of odds.
    bond, cosine
        (batch, 2) mean first-shell distance less the absorber's radius (Å), and mean cosine of the
        bond angles, each with ln(standard deviation).
    kind
        (batch, `KINDS`) logarithms of odds of the ligands' kind.
    radii
        (batch, `RANKS`, 2) distances of the nearest atoms less the absorber's radius, and ln(sd).
    """

    cn: Tensor
    bond: Tensor
    cosine: Tensor
    kind: Tensor
    radii: Tensor


class General(nn.Module):
    """A spectrum, its absorber and what is known of its composition to a `NetReading`."""

    def __init__(self, size: GeneralSize) -> None:
        super().__init__()
        self.size = size
        n = size.width
        self.element = nn.Embedding(len(elements()), size.element)
        self.hint = nn.Linear(len(elements()) + 1, size.hint)
        self.read = nn.Linear(CHANNELS * size.grid + size.element + _FEATURES + size.hint, n)
        self.hidden = nn.ModuleList(nn.Linear(n, n) for _ in range(2))
        self.answer = nn.Linear(n, GENERAL_CN_CLASSES + 4 + KINDS + 2 * RANKS)
        self.drop = nn.Dropout(size.dropout)
        self.register_buffer("centre", torch.zeros(size.grid))
        self.register_buffer("scale", torch.ones(size.grid))
        numbers = torch.tensor(element_numbers(), dtype=torch.float32)
        self.register_buffer("numbers", numbers, persistent=False)

    def forward(self, values: Tensor, mask: Tensor, absorber: Tensor, hint: Tensor) -> NetReading:
        """Read a batch.

        Parameters
        ----------
        values, mask
            (batch, grid) as in `nearedge.models.parts.condition.Condition`.
        absorber
            (batch,) places in `elements`.
        hint
            (batch, elements + 1) as `hint_of` gives it.
        """
        centre, scale = self.get_buffer("centre"), self.get_buffer("scale")
        seen = torch.stack(channels(values, mask, level=centre, unit=scale, area=AREA_SCALE), 1)
        parts = [
            seen.flatten(1),
            self.element(absorber),
            self.get_buffer("numbers")[absorber],
            functional.silu(self.hint(hint)),
        ]
        h = functional.silu(self.read(self.drop(torch.cat(parts, 1))))
        for layer in self.hidden:
            h = h + functional.silu(layer(self.drop(h)))
        return _reading(self.answer(self.drop(h)))


def _reading(out: Tensor) -> NetReading:
    sizes = [GENERAL_CN_CLASSES, 2, 2, KINDS, 2 * RANKS]
    cn, bond, cosine, kind, radii = torch.split(out, sizes, 1)
    return NetReading(
        cn=cn,
        bond=_bounded(bond),
        cosine=_bounded(cosine),
        kind=kind,
        radii=_bounded(radii.reshape(-1, RANKS, 2)),
    )


def _bounded(pairs: Tensor) -> Tensor:
    """Keep the second of each pair, ln(sd), within `LOG_SPREAD`."""
    return torch.stack([pairs[..., 0], pairs[..., 1].clamp(*LOG_SPREAD)], -1)
