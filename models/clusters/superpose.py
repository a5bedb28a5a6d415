"""Lay one cluster over another, whatever the orientation, handedness and order of its atoms.

The absorber of both stays at the origin. A spectrum cannot tell a cluster from its mirror image, so
reflections are allowed. Which atom lies on which is found with the orientation: from several starts
the atoms are assigned and the cluster is turned, by turns, until nothing changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.models.spectrum import Array

#: Cost of laying atoms of different species on each other, Å².
FORBIDDEN = 1e6
#: Most rounds of assigning and turning.
ROUNDS = 20
#: Nearest atoms by which orientations are found.
NEAREST = 8
#: Most promising orientations that are refined.
REFINED = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Superposition:
    """A cluster that lies on another, the target.

    Attributes
    ----------
    cost
        Sum over the pairs of atoms of their weighted squared distances, Å².
    positions
        (n, 3) Å, turned onto the target.
    squares
        (m,) squared distance of each atom of the target from its partner, Å²; NaN without one.
    """

    cost: float
    positions: Array
    squares: Array


def superpose(
    kinds: np.ndarray, target: Array, other: np.ndarray, moved: Array, *, weight: Array
) -> Superposition:
    """Lay a cluster onto another one, both of many atoms.

    Only the most promising of many orientations are refined: those in which every atom lies near
    some atom of its species.

    Parameters
    ----------
    kinds, target
        (m,) symbols, empty for places without an atom, and (m, 3) Å.
    other, moved
        (n,) and (n, 3) of the cluster that is turned.
    weight
        (m,) what each atom of the target counts.
    """
    apart = forbidden(kinds, other)
    turns = np.concatenate([np.eye(3)[None], _near_orientations(target, moved, apart)])
    squares = ((target[None, :, None] - (moved[None] @ turns)[:, None]) ** 2).sum(-1) + apart[None]
    score = (weight * np.minimum(squares.min(-1), FORBIDDEN)).sum(-1)
    best = turns[np.argsort(score, kind="stable")[:REFINED]]
    return settled(target, moved, apart, best, weight=weight)


def forbidden(kinds: np.ndarray, other: np.ndarray) -> Array:
    """Return what laying each atom on each other costs for their species, (m, n) Å²."""
    alike = (kinds[:, None] == other[None, :]) & (kinds[:, None] != "")
    return np.where(alike, 0.0, FORBIDDEN)


def orientations(
    target: Array,
    goals: Iterable[tuple[int, int]],
    moved: Array,
    pairs: Sequence[tuple[int, int]],
) -> Array:
    """Give the turns (k, 3, 3) of both hands that lay each pair of atoms along each goal.

    Parameters
    ----------
    target, goals
        (m, 3) Å, and pairs of its atoms.
    moved, pairs
        (n, 3) Å of the cluster that is turned, and pairs of its atoms.
    """
    if not pairs:
        return np.empty((0, 3, 3))
    frames = np.swapaxes([_frame(moved[i], moved[j]) for i, j in pairs], 1, 2)
    turns = [
        frames @ np.diag([1, 1, hand]) @ _frame(target[i], target[j])
        for i, j in goals
        for hand in (1, -1)
    ]
    return np.concatenate(turns) if turns else np.empty((0, 3, 3))


def settled(
    target: Array, moved: Array, apart: Array, turns: Iterable[Array], *, weight: Array
) -> Superposition:
    """Assign and turn by turns from each start; return the superposition of the least cost.

    Parameters
    ----------
    target, moved, apart, weight
        As in `superpose`, and the costs of `forbidden`.
    turns
        Rotations or reflections (3, 3) to start from; at least one.
    """
    found = (_settle(target, moved, apart, turn, weight) for turn in turns)
    return min(found, key=lambda one: one.cost)


def _settle(target: Array, moved: Array, apart: Array, turn: Array, weight: Array) -> Superposition:
    from scipy.optimize import linear_sum_assignment  # slow to import, and the service starts first

    for _ in range(ROUNDS):
        squares = ((target[:, None] - (moved @ turn)[None]) ** 2).sum(-1)
        rows, columns = linear_sum_assignment(weight[:, None] * squares + apart)
        allowed = apart[rows, columns] == 0
        rows, columns = rows[allowed], columns[allowed]
        new = _rotation(moved[columns], target[rows], weight[rows])
        if np.allclose(new, turn, atol=1e-9):
            break
        turn = new
    turned = moved @ turn
    left = np.full(len(target), np.nan)
    left[rows] = ((target[rows] - turned[columns]) ** 2).sum(-1)
    return Superposition(cost=float(np.nansum(weight * left)), positions=turned, squares=left)


def _rotation(a: Array, b: Array, weight: Array) -> Array:
    """Return the best rotation or reflection about the origin from ``a`` to ``b`` (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((a * weight[:, None]).T @ b)
    return np.asarray(u @ vt)


def _frame(a: Array, b: Array) -> Array:
    """Return axes along ``a``, towards ``b`` and across both; any across if they are in line."""
    first = a / max(float(np.linalg.norm(a)), 1e-9)
    across = np.cross(first, b)
    if np.linalg.norm(across) < 1e-6:
        across = np.cross(first, np.eye(3)[np.abs(first).argmin()])
    across = across / np.linalg.norm(across)
    return np.stack([first, np.cross(across, first), across])


def _near_orientations(target: Array, moved: Array, apart: Array) -> Array:
    """Give every orientation that takes a pair of near atoms to one of two pairs of the target's.

    There are few pairs, since bonded atoms come first.
    """
    anchors = _near(target, (apart == 0).any(1))
    movable = _near(moved, (apart == 0).any(0))
    pairs = [(i, j) for i in movable for j in movable if i != j]
    return orientations(target, [(anchors[0], other) for other in anchors[1:3]], moved, pairs)


def _near(positions: Array, known: np.ndarray) -> list[int]:
    """Return the atoms nearest to the absorber, nearest first."""
    order = np.argsort((positions**2).sum(-1), kind="stable")
    return [int(i) for i in order if known[i]][:NEAREST]
