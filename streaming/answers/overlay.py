"""Lay sampled clusters over each other, to see where they agree.

Every sample is drawn in an orientation of its own, and a spectrum cannot tell a cluster from its
mirror image: each sample is therefore turned, and mirrored where that helps, onto the most typical
one. Near atoms count more than far ones (weight 1/r²), since the spectrum knows them better.
"""

from dataclasses import dataclass

import numpy as np

from nearedge.models import Array, Samples

NEAREST = 8
REFINED = 6
ROUNDS = 8
FORBIDDEN = 1e6  # cost of matching atoms of different species, Å²


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlay:
    """Samples in one common orientation.

    Attributes
    ----------
    typical
        Index of the sample whose distances to the absorber are nearest to all the others'.
    positions
        (samples, atoms, 3) Å, all turned onto the typical one; its own are unchanged.
    spread
        (atoms,) root-mean-square distance from each atom of the typical sample to its partners in
        the others, Å; NaN where no other sample has one.
    """

    typical: int
    positions: Array
    spread: Array


def overlay(samples: Samples) -> Overlay:
    """Turn all samples onto the most typical one."""
    typical = typical_sample(samples)
    kinds, target = samples.species[typical], samples.positions[typical].astype(float)
    positions = samples.positions.astype(float)
    squares = np.full(positions.shape[:2], np.nan)
    for k in range(len(positions)):
        if k != typical:
            positions[k], squares[k] = _lay_over(kinds, target, samples.species[k], positions[k])
    return Overlay(typical=typical, positions=positions, spread=_spread(squares, samples.weights))


def typical_sample(samples: Samples) -> int:
    """Return the index of the sample whose sorted distances are nearest to all the others'."""
    found = np.stack(
        [_sorted_distances(samples, symbol) for symbol in _symbols(samples.species)], axis=1
    )
    flat = found.reshape(len(found), -1)
    apart = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(-1))
    return int((apart @ samples.weights).argmin())


def _symbols(species: np.ndarray) -> list[str]:
    return sorted({str(symbol) for symbol in np.unique(species)} - {""}) or [""]


def _sorted_distances(samples: Samples, symbol: str) -> Array:
    """Sort one species' distances, (samples, atoms) Å; the cluster's edge where there is none."""
    r = np.linalg.norm(samples.positions, axis=-1).astype(float)
    return np.sort(np.where(samples.species == symbol, r, r.max(initial=0.0)), axis=-1)


def _lay_over(
    kinds: np.ndarray, target: Array, other: np.ndarray, moved: Array
) -> tuple[Array, Array]:
    """Return the turned positions, and the squared distance of each target atom's partner."""
    weight = (kinds != "") / np.maximum((target**2).sum(-1), 0.5)
    forbidden = np.where((kinds[:, None] == other[None, :]) & (kinds[:, None] != ""), 0, FORBIDDEN)
    best: tuple[float, Array, Array] | None = None
    for turn in _good_starts(target, moved, forbidden, weight):
        found = _settle(target, moved, forbidden, weight, turn)
        if best is None or found[0] < best[0]:
            best = found
    assert best is not None  # noqa: S101 - there is always a start
    return best[1], best[2]


def _good_starts(target: Array, moved: Array, forbidden: Array, weight: Array) -> Array:
    """Return the orientations in which every atom is nearest to some partner, best first."""
    turns = np.concatenate([np.eye(3)[None], _orientations(target, moved, forbidden)])
    turned = moved[None] @ turns
    apart = ((target[None, :, None] - turned[:, None]) ** 2).sum(-1) + forbidden[None]
    score = (weight * np.minimum(apart.min(-1), FORBIDDEN)).sum(-1)
    return np.asarray(turns[np.argsort(score, kind="stable")[:REFINED]])


def _orientations(target: Array, moved: Array, forbidden: Array) -> Array:
    """Give every orientation that takes a pair of near atoms to one of two pairs of the target's.

    Both hands of each; there are few pairs, since bonded atoms come first.
    """
    anchors = _near(target, (forbidden == 0).any(1))
    movable = _near(moved, (forbidden == 0).any(0))
    pairs = [(i, j) for i in movable for j in movable if i != j]
    if not pairs or len(anchors) < 2:
        return np.empty((0, 3, 3))
    frames = np.stack([_frame(moved[i], moved[j]) for i, j in pairs])
    turns = []
    for other in anchors[1:3]:
        goal = _frame(target[anchors[0]], target[other])
        turns += [np.swapaxes(frames, 1, 2) @ np.diag([1, 1, hand]) @ goal for hand in (1, -1)]
    return np.concatenate(turns)


def _near(positions: Array, known: np.ndarray) -> list[int]:
    """Return the atoms nearest to the absorber, nearest first."""
    order = np.argsort((positions**2).sum(-1), kind="stable")
    return [int(i) for i in order if known[i]][:NEAREST]


def _frame(a: Array, b: Array) -> Array:
    """Axes along ``a``, towards ``b``, and across both; any across where they are in line."""
    first = a / max(float(np.linalg.norm(a)), 1e-9)
    across = np.cross(first, b)
    if np.linalg.norm(across) < 1e-6:
        across = np.cross(first, np.eye(3)[np.abs(first).argmin()])
    across = across / np.linalg.norm(across)
    return np.stack([first, np.cross(across, first), across])


def _settle(
    target: Array, moved: Array, forbidden: Array, weight: Array, turn: Array
) -> tuple[float, Array, Array]:
    """Assign and turn by turns; return the cost, the positions and the squared distances."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and the service starts first

    for _ in range(ROUNDS):
        cost = weight[:, None] * _squares(target, moved @ turn) + forbidden
        rows, columns = linear_sum_assignment(cost)
        pairs = forbidden[rows, columns] == 0
        rows, columns = rows[pairs], columns[pairs]
        new = _rotation(moved[columns], target[rows], weight[rows])
        if np.allclose(new, turn, atol=1e-9):
            break
        turn = new
    turned = moved @ turn
    squares = np.full(len(target), np.nan)
    squares[rows] = ((target[rows] - turned[columns]) ** 2).sum(-1)
    return float(np.nansum(weight * squares)), turned, squares


def _squares(a: Array, b: Array) -> Array:
    return np.asarray(((a[:, None] - b[None]) ** 2).sum(-1))


def _rotation(a: Array, b: Array, weight: Array) -> Array:
    """Best rotation or reflection about the origin that takes ``a`` to ``b`` (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((a * weight[:, None]).T @ b)
    return np.asarray(u @ vt)


def _spread(squares: Array, weights: Array) -> Array:
    known = ~np.isnan(squares)
    shares = np.where(known, weights[:, None], 0.0)
    total = shares.sum(0)
    mean = np.where(known, squares, 0.0).T @ weights
    return np.where(total > 0, np.sqrt(mean / np.where(total > 0, total, 1.0)), np.nan)
