"""Where the next atom lies: a density over places, given the atoms placed before.

Atoms are placed in the order of their distance from the absorber. The element of each is told, and
more or less surely how far it is: it follows a density over directions and, within what is told of
it, over the distance (`nearedge.models.parts.depth`). Each atom placed before carries 0e and 1o
features (PaiNN: Schütt, Unke & Gastegger, ICML 2021) that depend on the atoms before it alone, so
one pass serves all ranks in training, and drawing needs each atom once. A candidate point is judged
by its distances to the atoms before and by where it lies along their vectors: rotate or reflect
these, and the density rotates or reflects with them. Two places that do equally well are two maxima
of one density, which the mean that a denoiser gives cannot show.

Elements enter by their place in the periodic table and their size, so that a network trained on
some elements has something to say of others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters.elements import FEATURES, cutoff_table, element_features
from nearedge.models.parts.depth import EXACT, Depth
from nearedge.models.parts.sphere import LOG_SPHERE, even_directions

#: Coordination numbers that are told apart; what lies above counts as the last.
CN_CLASSES = 13
#: Length of an element's embedding.
EMBEDDING = 8
#: Blur of the density across the line of sight, Å: atoms bonded to the absorber, and the others.
BONDED_BLUR, LOOSE_BLUR = 0.07, 0.15
#: Step of the table of filters that drawing reads, Å.
TABLE_STEP = 0.01
#: Nats that a place costs for each Å that it is too close to another atom.
OVERLAP = 1e3
#: Numbers of what is told of the bond angles: mean and spread of their cosines, how sure both are.
_TOLD = 3
#: Numbers of how a candidate fits the angles, and the radius, that are told.
_FIT = 10
#: Usual deviation of a sum of cosines, for each bond that enters it.
_LOOSE = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSize:
    """Sizes of the network.

    Attributes
    ----------
    atoms
        Neighbours of the absorber.
    scalars, vectors
        0e and 1o channels of each atom.
    layers, radial, filters
        Rounds of messages, radial functions, channels that judge a candidate.
    reach
        Longest distance between atoms that is told apart, Å.
    """

    atoms: int
    scalars: int = 64
    vectors: int = 32
    layers: int = 2
    radial: int = 20
    filters: int = 32
    reach: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What is known of clusters before their atoms are placed; all (batch, …).

    Attributes
    ----------
    radii, kinds
        (batch, atoms) expected distance from the absorber (Å), shortest first, and element number
        of each.
    absorber
        (batch,) its element number.
    cosine, scatter
        (batch,) mean and standard deviation of the cosines of the bond angles.
    doubt
        (batch,) how far the mean of the cosines may be off.
    slack
        (batch, atoms) standard deviation of each radius, Å.
    bonded
        (batch, atoms) whether each is bonded to the absorber.
    """

    radii: Tensor
    kinds: Tensor
    absorber: Tensor
    cosine: Tensor
    scatter: Tensor
    doubt: Tensor
    slack: Tensor
    bonded: Tensor

    def __getitem__(self, index: Tensor | slice) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def expand(self, samples: int) -> Self:
        """Repeat each entry: (batch, …) to (batch * samples, …)."""
        return replace(
            self,
            **{f.name: getattr(self, f.name).repeat_interleave(samples, 0) for f in fields(self)},
        )

    def to(self, device: torch.device) -> Self:
        """Move to another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put several batches into one."""
        return cls(
            **{f.name: torch.cat([getattr(one, f.name) for one in parts]) for f in fields(cls)}
        )


class _Radial(nn.Module):
    """Gaussians of a distance, evenly spaced."""

    def __init__(self, n: int, reach: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, reach, n), persistent=False)
        self.width = reach / (n - 1)

    def forward(self, r: Tensor) -> Tensor:
        """Turn distances (...) into features (..., n)."""
        return torch.exp(-0.5 * ((r[..., None] - self.get_buffer("centres")) / self.width) ** 2)


def _between(to: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances (..., i, j) and damped unit vectors (..., i, j, 3) to ``to``."""
    return _along(to[..., :, None, :] - start[..., None, :, :])


def _along(apart: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lengths (...) and damped unit vectors (..., 3) of vectors (..., 3)."""
    r = (apart.square().sum(-1) + 1e-6).sqrt()
    return r, apart / (r[..., None] + 0.05)


def _closest(nearest: Tensor, given: Given, rank: int) -> Tensor:
    """Return how far the atom of a rank stays from absorber and atoms before, (batch, rank + 1)."""
    before = torch.cat([given.absorber[:, None], given.kinds[:, :rank]], 1)
    return nearest[given.kinds[:, rank, None], before]


def angles_between(positions: Tensor, bonded: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and spread of the cosines of the bond angles, (batch,) each; 0 without."""
    unit = functional.normalize(positions, dim=-1) * bonded.float()[..., None]
    n = bonded.sum(1).float()
    pairs = (n * (n - 1) / 2).clamp(min=1)
    mean = (unit.sum(1).square().sum(-1) - n) / 2 / pairs
    square = ((unit.transpose(1, 2) @ unit).square().sum((1, 2)) - n) / 2 / pairs
    return mean, (square - mean**2).clamp(min=0).sqrt()


def joined(before: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Add atoms to those before, along the second axis."""
    return torch.cat([before[0], own[0]], 1), torch.cat([before[1], own[1]], 1)


class _Round(nn.Module):
    """One round of messages from the atoms before to each atom."""

    def __init__(self, size: PlacementSize) -> None:
        super().__init__()
        c, v = size.scalars, size.vectors
        self.split = (c, v, v)
        self.norm = nn.LayerNorm(c)
        self.receive, self.send = nn.Linear(c, c), nn.Linear(c, c)
        self.radial = nn.Linear(size.radial, c, bias=False)
        self.message = nn.Linear(c, c + 2 * v, bias=False)
        self.left, self.right = nn.Linear(v, v, bias=False), nn.Linear(v, v, bias=False)
        self.update = nn.Sequential(nn.Linear(2 * c + 2 * v, c), nn.SiLU(), nn.Linear(c, c + v))

    def forward(
        self,
        own: tuple[Tensor, Tensor],
        before: tuple[Tensor, Tensor],
        pairs: tuple[Tensor, Tensor],
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Update atoms.

        Parameters
        ----------
        own, before
            Scalars (batch, n, c) and vectors (batch, n, 3, v) of those that receive and that send.
        pairs
            Radial functions (batch, i, j, k) and unit vectors (batch, i, j, 3) towards i.
        mask
            (i, j) 1 where j sends to i.
        """
        s, v = own
        radial, unit = pairs
        x = self.norm(s)
        told = self.receive(x)[:, :, None] + self.send(self.norm(before[0]))[:, None]
        hidden = functional.silu(told + self.radial(radial))
        m = self.message(hidden * mask[..., None].to(hidden.dtype))
        scalar, along, carried = m.split(self.split, -1)
        pushed = unit.transpose(-1, -2) @ along
        v = v + (pushed + torch.einsum("bijv,bjxv->bixv", carried, before[1])) / 4
        p, q = self.left(v), self.right(v)
        length = (p.square().sum(2) + 1e-6).sqrt()
        h = self.update(torch.cat([x, scalar.sum(2) / 4, length, (p * q).sum(2)], -1))
        step, gate = h.split([s.shape[-1], v.shape[-1]], -1)
        return s + step, v + gate[:, :, None] * p


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A rank that is asked about, and the atoms before it.

    Attributes
    ----------
    atoms
        (batch, n, 3) the absorber and the atoms before, Å.
    carried
        (batch, n, 4, filters) what each says of candidates: a number and a vector per channel.
    depth
        How far the rank's atom is.
    query
        (batch, 64) what the rank's own atom is.
    shell
        What the bond angles should be, see `Placement._shell`; None where no atom of the rank is
        bonded.
    table
        Filters by distance, from `Placement.table`: faster than to calculate them. None calculates
        them, as training must.
    closest
        (batch, n) distance to keep from each atom before, Å; None keeps none.
    """

    atoms: Tensor
    carried: Tensor
    depth: Depth
    query: Tensor
    shell: dict[str, Tensor] | None
    table: Tensor | None = None
    closest: Tensor | None = None


class Placement(nn.Module):
    """The density of the next atom's place.

    Parameters
    ----------
    size
        The size of the network.
    elements
        Symbols of all elements, in the order of their numbers.
    """

    def __init__(self, size: PlacementSize, *, elements: Sequence[str]) -> None:
        super().__init__()
        self.size = size
        c, v, h = size.scalars, size.vectors, size.filters
        self.register_buffer("features", torch.tensor(element_features(elements)).float(), False)
        self.register_buffer("cutoffs", torch.tensor(cutoff_table(elements)).float(), False)
        self.embed = nn.Sequential(nn.Linear(FEATURES, 16), nn.SiLU(), nn.Linear(16, EMBEDDING))
        per_rank = EMBEDDING + 3
        self.context = nn.Sequential(
            nn.Linear(size.atoms * per_rank + EMBEDDING + CN_CLASSES + _TOLD, 128),
            nn.SiLU(),
            nn.Linear(128, c),
            nn.SiLU(),
        )
        self.node = nn.Linear(per_rank + EMBEDDING + 2 + c, c)
        self.rank = nn.Parameter(torch.randn(size.atoms + 1, c) * 0.3)
        self.radial = _Radial(size.radial, size.reach)
        self.rounds = nn.ModuleList(_Round(size) for _ in range(size.layers))
        self.filter = nn.Linear(size.radial, h, bias=False)
        self.number, self.ask_number = nn.Linear(c, h), nn.Linear(c, h)
        self.vector, self.ask_vector = nn.Linear(v, h, bias=False), nn.Linear(c, h)
        self.query = nn.Linear(c, 64)
        self.judge = nn.Linear(h, 64)
        self.fit = nn.Linear(_FIT, 64, bias=False)
        self.middle, self.last = nn.Linear(64, 32), nn.Linear(32, 1)
        nn.init.zeros_(self.fit.weight)

    def within(self, radii: Tensor, kinds: Tensor, absorber: Tensor) -> Tensor:
        """Return which atoms are nearer than the longest bond of their pair, (batch, atoms)."""
        return radii < self.get_buffer("cutoffs")[absorber[:, None], kinds]

    def blur(self, given: Given) -> Tensor:
        """Return the angular blur of the density of each rank, (batch, atoms) radians."""
        return torch.where(given.bonded, BONDED_BLUR, LOOSE_BLUR) / given.radii

    def depth(self, given: Given, rank: int) -> Depth:
        """Return how far the atom of a rank, counted from 0, is from the absorber."""
        mean = given.radii[:, rank]
        longest = self.get_buffer("cutoffs")[given.absorber, given.kinds[:, rank]]
        spread = (given.slack[:, rank] ** 2 + EXACT**2).sqrt()
        return Depth(mean=mean, spread=spread, longest=longest, bonded=mean < longest)

    def start(self, given: Given) -> Tensor:
        """Return the scalars of absorber and ranks before any message, (batch, atoms + 1, c)."""
        kinds = self.embed(self.get_buffer("features"))
        bonded = given.bonded
        rank = torch.cat(
            [
                (given.radii - 3)[..., None],
                bonded[..., None].float(),
                5 * given.slack[..., None],
                kinds[given.kinds],
            ],
            -1,
        )
        cn = functional.one_hot(bonded.sum(1).clamp(max=CN_CLASSES - 1), CN_CLASSES).float()
        told = torch.stack([given.cosine, 2 * given.scatter, 5 * given.doubt], 1)
        about = kinds[given.absorber]
        context = self.context(torch.cat([rank.flatten(1), about, cn, told], 1))
        rank = torch.cat([rank, 1 / given.radii[..., None], torch.ones_like(rank[..., :1])], -1)
        rank = functional.pad(rank, (0, 0, 1, 0))
        every = torch.cat([about, context], 1)[:, None].expand(-1, rank.shape[1], -1)
        out: Tensor = self.node(torch.cat([rank, every], -1)) + self.rank
        return out

    def trunk(self, atoms: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scalars and vectors of all atoms, each from those before it alone.

        Parameters
        ----------
        atoms
            (batch, n, 3) Å, the absorber first.
        nodes
            (batch, n, c) from `start`.
        """
        mask = torch.ones(atoms.shape[1], atoms.shape[1], device=atoms.device).tril(-1)
        r, unit = _between(atoms, atoms)
        pairs = self.radial(r), unit
        s, v = nodes, nodes.new_zeros(*nodes.shape[:2], 3, self.size.vectors)
        for one in self.rounds:
            s, v = one((s, v), (s, v), pairs, mask)
        return s, v

    def trunk_of_next(
        self, atoms: Tensor, node: Tensor, passed: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Return the scalars and vectors of one more atom: what `trunk` gives of the last.

        Parameters
        ----------
        atoms
            (batch, n, 3) Å, the absorber first and the new atom last.
        node
            (batch, c) of the new atom, from `start`.
        passed
            What every round was given of the atoms before; the new atom's are added to it.

        Returns
        -------
            (batch, 1, c) and (batch, 1, 3, v).
        """
        mask = atoms.new_ones(1, atoms.shape[1] - 1)
        r, unit = _between(atoms[:, -1:], atoms[:, :-1])
        pairs = self.radial(r), unit
        own = node[:, None], node.new_zeros(len(node), 1, 3, self.size.vectors)
        for number, one in enumerate(self.rounds):
            before = passed[number]
            passed[number] = joined(before, own)
            own = one(own, before, pairs, mask)
        return own

    def nothing_passed(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Give `trunk_of_next` its start: no atom before."""
        some = self.rank.new_zeros(batch, 0, self.size.scalars)
        vectors = self.rank.new_zeros(batch, 0, 3, self.size.vectors)
        return [(some, vectors) for _ in self.rounds]

    def table(self) -> Tensor:
        """Calculate the filters of distances 0, `TABLE_STEP`, …, (steps, filters)."""
        far = self.size.reach + 3 * self.radial.width
        r = torch.arange(0, far, TABLE_STEP, device=self.rank.device) + TABLE_STEP / 2
        out: Tensor = self.filter(self.radial(r))
        return out

    def _filters(self, r: Tensor, table: Tensor | None) -> Tensor:
        if table is None:
            out: Tensor = self.filter(self.radial(r))
            return out
        step = (r / TABLE_STEP).to(torch.int32).clamp(max=len(table) - 1)
        return functional.embedding(step, table)

    def ask(
        self,
        atoms: Tensor,
        carried: tuple[Tensor, Tensor],
        nodes: Tensor,
        given: Given,
        rank: int,
        *,
        table: Tensor | None = None,
        bonded: bool = True,
        nearest: Tensor | None = None,
    ) -> Asked:
        """Prepare to judge candidates for a rank, counted from 0.

        Parameters
        ----------
        atoms, carried
            (batch, >= rank + 1, …) the absorber and the atoms before, and their `trunk`.
        nodes, given
            The nodes of `start`, and what it was started from.
        table
            As in `Asked`.
        bonded
            Whether any atom of this rank may be.
        nearest
            (species, species) distance that atoms keep where they can, Å.
        """
        before = rank + 1
        s, v = carried[0][:, :before], carried[1][:, :before]
        wanted = nodes[:, before]
        number = self.number(s) * (1 + self.ask_number(wanted))[:, None]
        vector = self.vector(v) * (1 + self.ask_vector(wanted))[:, None, None]
        return Asked(
            atoms=atoms[:, :before],
            carried=torch.cat([number[:, :, None], vector], 2),
            depth=self.depth(given, rank),
            query=self.query(wanted),
            shell=self._shell(atoms[:, 1:before], given, rank) if bonded else None,
            table=table,
            closest=None if nearest is None else _closest(nearest, given, rank),
        )

    def _shell(self, before: Tensor, given: Given, rank: int) -> dict[str, Tensor]:
        """Sum over the bonded atoms before, and say what the last bonded atom should add.

        The mean of the cosines of all bond angles is told, so their sum is; what the atoms before
        leave of it is the last one's. Their scatter tells the sum of squares likewise.
        """
        bonded = given.bonded
        shell = bonded[:, :rank].float()
        unit = functional.normalize(before, dim=-1) * shell[..., None]
        total = unit.sum(1)
        # no product of matrices: those would lose digits in training's half precision
        square = (unit[..., :, None] * unit[..., None, :]).sum(1)
        cn, m = bonded.sum(1).float(), shell.sum(1)
        pairs = cn * (cn - 1) / 2
        last = ((m + 1 == cn) & bonded[:, rank]).float()
        done = (total.square().sum(-1) - m) / 2
        done_square = (square.square().sum((1, 2)) - m) / 2
        mean_square = given.cosine**2 + given.scatter**2
        share = torch.where(last > 0, (cn - 1).clamp(min=1) / 2, 4.0).sqrt()
        return {
            "total": total,
            "square": square,
            "wanted": torch.where(last > 0, given.cosine * pairs - done, given.cosine * m),
            "wanted_square": torch.where(
                last > 0, mean_square * pairs - done_square, mean_square * m
            ),
            "slack": (_LOOSE + given.doubt) * m.clamp(min=1).sqrt() * share,
            "on": (bonded[:, rank] & (m > 0)).float(),
            "last": last,
        }

    def score(self, asked: Asked, points: Tensor) -> Tensor:
        """Judge places of the next atom.

        Parameters
        ----------
        asked
            What is asked of the rank.
        points
            (batch, m, 3) Å.

        Returns
        -------
            (batch, m) logarithm of the density over directions and radii, up to a constant, against
            even directions and radii as they are told.
        """
        r, unit = _along(points[:, None] - asked.atoms[:, :, None])
        weight = self._filters(r, asked.table)
        # for each atom before: its number and its vector along the candidate, channel by channel
        said = functional.pad(unit, (1, 0), value=1.0) @ asked.carried
        z = (weight * said).sum(1, dtype=torch.float32) / 2
        with torch.autocast(z.device.type, enabled=False):
            fit, prior = self._fit(asked, points)
            h = functional.silu(self.judge(z) + asked.query.float()[:, None] + fit)
            out: Tensor = self.last(functional.silu(self.middle(h)))[..., 0]
        out = out if prior is None else out + prior
        if asked.closest is None:
            return out
        short = (asked.closest[..., None] - r).amax(1).clamp(min=0)
        return out - OVERLAP * short

    def _fit(self, asked: Asked, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return how candidates fit what is told, (batch, m, 64), and a first guess."""
        radius = points.norm(dim=-1)
        astray = asked.depth.off(radius).clamp(-4, 4)
        radial = torch.stack([astray, astray**2 / 4], -1)
        if asked.shell is None:
            return functional.linear(radial, self.fit.weight[:, -2:]), None
        angular, prior = self._angles(asked.shell, points / radius[..., None].clamp(min=1e-6))
        return self.fit(torch.cat([angular, radial], -1)), prior

    def _angles(self, shell: dict[str, Tensor], directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return how candidates fit the angles that are told, (batch, m, 8), and a first guess."""
        total = (directions * shell["total"][:, None]).sum(-1)
        square = ((directions @ shell["square"]) * directions).sum(-1)
        gap = (total - shell["wanted"][:, None]) / shell["slack"][:, None]
        wide = (square - shell["wanted_square"][:, None]) / shell["slack"][:, None]
        off, off_square = -(gap**2 / 2).clamp(max=8), -(wide**2 / 2).clamp(max=8)
        last = shell["last"][:, None]
        fit = [
            torch.tanh(gap),
            off.exp(),
            off,
            off * last,
            (8 * off).exp(),
            torch.tanh(wide),
            off_square,
            off_square * last,
        ]
        on = shell["on"][:, None]
        return torch.stack(fit, -1) * on[..., None], 0.5 * off * on

    def log_density(self, asked: Asked, directions: Tensor, *, points: int = 20000) -> Tensor:
        """Return the log density at directions (batch, m, 3) if the radius is right as told.

        It is normalised over the sphere, and per steradian.

        Parameters
        ----------
        points
            The points of the grid that it is normalised over.
        """
        radius = asked.depth.mean[:, None, None]
        grid = even_directions(points).to(directions).expand(len(directions), -1, -1)
        norm = torch.logsumexp(self.score(asked, grid * radius), 1) - math.log(points)
        return self.score(asked, directions * radius) - norm[:, None] - LOG_SPHERE
