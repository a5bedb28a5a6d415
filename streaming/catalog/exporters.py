"""Tiled's own ``?format=``: what its server calls to send a result in one of our forms.

``GET /api/v1/container/full/inversions/KEY?format=cif`` and the same with any other name of
`nearedge.streaming.answers.forms`. The functions get Tiled's adapter of the result's container, in
the server's process; `nearedge.streaming.catalog.server_config` is the part of its configuration
that names them.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from tiled.utils import ensure_awaitable

ARRAYS = ("spectrum", "positions", "species", "per_sample", "rdf")


class ReadArray:
    """An array that has been read, with the one method of Tiled's client that is needed."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def read(self) -> np.ndarray:
        """Return it."""
        return self._array


class Node(dict[str, ReadArray]):
    """The arrays of one result by name, as Tiled's client would show them."""

    def __init__(self, key: str, metadata: Mapping[str, Any], arrays: dict[str, ReadArray]) -> None:
        super().__init__(arrays)
        self.item, self.metadata = {"id": key}, metadata


def exporter(name: str) -> Callable[..., Awaitable[bytes]]:
    """Return what Tiled calls for one of our forms."""

    async def export(
        mimetype: str, adapter: Any, metadata: Mapping[str, Any], filter_for_access: Any
    ) -> bytes:
        # imported by the first request: Tiled reads this module when it starts
        from nearedge.streaming.answers.answer import answer_of_result
        from nearedge.streaming.answers.forms import EXPORTS
        from nearedge.streaming.catalog.results import Result

        fit = () if metadata["misfit"] is None else ("fit",)
        names = (*ARRAYS, *fit, *metadata["raw"]["columns"])
        arrays = {array: ReadArray(await _read(adapter, array)) for array in names}
        node = Node(_key(adapter), metadata, arrays)
        return EXPORTS[name].content(answer_of_result(Result(node)))

    return export


def _key(adapter: Any) -> str:
    """Return the name of a result, which may lie in the catalog or in a file of its own."""
    from nearedge.streaming.catalog.result_files import KEY  # late, as above

    node = getattr(adapter, "node", None)
    return str(adapter.metadata()[KEY] if node is None else node.key)


async def _read(adapter: Any, name: str) -> np.ndarray:
    in_catalog = hasattr(adapter, "lookup_adapter")
    child = await adapter.lookup_adapter([name]) if in_catalog else adapter[name]
    return np.asarray(await ensure_awaitable(child.read))


xyz = exporter("xyz")
cif = exporter("cif")
poscar = exporter("poscar")
xdi = exporter("xdi")
nexus = exporter("nexus")
