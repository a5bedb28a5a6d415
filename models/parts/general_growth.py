"""Clusters of any element grow out of nothing, as a reading of the spectrum states them.

For each cluster a coordination number, a kind of ligand and a bond are drawn from the reading; then
the list of its atoms (`nearedge.models.parts.listing`); then where each lies
(`nearedge.models.parts.growth`). More lists and first shells are drawn than are wanted: a list must
have the coordination number that was drawn, and of the first shells that one grows on whose atoms
crowd each other least (Kepert, Inorganic Stereochemistry, 1982): a grown shell is never quite even,
and angles that are told by mean and scatter are those of many shells.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearedge.models.clusters import geometry
from nearedge.models.parts.general import (
    KINDS,
    RANKS,
    elements,
    hint_of,
    kind_of,
    number_of,
    telling,
)
from nearedge.models.parts.grown import drawn_classes
from nearedge.models.parts.growth import grow_in_parts, take_chances
from nearedge.models.parts.listing import Listed, Listing, Stated
from nearedge.models.parts.placement import Given, Placement
from nearedge.models.parts.sought import Sought
from nearedge.models.spectrum import Array

#: Lists and first shells that are drawn for each cluster.
LISTS, SHELLS = 8, 8
#: Samples that grow together, as many as a processor keeps at hand.
PART = 16
#: Below 1 likely atoms and places are drawn more often than they are likely.
TEMPERATURE = 0.5
#: How far the radii of a list may be off, Å: of bonded atoms, and of the others.
BONDED_SLACK, LOOSE_SLACK = 0.02, 0.06
#: How far the mean cosine of a list may be off.
DOUBT = 0.02
#: How steeply bonded atoms repel each other.
_REPULSION = 6
#: Distances between directions below which it grows no further: these atoms overlap anyway.
_TOUCHING = 0.2
#: By how much a list may be scaled to its bond without being thought worse of.
_SCALED = 0.03
#: Range of what may be said of an error: of the mean cosine, and of the radii, Å.
_COSINE_DOUBTS, _RADIUS_DOUBTS = (0.005, 0.3), (0.02, 0.8)
#: What a wrong coordination number costs against all else.
_WRONG = 1e3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneralGrowth:
    """What draws clusters of any element.

    Attributes
    ----------
    listing, placement
        The densities of the list of atoms and of their places.
    nearest
        (elements, elements) distance that two atoms keep, Å.
    """

    listing: Listing
    placement: Placement
    nearest: Tensor

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return the sizes of the networks, as a card holds them."""
        return {"listing": asdict(self.listing.size), "placement": asdict(self.placement.size)}

    @torch.inference_mode()
    def draw(
        self, sought: Sought, samples: int, *, seed: int
    ) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
        """Draw clusters: (samples, atoms) symbols and (samples, atoms, 3) Å, nearest first.

        Parameters
        ----------
        sought
            What they should agree with.
        samples
            How many to draw.
        seed
            The seed of the random numbers.
        """
        generator = torch.Generator().manual_seed(seed)
        stated = stated_by(sought, samples, generator=generator)
        listed, bonded = self._lists(stated, sought.absorber, generator=generator)
        given = given_by_list(listed, bonded, stated.absorber).expand(SHELLS)
        positions, kinds = grow_in_parts(
            self.placement,
            given,
            take_chances(len(given.radii), given.radii.shape[1], generator=generator),
            temperature=TEMPERATURE,
            nearest=self.nearest,
            choose=_best,
            size=PART * SHELLS,
        )
        symbols, placed = np.array(elements())[kinds.numpy()], positions.numpy()
        order = np.argsort(np.linalg.norm(placed, axis=-1), axis=1, kind="stable")
        symbols = np.take_along_axis(symbols, order, 1)
        placed = np.take_along_axis(placed, order[..., None], 1)
        return symbols, _at_bonds(sought.absorber, symbols, placed, stated.bond.numpy())

    def _lists(
        self, stated: Stated, absorber: str, *, generator: torch.Generator
    ) -> tuple[Listed, Tensor]:
        """Draw a list for each statement, with its coordination number and bond if possible."""
        samples = len(stated.cn)
        rows = torch.arange(samples).repeat_interleave(LISTS)
        listed = self.listing.draw(stated[rows], generator=generator, temperature=TEMPERATURE)
        symbols = np.array(elements())[listed.kinds.numpy()]
        bonded = torch.from_numpy(
            geometry.first_shell(absorber, symbols, _in_line(listed.radii.numpy()))
        )
        count = bonded.sum(1)
        mean = (listed.radii * bonded).sum(1) / count.clamp(min=1)
        scale = (stated.bond[rows] / mean.clamp(min=0.5)).clamp(0.8, 1.25)
        cost = _WRONG * (count != stated.cn[rows])
        cost = cost + 100 * ((scale - 1).abs() - _SCALED).clamp(min=0)
        cost = cost + torch.rand(len(cost), generator=generator)
        best = cost.reshape(-1, LISTS).argmin(1) + LISTS * torch.arange(samples)
        found = Listed(
            kinds=listed.kinds[best],
            radii=listed.radii[best] * scale[best, None],
            cosine=listed.cosine[best],
            scatter=listed.scatter[best],
        )
        return found, bonded[best]


def _best(given: Given, shell: Tensor) -> Tensor:
    """Choose, of the first shells that grew in place of each other, the least crowded."""
    crowded = crowding(shell, given.bonded[:, : shell.shape[1]]).reshape(-1, SHELLS)
    return crowded.argmin(1) + SHELLS * torch.arange(len(crowded))


def crowding(shell: Tensor, bonded: Tensor) -> Tensor:
    """Return how much the bonded atoms of shells (batch, n, 3) crowd each other, (batch,)."""
    directions = functional.normalize(shell, dim=-1)
    apart = torch.cdist(directions, directions).clamp(min=_TOUCHING)
    pairs = (bonded[:, :, None] & bonded[:, None]).triu(1)
    return (apart**-_REPULSION * pairs).sum((1, 2))


def stated_by(sought: Sought, samples: int, *, generator: torch.Generator) -> Stated:
    """Draw for each cluster what its list is to be drawn from."""
    cn = torch.from_numpy(sought.cn.copy()).clamp(min=1e-9).log()
    cn[0] = -torch.inf  # an absorber without bonds cannot be told from one that was misread
    kind = torch.from_numpy(sought.kind * kinds_held(sought.held)).clamp(min=1e-9)
    spread = torch.randn(samples, generator=generator).clamp(-2.5, 2.5)
    bond = (sought.bond[0] + sought.bond[1] * spread).clamp(0.7, 1.4 * sought.bond[0])
    radii = torch.tensor(sought.radii, dtype=torch.float32)
    radii[:, 1] = radii[:, 1].clamp(*_RADIUS_DOUBTS)
    doubt = float(np.clip(sought.cosine[1], *_COSINE_DOUBTS))
    return Stated(
        absorber=torch.full((samples,), number_of(sought.absorber)),
        hint=torch.tensor(hint_of(sought.held), dtype=torch.float32).expand(samples, -1),
        cn=drawn_classes(cn, samples, generator=generator),
        kind=torch.multinomial(kind, samples, replacement=True, generator=generator),
        bond=bond.float(),
        cosine=torch.tensor([sought.cosine[0], doubt]).expand(samples, 2),
        radii=radii.expand(samples, RANKS, 2),
    )


def kinds_held(held: tuple[str, ...]) -> Array:
    """Return which kinds of ligands a sample has, 1 or 0; all where nothing is known of it."""
    kinds = [kind_of(symbol) for symbol in telling(held)]
    if not kinds:
        return np.ones(KINDS)
    return np.isin(np.arange(KINDS), kinds).astype(float)


def given_by_list(listed: Listed, bonded: Tensor, absorber: Tensor) -> Given:
    """Tell the placing what a list says."""
    return Given(
        radii=listed.radii,
        kinds=listed.kinds,
        absorber=absorber,
        cosine=listed.cosine,
        scatter=listed.scatter,
        doubt=torch.full_like(listed.cosine, DOUBT),
        slack=torch.where(bonded, BONDED_SLACK, LOOSE_SLACK),
        bonded=bonded,
    )


def _in_line(radii: Array) -> Array:
    """Return positions (…, 3) that have these distances; what is bonded depends on these alone."""
    return np.stack([radii, np.zeros_like(radii), np.zeros_like(radii)], -1)


def _at_bonds(
    absorber: str, symbols: NDArray[np.str_], positions: Array, bonds: Array
) -> NDArray[np.float32]:
    """Scale clusters a little, so that their mean bonds are those that were drawn."""
    found = geometry.mean_bond(absorber, symbols, positions)
    scale = np.nan_to_num(bonds / found, nan=1.0).clip(1 - _SCALED, 1 + _SCALED)
    return np.asarray(positions * scale[:, None, None], np.float32)


def closest(positions: Tensor, kinds: Tensor, *, share: float = 0.002, least: int = 200) -> Array:
    """Return the distance that pairs of elements keep in clusters, (elements, elements) Å.

    Pairs that are seldom seen keep two thirds of the sum of their covalent radii.

    Parameters
    ----------
    positions, kinds
        (n, atoms, 3) Å, and places of the elements.
    share
        The share of all pairs that may be closer.
    least
        The fewest pairs that tell.
    """
    radii = np.array([geometry.covalent_radii()[symbol] for symbol in elements()])
    out = 2 / 3 * (radii[:, None] + radii)
    apart = torch.cdist(positions, positions).numpy()
    first, second = np.triu_indices(positions.shape[1], 1)
    pair = np.sort(np.stack([kinds[:, first].numpy(), kinds[:, second].numpy()]), axis=0)
    label, length = (pair[0] * len(radii) + pair[1]).ravel(), apart[:, first, second].ravel()
    order = np.lexsort((length, label))
    label, length = label[order], length[order]
    names, starts, counts = np.unique(label, return_index=True, return_counts=True)
    for name, start, count in zip(names, starts, counts, strict=True):
        if count >= least:
            a, b = divmod(int(name), len(radii))
            out[a, b] = out[b, a] = length[start + int(share * count)]
    return np.asarray(out)
