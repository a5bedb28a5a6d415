"""Clusters grow out of nothing, atom by atom.

Each atom's direction is drawn from the density that `nearedge.models.parts.placement` gives it among
the atoms drawn before. A density over the sphere is drawn from in three steps: an even grid, turned
at random, says where it is high; caps about some of its points are looked at closely; the last
step is finer still.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from nearedge.models.parts.placement import Asked, Given, Placement
from nearedge.models.parts.sphere import even_directions, grid_spacing, in_cap, random_rotations

#: Directions of the grid; caps that are looked at closely, and points in each; points at the end.
COARSE, CAPS, CLOSE, FINE = 192, 8, 8, 12
#: Radius of the caps and of the last step, in spacings of the grid. Caps overlap a little.
_CAP, _LAST = 0.6, 0.2
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
    choice
        (…, 2) uniform numbers that choose among them.
    """

    turn: Tensor
    caps: Tensor
    close: Tensor
    close_aside: Tensor
    fine: Tensor
    fine_aside: Tensor
    choice: Tensor

    def to(self, device: torch.device) -> "Chance":
        """Move to another device."""
        return Chance(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def take_chances(samples: int, atoms: int, *, generator: torch.Generator) -> Chance:
    """Draw all random numbers of one spectrum's clusters, on the CPU."""
    shape = samples, atoms

    def uniform(*more: int) -> Tensor:
        return torch.rand(*shape, *more, generator=generator)

    def normal(*more: int) -> Tensor:
        return torch.randn(*shape, *more, generator=generator)

    return Chance(
        turn=random_rotations(samples * atoms, generator=generator).unflatten(0, shape),
        caps=-torch.log(-torch.log(uniform(COARSE).clamp(1e-9, 1 - 1e-7))),
        close=uniform(CAPS, CLOSE),
        close_aside=normal(CAPS, CLOSE, 3),
        fine=uniform(FINE),
        fine_aside=normal(FINE, 3),
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
    """Directions (batch, 3) at places (batch,) of (batch, m, 3)."""
    return directions[torch.arange(len(place), device=place.device), place]


def draw_direction(
    placement: Placement, asked: Asked, chance: Chance, rank: int, *, temperature: Tensor | float
) -> Tensor:
    """Draw the direction of one atom, (batch, 3).

    Parameters
    ----------
    temperature
        Above 1 flattens the density, below 1 sharpens it.
    """
    spacing = grid_spacing(COARSE)
    grid = even_directions(COARSE).to(chance.turn) @ chance.turn[:, rank].transpose(1, 2)
    lenient = _LENIENT * placement.score(asked, grid) / temperature
    keys = lenient + chance.caps[:, rank]
    best = keys.topk(CAPS + 1, dim=1)
    caps = best.indices[:, :-1]
    # odds of a cap to be among the chosen, given the highest key that is not (Kool et al., ICML 2019)
    odds = -torch.expm1(-torch.exp(lenient.gather(1, caps) - best.values[:, -1:]))
    centres = grid.gather(1, caps[..., None].expand(-1, -1, 3))
    close = in_cap(centres, _CAP * spacing, chance.close[:, rank], chance.close_aside[:, rank])
    score = placement.score(asked, close.flatten(1, 2)).unflatten(1, (CAPS, CLOSE))
    log = score / temperature - odds.clamp(min=1e-6).log()[..., None]
    centre = _picked(close.flatten(1, 2), _chosen(log.flatten(1), chance.choice[:, rank, 0]))
    fine = in_cap(centre, _LAST * spacing, chance.fine[:, rank], chance.fine_aside[:, rank])
    score = placement.score(asked, fine)
    return _picked(fine, _chosen(score / temperature, chance.choice[:, rank, 1]))


def grow(
    placement: Placement, given: Given, chance: Chance, *, temperature: float = 1.0
) -> Tensor:
    """Place the atoms of clusters one after the other, (batch, atoms, 3) Å.

    Parameters
    ----------
    given
        What is known of each cluster: radii and elements by rank, and the bond angles.
    chance
        Random numbers of each.
    temperature
        Below 1 the likely directions are drawn more often than they are likely.
    """
    batch, ranks = given.radii.shape
    nodes, passed = placement.start(given), placement.nothing_passed(batch)
    table = placement.table()
    atoms = given.radii.new_zeros(batch, 1, 3)
    scalars, vectors = placement.trunk_of_next(atoms, nodes[:, 0], passed)
    first = functional.normalize(chance.turn[:, 0, 0], dim=-1)
    for rank in range(ranks):
        direction = first
        if rank:
            carried = scalars, vectors
            asked = placement.ask(atoms, carried, nodes, given, rank, table=table)
            direction = draw_direction(placement, asked, chance, rank, temperature=temperature)
        placed = direction * given.radii[:, rank, None]
        atoms = torch.cat([atoms, placed[:, None]], 1)
        if rank + 1 < ranks:
            s, v = placement.trunk_of_next(atoms, nodes[:, rank + 1], passed)
            scalars, vectors = torch.cat([scalars, s], 1), torch.cat([vectors, v], 1)
    return atoms[:, 1:]


