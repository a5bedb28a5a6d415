"""The clusters of a map's pixels as arrays over the map, which its entry gains pixel by pixel."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models import Samples
from nearedge.streaming.catalog.elements import numbers_of, symbols_of

PREFIX = "clusters_"
"""How the names of these arrays begin."""
DONE = f"{PREFIX}done"
"""The array that says of each pixel what has become of it; written last."""
DRAWN, NONE = 1, 2
"""What it says of a pixel: it has clusters, or it cannot have any; 0: it waits."""
PARTS = ("positions", "species", "weights")
COUNT = "clusters"
"""What the metadata call the number of pixels that have clusters."""


def cluster_arrays(found: Sequence[Samples]) -> dict[str, NDArray[Any]]:
    """Return the clusters of some pixels as arrays (p, samples, …) by their names.

    Where a pixel has fewer samples or atoms than another there are zeros: a sample of no weight, or
    atoms of no element.
    """
    samples = max(one.species.shape[0] for one in found)
    atoms = max(one.species.shape[1] for one in found)
    positions = np.zeros((len(found), samples, atoms, 3), np.float32)
    species = np.zeros((len(found), samples, atoms), np.uint8)
    weights = np.zeros((len(found), samples))
    for k, one in enumerate(found):
        n, m = one.species.shape
        positions[k, :n, :m] = one.positions
        species[k, :n, :m] = numbers_of(one.species)
        weights[k, :n] = one.weights
    parts = zip(PARTS, (positions, species, weights), strict=True)
    return {PREFIX + part: array for part, array in parts}


def clusters_at(client: Callable[[str], Any], place: Sequence[int]) -> Samples | None:
    """Return the clusters of one pixel, or None where it has none.

    Parameters
    ----------
    client
        Returns the Tiled client of an array of the entry; raises a KeyError where there is none.
    place
        The index of the pixel.
    """
    where = tuple(slice(i, i + 1) for i in place)

    def here(name: str) -> NDArray[Any]:
        return np.asarray(client(name).read(where))

    try:
        done = here(DONE)
    except KeyError:  # no pixel of the map has clusters
        return None
    if not (done == DRAWN).any():  # empty where the map has grown since
        return None
    positions, species, weights = (here(PREFIX + part)[(0,) * len(place)] for part in PARTS)
    known = (species > 0).any(axis=0)  # the others are there for pixels with more atoms
    return Samples(
        species=symbols_of(species[:, known]), positions=positions[:, known], weights=weights
    )
