"""Which atoms surround an absorber, and how far each is: a density over lists of them.

The list runs from the nearest atom outwards. What a spectrum says of the first shell is told, and
what is known of the composition. First the scatter of the bond angles is drawn, then atom by atom
its element, and how much further it is than the one before. Where each atom lies is drawn
afterwards (`nearedge.models.parts.placement`). Elements enter by a learned vector and by their
place in the periodic table, so one network serves all absorbers.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters.elements import FEATURES, element_features
from nearedge.models.parts.general import GENERAL_CN_CLASSES, KINDS, RANKS, elements

#: Longest step from one atom to the next, Å, and its bins; short steps are told apart finely.
LONGEST_STEP, STEPS = 2.5, 64
#: The mean cosine of the bond angles above its least, and the scatter of the cosines, with bins.
HIGHEST_COSINE, HIGHEST_SCATTER, ANGLES = 1.0, 0.9, 48
_TOLD = GENERAL_CN_CLASSES + KINDS + 3 + 2 * RANKS
#: Odds of an element that the sample does not hold.
_NEVER = -1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSize:
    """Sizes of the network.

    Attributes
    ----------
    atoms
        Atoms of a list.
    element, hint, width
        Length of an element's vector, of what is read of the composition, of the hidden layers.
    """

    atoms: int
    element: int = 16
    hint: int = 32
    width: int = 160


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stated:
    """What is stated of surroundings; all (batch, …).

    Attributes
    ----------
    absorber
        (batch,) place of the absorber in `nearedge.models.parts.general.elements`.
    hint
        (batch, elements + 1) as of `nearedge.models.parts.general.hint_of`.
    cn, kind
        (batch,) coordination number and kind of the ligands.
    bond
        (batch,) mean bond, Å.
    cosine
        (batch, 2) mean cosine of the bond angles, and how far it may be off.
    radii
        (batch, `RANKS`, 2) distances of the nearest atoms beyond the mean bond, Å, and how far they
        may be off.
    """

    absorber: Tensor
    hint: Tensor
    cn: Tensor
    kind: Tensor
    bond: Tensor
    cosine: Tensor
    radii: Tensor

    def __getitem__(self, index: Tensor | slice) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """Lists of atoms; all (batch, …).

    Attributes
    ----------
    kinds
        (batch, atoms) places of the elements, nearest first.
    radii
        (batch, atoms) distances from the absorber, Å, ascending.
    cosine, scatter
        (batch,) mean and standard deviation of the cosines of the bond angles.
    """

    kinds: Tensor
    radii: Tensor
    cosine: Tensor
    scatter: Tensor


def _bin(values: Tensor, longest: float, bins: int) -> Tensor:
    """Return the bins of values; the bins' edges lie at the squares of even steps."""
    share = (values / longest).clamp(0, 1).sqrt() * bins
    return share.long().clamp(max=bins - 1)


def _within(number: Tensor, uniform: Tensor, longest: float, bins: int) -> Tensor:
    """Return values drawn evenly within bins."""
    low, high = (number / bins) ** 2, ((number + 1) / bins) ** 2
    return longest * (low + (high - low) * uniform)


def least_cosine(cn: Tensor) -> Tensor:
    """Return the least mean cosine that the angles between so many bonds can have."""
    return torch.where(cn > 1, -1 / (cn - 1).clamp(min=1), 0.0)


class Listing(nn.Module):
    """The density of lists of atoms."""

    def __init__(self, size: ListingSize) -> None:
        super().__init__()
        self.size = size
        n, e, count = size.width, size.element, len(elements())
        self.register_buffer("features", torch.tensor(element_features(elements())).float(), False)
        self.learned = nn.Embedding(count, e)
        self.placed = nn.Linear(FEATURES, e)
        self.hint = nn.Linear(count + 1, size.hint)
        self.context = nn.Sequential(
            nn.Linear(e + size.hint + _TOLD, n), nn.SiLU(), nn.Linear(n, n), nn.SiLU()
        )
        self.mean = nn.Linear(n, ANGLES)
        self.spread = nn.Sequential(nn.Linear(n + ANGLES, n), nn.SiLU(), nn.Linear(n, ANGLES))
        self.start = nn.Linear(n + 2, n)
        self.remind = nn.Linear(n, e)
        self.cell = nn.GRU(2 * e + 5, n, batch_first=True)
        self.next = nn.Linear(n, e)
        self.bias = nn.Parameter(torch.zeros(count))
        self.step = nn.Sequential(nn.Linear(n + e, 96), nn.SiLU(), nn.Linear(96, STEPS))

    def vectors(self) -> Tensor:
        """Return the vector of each element, (elements, element)."""
        out: Tensor = self.learned.weight + self.placed(self.get_buffer("features"))
        return out

    def told(self, stated: Stated) -> Tensor:
        """Return what is made of a statement, (batch, width)."""
        numbers = torch.cat(
            [
                functional.one_hot(stated.cn.clamp(max=GENERAL_CN_CLASSES - 1), GENERAL_CN_CLASSES),
                functional.one_hot(stated.kind, KINDS),
                stated.bond[:, None] - 2,
                stated.cosine,
                stated.radii.flatten(1),
            ],
            1,
        )
        about = functional.silu(self.hint(stated.hint))
        known = torch.cat([self.vectors()[stated.absorber], about, numbers.float()], 1)
        out: Tensor = self.context(known)
        return out

    def surprise(self, stated: Stated, listed: Listed) -> tuple[Tensor, Tensor, Tensor]:
        """Return how unlikely lists are: of angles (batch,), elements and steps (batch, atoms)."""
        told = self.told(stated)
        mean = _bin(listed.cosine - least_cosine(stated.cn), HIGHEST_COSINE, ANGLES)
        spread = _bin(listed.scatter, HIGHEST_SCATTER, ANGLES)
        angles = functional.cross_entropy(self.mean(told), mean, reduction="none")
        known = torch.cat([told, functional.one_hot(mean, ANGLES).float()], 1)
        angles = angles + functional.cross_entropy(self.spread(known), spread, reduction="none")
        hidden, _ = self.cell(*self._read(stated, listed, told))
        steps = _bin(_steps(stated, listed.radii), LONGEST_STEP, STEPS)
        kinds = functional.cross_entropy(
            self._odds(hidden, stated).transpose(1, 2), listed.kinds, reduction="none"
        )
        own = torch.cat([hidden, self.vectors()[listed.kinds]], -1)
        far = functional.cross_entropy(self.step(own).transpose(1, 2), steps, reduction="none")
        return angles, kinds, far

    def _odds(self, hidden: Tensor, stated: Stated) -> Tensor:
        """Return the logarithms of the odds of each element, (batch, n, elements)."""
        odds = self.next(hidden) @ self.vectors().T + self.bias
        absent = (stated.hint[:, -1:] > 0) & (stated.hint[:, :-1] == 0)
        return torch.where(absent[:, None], _NEVER, odds)

    def _read(self, stated: Stated, listed: Listed, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the cell reads of lists, and its first state."""
        kinds = self.vectors()[listed.kinds[:, :-1]]
        before = functional.pad(kinds, (0, 0, 1, 0))
        steps = functional.pad(_steps(stated, listed.radii)[:, :-1], (1, 0))
        radii = functional.pad(listed.radii[:, :-1] - stated.bond[:, None], (1, 0))
        about = self.remind(told)
        rows = [
            self._row(stated, about, before[:, k], steps[:, k], radii[:, k], k)
            for k in range(listed.kinds.shape[1])
        ]
        return torch.stack(rows, 1), self._first(told, listed.cosine, listed.scatter)[None]

    def _row(
        self, stated: Stated, about: Tensor, kind: Tensor, step: Tensor, radius: Tensor, rank: int
    ) -> Tensor:
        """Return what the cell reads for a rank, (batch, …): the atom before, and what is told."""
        if rank < RANKS:
            ahead = stated.radii[:, rank, 0] - radius
            doubt = stated.radii[:, rank, 1]
        else:
            ahead, doubt = torch.zeros_like(radius), torch.ones_like(radius)
        place = torch.full_like(radius, rank / self.size.atoms)
        return torch.cat([kind, torch.stack([radius, step, ahead, doubt, place], 1), about], 1)

    def _first(self, told: Tensor, cosine: Tensor, scatter: Tensor) -> Tensor:
        return torch.tanh(self.start(torch.cat([told, cosine[:, None], scatter[:, None]], 1)))

    @torch.inference_mode()
    def draw(
        self, stated: Stated, *, generator: torch.Generator, temperature: float = 1.0
    ) -> Listed:
        """Draw a list for each statement.

        Parameters
        ----------
        stated
            What is known of each cluster.
        generator
            Of the random numbers.
        temperature
            Below 1 the likely is drawn more often than it is likely.
        """
        count, atoms = len(stated.cn), self.size.atoms
        told, vectors = self.told(stated), self.vectors()
        about = self.remind(told)

        def chance(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        def drawn(odds: Tensor) -> Tensor:
            noise = -torch.log(-torch.log(chance(*odds.shape).clamp(1e-9, 1 - 1e-7)))
            return (odds / temperature + noise).argmax(-1)

        mean = drawn(self.mean(told))
        known = torch.cat([told, functional.one_hot(mean, ANGLES).float()], 1)
        spread = drawn(self.spread(known))
        cosine = least_cosine(stated.cn) + _within(mean, chance(count), HIGHEST_COSINE, ANGLES)
        scatter = _within(spread, chance(count), HIGHEST_SCATTER, ANGLES)
        state = self._first(told, cosine, scatter)[None]
        kind = torch.zeros(count, self.size.element)
        step, radius = torch.zeros(count), torch.zeros(count)
        kinds, radii = [], []
        for rank in range(atoms):
            row = self._row(stated, about, kind, step, radius, rank)
            hidden, state = self.cell(row[:, None], state)
            chosen = drawn(self._odds(hidden, stated)[:, 0])
            kind = vectors[chosen]
            odds = self.step(torch.cat([hidden[:, 0], kind], 1))
            step = _within(drawn(odds), chance(count), LONGEST_STEP, STEPS)
            # the nearest atom is told by how much nearer it is than the mean bond
            radius = radius + step if rank else -step
            kinds.append(chosen)
            radii.append(radius + stated.bond)
        return Listed(
            kinds=torch.stack(kinds, 1),
            radii=torch.stack(radii, 1).clamp(min=0.7),
            cosine=cosine,
            scatter=scatter,
        )


def _steps(stated: Stated, radii: Tensor) -> Tensor:
    """Return how much further each atom is than the one before; how much nearer than the bond."""
    first = (stated.bond - radii[:, 0]).clamp(min=0)
    return torch.cat([first[:, None], radii.diff(dim=1)], 1)
