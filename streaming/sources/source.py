"""Where documents come from."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Source(Protocol):
    """Live, replayed or recorded documents, in order."""

    def documents(
        self, on_loss: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and document until there are no more, or until stopped.

        Parameters
        ----------
        on_loss
            Called, between the documents where it happened, when some may have been lost.
        """
        ...

    @property
    def silence(self) -> str | None:
        """Why no document comes now, where the source can tell; None while they come."""
        ...

    def stop(self) -> None:
        """End soon; may be called from any thread."""
        ...
