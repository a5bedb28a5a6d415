"""All keys of a container: Tiled's own listing of sorted keys ends after the second page."""

from collections.abc import Iterator

from nearedge.streaming.catalog.connection import Client

PAGE = 200
"""Keys in one request; a server gives at most 300."""


def keys_of(container: Client, *, page: int = PAGE) -> Iterator[str]:
    """Yield every key of a container or search result, in its order.

    A client that lists sorted keys follows the server's links, and a server that only estimates how
    many there are gives none after the second page. So each page is asked for by its place; a key
    that moves into the next page meanwhile, since another was added, comes once.

    Parameters
    ----------
    container
        Container, searched and sorted or not.
    page
        Keys in one request.

    Raises
    ------
    httpx.HTTPError
        If the server refuses or is away.
    """
    seen: set[str] = set()
    start = 0
    while keys := list(container.keys()[start : start + page]):
        yield from (key for key in keys if key not in seen)
        seen.update(keys)
        start += len(keys)
