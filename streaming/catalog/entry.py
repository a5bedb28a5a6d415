"""What every entry of the catalog has."""

from typing import Any


class Entry:
    """An entry of the catalog: its key and its metadata.

    Parameters
    ----------
    node
        Tiled client of its container.
    """

    def __init__(self, node: Any) -> None:
        self._node = node

    @property
    def key(self) -> str:
        """Its name in the catalog."""
        return str(self._node.item["id"])

    @property
    def metadata(self) -> dict[str, Any]:
        """All that can be searched."""
        return dict(self._node.metadata)
