"""The arrays of a map's entry: which of them there are, each asked for once."""

from typing import Any

import dask.array  # noqa: F401 - Tiled would load it, for a second, within the first write
import numpy as np
from numpy.typing import NDArray
from tiled.client.utils import ClientError
from tiled.structures.array import ArrayStructure
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import DataSource

from nearedge.streaming.catalog.connection import CONFLICT
from nearedge.streaming.catalog.result_writer import put_array


class MapArrays:
    """The clients of an entry's arrays.

    Parameters
    ----------
    node
        Tiled client of the entry.
    fresh
        Whether it was just made, so that there is nothing in it.
    """

    def __init__(self, node: Any, *, fresh: bool) -> None:
        self._node = node
        self._names: set[str] = set() if fresh else set(node)
        self._clients: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self._node[name]
        return self._clients[name]

    def read(self, name: str) -> NDArray[Any]:
        """Return what an array holds."""
        return np.asarray(self[name].read())

    def put(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array, in place of what an earlier try has left there."""
        put_array(self._node, name, array)
        self._names.add(name)
        self._clients.pop(name, None)

    def make(
        self, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Any:
        """Return the client of an array of zeros, made unless another service was quicker."""
        parts = tuple((part,) * (size // part) for size, part in zip(shape, chunks, strict=True))
        structure = ArrayStructure.from_array(
            np.broadcast_to(np.zeros((), dtype), shape), shape=shape, chunks=parts
        )
        source = DataSource(structure=structure, structure_family=StructureFamily.array)
        try:
            self._clients[name] = self._node.new(StructureFamily.array, [source], key=name)
        except ClientError as e:
            if e.response.status_code != CONFLICT:
                raise
        self._names.add(name)
        return self[name]
