"""The clusters of every pixel of a map that is complete, written into its entry little by little.

What is done is read from the entry alone, so that a service goes on where another was killed; and
each pixel has a seed of its own, so that one that is drawn twice is the same.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models import NormalisedSpectrum, Samples
from nearedge.streaming.catalog.boxes import MOST, boxes, chunks_of
from nearedge.streaming.catalog.cluster_arrays import (
    COUNT,
    DONE,
    DRAWN,
    NONE,
    cluster_arrays,
)
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.growing_map import STEP
from nearedge.streaming.catalog.map_arrays import MapArrays
from nearedge.streaming.catalog.map_shelf import MapShelf, Place
from nearedge.streaming.catalog.maps import Maps
from nearedge.streaming.ledger.key import seed_at

TOGETHER = 64
"""Pixels whose clusters share a chunk: each batch writes it anew."""


class PixelClusters:
    """The clusters of one map's pixels, which are numbered with the last axis running fastest.

    Parameters
    ----------
    box
        The container of maps.
    key
        Names the map.

    Raises
    ------
    KeyError
        If there is no such map, or it has no pixels.
    httpx.HTTPError
        If the server refuses or is away.
    """

    def __init__(self, box: Client, key: str) -> None:
        self.key = key
        self._node: Any = box[key]
        self._arrays = MapArrays(self._node, fresh=False)
        self._shelf = MapShelf(lambda: box)  # what it remembers is of this map as it is now
        reason = self._shelf.values(key, "reason")
        self._shape, self._wanted = reason.shape, reason.ravel() == -1
        self._done = self._read_done()

    def waiting(self, most: int) -> list[int]:
        """Return the first answered pixels without clusters, so many at most."""
        return [int(k) for k in np.flatnonzero(self._wanted & (self._done == 0))[:most]]

    def place(self, pixel: int) -> Place:
        """Return the index of a pixel."""
        return tuple(int(i) for i in np.unravel_index(pixel, self._shape))

    def spectrum(self, pixel: int) -> NormalisedSpectrum:
        """Return what is inverted for a pixel: the same as where somebody clicks at it.

        Raises
        ------
        ValueError
            If too few of its energies are known.
        httpx.HTTPError
            If the server refuses or is away.
        """
        place = self.place(pixel)
        return self._shelf.region(self.key, place, place).spectrum

    def seed(self, pixel: int) -> int:
        """Return the seed of a pixel's clusters."""
        return seed_at(self.key, self.place(pixel), self.place(pixel))

    def put(self, found: Mapping[int, Samples | None]) -> None:
        """Write the clusters of some pixels, and of which there are none.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away; the same call goes on from there.
        """
        drawn = {pixel: one for pixel, one in found.items() if one is not None}
        if drawn:
            for name, values in cluster_arrays(list(drawn.values())).items():
                self._write(name, np.array(list(drawn)), values)
        states = np.array([NONE if one is None else DRAWN for one in found.values()], np.uint8)
        self._write(DONE, np.array(list(found)), states)
        self._done[list(found)] = states
        self.tell()

    def tell(self) -> None:
        """Let the metadata say how many pixels have clusters; errors as for `put`."""
        count = int((self._done == DRAWN).sum())
        if self._node.metadata.get(COUNT, 0) != count:
            self._node.update_metadata({COUNT: count}, drop_revision=True)

    def _read_done(self) -> NDArray[np.uint8]:
        """Return what has become of each pixel; the map may have grown since that was written."""
        done = np.zeros(self._wanted.size, np.uint8)
        if DONE in self._arrays:
            stored = self._arrays.read(DONE).ravel()[: done.size]
            done[: stored.size] = stored
        return done

    def _write(self, name: str, pixels: NDArray[np.int64], values: NDArray[Any]) -> None:
        more = values.shape[1:]
        if name not in self._arrays:
            self._make(name, more, values.dtype)
        for box in boxes(pixels, self._shape):
            self._arrays[name].patch(
                values[box.rows].reshape(*box.size, *more),
                offset=(*box.offset, *(0,) * len(more)),
                extend=True,  # by more atoms, or where the map has grown
            )

    def _make(self, name: str, more: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Make an array with as much room as the others of the map have."""
        first, *others = self._arrays["reason"].shape
        steps = STEP if self._node.metadata["grows"] else first
        chunks = chunks_of((steps, *others), most=TOGETHER if more else MOST)
        self._arrays.make(name, (first, *others, *more), (*chunks, *more), dtype)


class ClusterStore:
    """The maps whose pixels are to have clusters: complete, and measured with this profile.

    Parameters
    ----------
    container
        Returns the Tiled container of maps; called when it is first needed, and again while it
        raises.
    config, models
        Digests of the settings, and of the weights of which one has answered the pixels.
    """

    def __init__(
        self, container: Callable[[], Client], *, config: str, models: Collection[str]
    ) -> None:
        self._container, self._config, self._models = container, config, models
        self._box: Client | None = None
        self._seen: dict[str, float] = {}

    def find(self) -> PixelClusters | None:
        """Return the newest map that has pixels without clusters, or None.

        Each is returned once, until it changes or `forget` is called.

        Raises
        ------
        KeyError
            If a map cannot be read; the next call goes on to the others.
        httpx.HTTPError
            If the server refuses or is away.
        """
        for key, written in self._changed():
            self._seen[key] = written
            own = PixelClusters(self._opened(), key)
            own.tell()  # a service may have been killed before it could
            if own.waiting(1):
                return own
        return None

    def forget(self) -> None:
        """Look at every map anew: some may not be finished."""
        self._seen.clear()

    def _changed(self) -> Iterator[tuple[str, float]]:
        for found in Maps(self._opened()).search():
            about = found.metadata
            # a map of `nearedge map` does not grow: it may lie in a file, which takes no arrays
            ours = "grows" in about and about["config"] == self._config
            lacks = found.clustered < about["answered"]
            if ours and lacks and about["model"] in self._models:
                if self._seen.get(found.key) != about["written"]:
                    yield found.key, about["written"]

    def _opened(self) -> Client:
        if self._box is None:
            self._box = self._container()
        return self._box
