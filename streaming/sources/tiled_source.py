"""Runs that are in the catalog, as the documents that they were made of."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import bluesky_tiled_plugins  # noqa: F401 - makes runs of the catalog able to give documents
from tiled.queries import Comparison, KeyPresent

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.paging import keys_of

logger = logging.getLogger(__name__)


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

    Notes
    -----
    Arrays come back as lists, the uids of events are made anew, and file-backed data come as one
    ``stream_resource`` for each key after the events. Of a run without a stop document, the empty
    one that Tiled makes up is left out.
    """

    def __init__(
        self,
        raw: Client,
        *,
        uids: Iterable[str] | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        self._raw = raw
        self._uids = None if uids is None else list(uids)
        self._since, self._until = since, until
        self._stopping = threading.Event()

    def uids(self) -> list[str]:
        """Return which runs it replays, in this order."""
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
        for uid in self.uids():
            for name, doc in documents_of(self._raw, uid):
                if self._stopping.is_set():
                    return
                yield name, doc

    def stop(self) -> None:
        """End before the next document."""
        self._stopping.set()


def finished(raw: Client, *, since: float | None = None, until: float | None = None) -> list[str]:
    """Return the uids of the runs that have ended, the oldest first; bounds: see `TiledSource`."""
    found = raw.search(KeyPresent("stop.exit_status"))
    if since is not None:
        found = found.search(Comparison("ge", "start.time", since))
    if until is not None:
        found = found.search(Comparison("lt", "start.time", until))
    # SQLite sorts numbers within JSON as text: right for seconds since the epoch, until 2286
    return list(keys_of(found.sort(("start.time", 1))))


def ended(raw: Client, *, since: float) -> list[str]:
    """Return the uids of the runs that ended then or later, in the order in which they began."""
    found = raw.search(Comparison("ge", "stop.time", since))
    return list(keys_of(found.sort(("start.time", 1))))


def is_finished(raw: Client, uid: str) -> bool:
    """Return whether the catalog has a run to its end."""
    if uid not in raw:
        return False
    return bool((raw[uid].metadata.get("stop") or {}).get("exit_status"))


def documents_of(raw: Client, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of one run; errors as for `TiledSource.documents`."""
    if uid not in raw:
        raise KeyError(f"the catalog has no run {uid!r}")
    for name, doc in raw[uid].documents():
        if name == "stop" and not doc:
            logger.warning("run %s has no stop document", uid, extra={"run_uid": uid})
        else:
            yield name, dict(doc)
