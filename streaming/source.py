"""Where documents come from."""

from collections.abc import Iterator
from typing import Any, Protocol


class Source(Protocol):
    """Live, replayed or recorded documents, in order."""

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and document until there are no more, or until stopped."""
        ...

    def stop(self) -> None:
        """End soon; may be called from any thread."""
        ...
