"""Clusters grow out of nothing, atom by atom.

Each atom's place is drawn from the density that `nearedge.models.parts.placement` gives it among
the atoms drawn before. A density over the sphere is drawn from in three steps: an even grid, turned
at random, says where it is high; caps about some of its points are looked at closely; the last step
is finer still. The radius of every point is drawn as it is told, so that a surer one varies less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nearedge.models.parts.placement import Asked, Given, Placement, joined
from nearedge.models.parts.sphere import even_directions, grid_spacing, in_cap, random_rotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How closely the sphere is looked at.

    Attributes
    ----------
    coarse
        Directions of the grid.
    caps, close
        Caps that are looked at closely, and points in each.
    fine
        Points at the end.
    """

    coarse: int
    caps: int
    close: int
    fine: int

    @property
    def points(self) -> int:
        """Points in all."""
        return self.coarse + self.caps * self.close + self.fine


#: How closely near and far atoms are placed, and how many are near. The far ones cost most, for
#: they have most atoms before them, and matter least.
NEARLY, ROUGHLY, NEAR = (
    Looks(coarse=96, caps=5, close=6, fine=8),
    Looks(coarse=48, caps=3, close=5, fine=5),
    14,
)


def looks(rank: int) -> Looks:
    """Return how closely the atom of a rank, counted from 0, is placed."""
    return NEARLY if rank < NEAR else ROUGHLY


#: Radius of the caps and of the last step, in spacings of the grid. Caps overlap a little.
_CAP, _LAST = 0.6, 0.2
#: Steps of the radius at the end, in its standard deviations.
_NEARBY = 0.3
#: Power of the density by which caps are chosen: what lies between grid points may be higher.
_LENIENT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chance:
    """Random numbers that clusters grow by; all (samples, atoms, …).

    Attributes
    ----------
    turn
        (…, 3, 3) rotations of the grid.
    caps
        (…, coarse) Gumbel numbers that choose caps.
    close, close_aside, fine, fine_aside
        Uniform and normal numbers that place points in caps and at the end.
    depth
        (…, points) normal numbers that say how far points are.
    choice
        (…, 2) uniform numbers that choose among them.
    """

    turn: Tensor
    caps: Tensor
    close: Tensor
    close_aside: Tensor
    fine: Tensor
    fine_aside: Tensor
    depth: Tensor
    choice: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Chance":
        return Chance(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device) -> "Chance":
        """Move to another device."""
        return Chance(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def take_chances(samples: int, atoms: int, *, generator: torch.Generator) -> Chance:
    """Draw all random numbers of one spectrum's clusters, on the CPU."""
    shape, most = (samples, atoms), NEARLY

    def uniform(*more: int) -> Tensor:
        return torch.rand(*shape, *more, generator=generator)

    def normal(*more: int) -> Tensor:
        return torch.randn(*shape, *more, generator=generator)

    return Chance(
        turn=random_rotations(samples * atoms, generator=generator).reshape(*shape, 3, 3),
        caps=-torch.log(-torch.log(uniform(most.coarse).clamp(1e-9, 1 - 1e-7))),
        close=uniform(most.caps, most.close),
        close_aside=normal(most.caps, most.close, 3),
        fine=uniform(most.fine),
        fine_aside=normal(most.fine, 3),
        depth=normal(most.points),
        choice=uniform(2),
    )


def together(chances: Sequence[Chance]) -> Chance:
    """Put the random numbers of several spectra into one batch."""
    return Chance(
        **{f.name: torch.cat([getattr(one, f.name) for one in chances]) for f in fields(Chance)}
    )


def _chosen(log: Tensor, uniform: Tensor) -> Tensor:
    """Draw one place (batch,) by logarithms of odds (batch, m)."""
    sums = log.softmax(1).cumsum(1)
    return (sums < uniform[:, None] * sums[:, -1:]).sum(1).clamp(max=log.shape[1] - 1)


def _picked(directions: Tensor, place: Tensor) -> Tensor:
    """Return directions (batch, 3) at places (batch,) of (batch, m, 3)."""
    return directions[torch.arange(len(place), device=place.device), place]


def draw_place(
    placement: Placement, asked: Asked, chance: Chance, rank: int, *, temperature: float
) -> Tensor:
    """Draw the place of one atom, (batch, 3) Å.

    Parameters
    ----------
    temperature
        Above 1 flattens the density, below 1 sharpens it.
    """
    look, depth = looks(rank), asked.depth.tempered(temperature)
    spacing, count = grid_spacing(look.coarse), look.caps * look.close
    normal = chance.depth[:, rank, : look.points]
    far, near, last = torch.split(normal, [look.coarse, count, look.fine], 1)
    grid = even_directions(look.coarse).to(chance.turn) @ chance.turn[:, rank].transpose(1, 2)
    at = grid * depth.place(far)[..., None]
    lenient = _LENIENT * placement.score(asked, at) / temperature
    keys = lenient + chance.caps[:, rank, : look.coarse]
    best = keys.topk(look.caps + 1, dim=1)
    caps = best.indices[:, :-1]
    # odds of a cap to be chosen, given the highest key that is not (Kool et al., ICML 2019)
    odds = -torch.expm1(-torch.exp(lenient.gather(1, caps) - best.values[:, -1:]))
    centres = grid.gather(1, caps[..., None].expand(-1, -1, 3))
    where = rank, slice(look.caps), slice(look.close)
    close = in_cap(centres, _CAP * spacing, chance.close[:, *where], chance.close_aside[:, *where])
    close = close.flatten(1, 2) * depth.place(near)[..., None]
    score = placement.score(asked, close).reshape(-1, look.caps, look.close)
    log = score / temperature - odds.clamp(min=1e-6).log()[..., None]
    centre = _picked(close, _chosen(log.flatten(1), chance.choice[:, rank, 0]))
    radius = centre.norm(dim=-1, keepdim=True)
    end = rank, slice(look.fine)
    fine = in_cap(
        centre / radius, _LAST * spacing, chance.fine[:, *end], chance.fine_aside[:, *end]
    )
    radii = depth.fold(radius + _NEARBY * depth.spread[:, None] * last)
    fine = fine * radii[..., None]
    log = placement.score(asked, fine) / temperature + depth.log_density(radii)
    return _picked(fine, _chosen(log, chance.choice[:, rank, 1]))


@dataclass(slots=True, kw_only=True, eq=False)
class Started:
    """Clusters that have begun to grow: their atoms so far, and what the network keeps of these.

    Attributes
    ----------
    given, chance
        What is known of each cluster, and its random numbers.
    nodes, passed, carried
        What `Placement.start` gave, and what its trunk keeps of the atoms.
    atoms
        (batch, n, 3) Å, the absorber first.
    """

    placement: Placement
    given: Given
    chance: Chance
    nodes: Tensor
    passed: list[tuple[Tensor, Tensor]]
    carried: tuple[Tensor, Tensor]
    atoms: Tensor

    @classmethod
    def start(cls, placement: Placement, given: Given, chance: Chance) -> "Started":
        """Begin with the absorber alone."""
        batch = len(given.radii)
        nodes, passed = placement.start(given), placement.nothing_passed(batch)
        atoms = given.radii.new_zeros(batch, 1, 3)
        return cls(
            placement=placement,
            given=given,
            chance=chance,
            nodes=nodes,
            passed=passed,
            carried=placement.trunk_of_next(atoms, nodes[:, 0], passed),
            atoms=atoms,
        )

    def grow(
        self, ranks: range, *, temperature: float, table: Tensor, nearest: Tensor | None
    ) -> None:
        """Place the atoms of some ranks, one after the other."""
        placement, given = self.placement, self.given
        bonded = given.bonded.any(0).tolist()
        for rank in ranks:
            asked = placement.ask(
                self.atoms,
                self.carried,
                self.nodes,
                given,
                rank,
                table=table,
                bonded=bonded[rank],
                nearest=nearest,
            )
            placed = draw_place(placement, asked, self.chance, rank, temperature=temperature)
            self.add(placed)

    def add(self, placed: Tensor) -> None:
        """Add the next atom of each cluster, (batch, 3) Å."""
        self.atoms = torch.cat([self.atoms, placed[:, None]], 1)
        count = self.atoms.shape[1] - 1
        if count < self.given.radii.shape[1]:
            own = self.placement.trunk_of_next(self.atoms, self.nodes[:, count], self.passed)
            self.carried = joined(self.carried, own)

    def keep(self, rows: Tensor) -> None:
        """Keep some of the clusters."""
        self.given, self.chance = self.given[rows], self.chance[rows]
        self.nodes, self.atoms = self.nodes[rows], self.atoms[rows]
        self.passed = [(s[rows], v[rows]) for s, v in self.passed]
        self.carried = self.carried[0][rows], self.carried[1][rows]


#: Judges first shells: given a batch and its atoms (batch, n, 3), the absorber left out, it returns
#: the rows that grow on.
Choice = Callable[[Given, Tensor], Tensor]


def everything(given: Given, atoms: Tensor) -> Tensor:
    """Let all clusters grow on."""
    return torch.arange(len(atoms), device=atoms.device)


#: Clusters that grow at a time on a processor: as many as it keeps at hand.
AT_HAND = 32


def grow_in_parts(
    placement: Placement,
    given: Given,
    chance: Chance,
    *,
    temperature: float,
    nearest: Tensor | None = None,
    choose: Choice = everything,
    size: int = AT_HAND,
) -> tuple[Tensor, Tensor]:
    """Grow clusters as `grow` does: on a CPU ``size`` at a time, elsewhere all together."""
    count = len(given.radii)
    step = size if given.radii.device.type == "cpu" else count
    parts = [slice(first, first + step) for first in range(0, count, step)]
    grown = [
        grow(
            placement,
            given[part],
            chance[part],
            temperature=temperature,
            nearest=nearest,
            choose=choose,
        )
        for part in parts
    ]
    return torch.cat([atoms for atoms, _ in grown]), torch.cat([kinds for _, kinds in grown])


def grow(
    placement: Placement,
    given: Given,
    chance: Chance,
    *,
    temperature: float = 1.0,
    nearest: Tensor | None = None,
    choose: Choice = everything,
) -> tuple[Tensor, Tensor]:
    """Place the atoms of clusters one after the other.

    Parameters
    ----------
    given
        What is known of each cluster: radii and elements by rank, and the bond angles.
    chance
        Random numbers of each.
    temperature
        Below 1 the likely places are drawn more often than they are likely.
    nearest
        (species, species) distance that atoms keep where they can, Å.
    choose
        Which clusters grow on when all bonds stand.

    Returns
    -------
        Positions (chosen, atoms, 3) Å and element numbers (chosen, atoms).
    """
    ranks, bonded = given.radii.shape[1], given.bonded.any(0).nonzero()
    shell = int(bonded.max()) + 1 if len(bonded) else 0
    growing, table = Started.start(placement, given, chance), placement.table()
    growing.grow(range(shell), temperature=temperature, table=table, nearest=nearest)
    growing.keep(choose(given, growing.atoms[:, 1:]))
    growing.grow(range(shell, ranks), temperature=temperature, table=table, nearest=nearest)
    return growing.atoms[:, 1:], growing.given.kinds
