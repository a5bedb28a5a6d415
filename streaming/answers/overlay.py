"""Lay sampled clusters over each other, to see where they agree.

Every sample is drawn in an orientation of its own, and a spectrum cannot tell a cluster from its
mirror image: each sample is therefore turned, and mirrored where that helps, onto the most typical
one. Near atoms count more than far ones (weight 1/r²), since the spectrum knows them better.
"""

from dataclasses import dataclass

import numpy as np

from nearedge.models import Array, Samples
from nearedge.models.clusters.superpose import superpose


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
    weight = (kinds != "") / np.maximum((target**2).sum(-1), 0.5)
    positions = samples.positions.astype(float)
    squares = np.full(positions.shape[:2], np.nan)
    for k in range(len(positions)):
        if k != typical:
            found = superpose(kinds, target, samples.species[k], positions[k], weight=weight)
            positions[k], squares[k] = found.positions, found.squares
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


def _spread(squares: Array, weights: Array) -> Array:
    known = ~np.isnan(squares)
    shares = np.where(known, weights[:, None], 0.0)
    total = shares.sum(0)
    mean = np.where(known, squares, 0.0).T @ weights
    return np.where(total > 0, np.sqrt(mean / np.where(total > 0, total, 1.0)), np.nan)
