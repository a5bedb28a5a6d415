"""Compare two first shells whatever their orientation, handedness and order of atoms."""

from functools import cache
from itertools import permutations

import numpy as np

from nearedge.models.clusters import superpose
from nearedge.models.clusters.geometry import first_shell
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Samples
from nearedge.models.spectrum import Array

#: Up to so many atoms every assignment is tried; beyond, a search from many orientations.
EXACT = 6


@cache
def _orders(count: int) -> np.ndarray:
    return np.array(list(permutations(range(count))), dtype=np.int64)


def _matched(a: Array, b: Array) -> Array:
    """Return the RMSD of matched atoms (..., n, 3) after the best rotation or reflection.

    The largest trace over O(3) is the sum of singular values (Kabsch 1976, without the sign).
    """
    overlap = np.linalg.svd(np.swapaxes(a, -1, -2) @ b, compute_uv=False).sum(-1)
    squares = (a**2).sum((-1, -2)) + (b**2).sum((-1, -2)) - 2 * overlap
    return np.asarray(np.sqrt(np.maximum(squares, 0.0) / a.shape[-2]))


def _rmsd_exact(kinds: np.ndarray, a: Array, other: np.ndarray, b: Array) -> float:
    orders = _orders(len(kinds))
    allowed = orders[(other[orders] == kinds).all(1)]
    return float(_matched(np.broadcast_to(a, (len(allowed), *a.shape)), b[allowed]).min())


def _rmsd_searched(kinds: np.ndarray, a: Array, other: np.ndarray, b: Array) -> float:
    """Refine every orientation that lays two atoms of b along two atoms of a."""
    k = int(np.linalg.norm(np.cross(a[0], a[1:]), axis=1).argmax()) + 1
    pairs = [
        (i, j)
        for i, j in permutations(range(len(b)), 2)
        if other[i] == kinds[0] and other[j] == kinds[k]
    ]
    turns = superpose.orientations(a, [(0, k)], b, pairs)
    apart = superpose.forbidden(kinds, other)
    found = superpose.settled(a, b, apart, turns, weight=np.ones(len(a)))
    return float(np.sqrt(found.cost / len(a)))


def rmsd(kinds: np.ndarray, a: Array, other: np.ndarray, b: Array) -> float:
    """Return the RMSD of two shells after the best assignment and rotation or reflection.

    Parameters
    ----------
    kinds, a
        (n,) symbols and (n, 3) Å around an absorber at the origin, which stays there.
    other, b
        The same of the other shell; NaN is returned where the species differ.
    """
    if len(a) == 0 or sorted(kinds) != sorted(other):
        return float("nan")
    if len(a) <= EXACT:
        return _rmsd_exact(kinds, a, other, b)
    return _rmsd_searched(kinds, a, other, b)


def shell_rmsds(samples: Samples, site: Site) -> Array:
    """Return the first-shell RMSD of each sample to a site, (samples,) Å; NaN if the CN differs."""
    inside = first_shell(site.absorber, site.species, site.positions)
    kinds, truth = site.species[inside], site.positions[inside]
    bonded = first_shell(site.absorber, samples.species, samples.positions)
    positions = samples.positions.astype(np.float64)
    return np.array(
        [
            rmsd(kinds, truth, samples.species[k, mask], positions[k, mask])
            for k, mask in enumerate(bonded)
        ]
    )
