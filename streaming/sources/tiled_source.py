"""Runs that are in the catalog, as the documents that they were made of."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import bluesky_tiled_plugins  # noqa: F401 - makes runs of the catalog able to give documents
import httpx

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.raw_runs import finished
from nearedge.streaming.sources.run_documents import documents_of

logger = logging.getLogger(__name__)

AWAY = 3
"""After so many runs in a row for which it could not be reached, the server counts as away."""


class TiledSource:
    """Replays runs.

    Parameters
    ----------
    raw
        Tiled client of the container of raw runs.
    uids
        Which; None: all finished ones that `since` and `until` leave, the oldest first.
    since, until
        Bounds, the first included, on the time at which a run began, seconds since the epoch.
    skip
        Given the uids, returns those that need not be read.
    on_unreadable
        Called with the uid of each run that cannot be read, and the error; the next run is read
        then. None: the error ends the replay.

    Notes
    -----
    Arrays come back as lists, the uids of events are made anew, and file-backed data come as one
    ``stream_resource`` for each key after the events. Of a run without a stop document, the empty
    one that Tiled makes up is left out. A run comes whole or not at all.
    """

    def __init__(
        self,
        raw: Client,
        *,
        uids: Iterable[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        skip: Callable[[Sequence[str]], Collection[str]] = lambda uids: (),
        on_unreadable: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self._raw = raw
        self._uids = None if uids is None else list(uids)
        self._since, self._until = since, until
        self._skip, self._on_unreadable = skip, on_unreadable
        self._away = 0
        self._stopping = threading.Event()

    def uids(self) -> list[str]:
        """Return which runs it replays, in this order, those that are skipped included."""
        return (
            finished(self._raw, since=self._since, until=self._until)
            if (self._uids is None)
            else self._uids
        )

    def documents(
        self, on_loss: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents of each run.

        Raises
        ------
        KeyError
            If the catalog has no such run.
        ValueError
            If the beginning of a uid was given, and it is too short or fits several runs.
        httpx.HTTPError
            If the server refuses or is away.
        """
        uids = self.uids()
        skipped = set(self._skip(uids))
        for uid in uids:
            if self._stopping.is_set():
                return
            if uid not in skipped:
                yield from self._of_run(uid)

    def _of_run(self, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            documents = deque(documents_of(self._raw, uid))
        except Exception as e:  # one run that cannot be read must not end the others
            self._pass_over(uid, e)
            return
        self._away = 0
        while documents and not self._stopping.is_set():
            yield documents.popleft()

    def _pass_over(self, uid: str, error: Exception) -> None:
        self._away = self._away + 1 if isinstance(error, httpx.TransportError) else 0
        if self._on_unreadable is None or self._away >= AWAY:
            raise error
        self._on_unreadable(uid, error)

    @property
    def silence(self) -> str | None:
        """Nothing: documents come until there are no more."""
        return None

    def stop(self) -> None:
        """End before the next document."""
        self._stopping.set()
