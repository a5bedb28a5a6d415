"""Which runs a catalog has: asked of the server, or looked through where it knows no such query."""

import logging
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from tiled.client.utils import ClientError
from tiled.queries import Comparison, KeyPresent

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.paging import keys_of

logger = logging.getLogger(__name__)

ENDED = KeyPresent("stop.exit_status")
LONGEST_RUN_S = 7 * 86400.0
"""No run is taken to last longer, where the end of runs cannot be asked for."""

Test = Callable[[dict[str, Any], dict[str, Any]], bool]


def finished(raw: Client, *, since: float | None = None, until: float | None = None) -> list[str]:
    """Return the uids of the runs that have ended, the oldest first.

    Parameters
    ----------
    raw
        Tiled client of the container of raw runs.
    since, until
        Bounds, the first included, on the time at which a run began, seconds since the epoch.

    Raises
    ------
    httpx.HTTPError
        If the server refuses or is away.
    """
    begun = [] if since is None else [Comparison("ge", "start.time", since)]
    begun += [] if until is None else [Comparison("lt", "start.time", until)]

    def chosen(start: dict[str, Any], stop: dict[str, Any]) -> bool:
        time = start.get("time", 0.0)
        early, late = since is not None and time < since, until is not None and time >= until
        return bool(stop.get("exit_status")) and not early and not late

    return _found(raw, [ENDED, *begun], fewer=begun, chosen=chosen)


def ended(raw: Client, *, since: float) -> list[str]:
    """Return the uids of the runs that ended then or later, in the order in which they began.

    Errors as for `finished`.
    """
    begun = Comparison("ge", "start.time", since - LONGEST_RUN_S)

    def chosen(start: dict[str, Any], stop: dict[str, Any]) -> bool:
        return bool(stop.get("time", float("-inf")) >= since)

    # databroker takes a comparison with the stop document and finds nothing: it refuses the other
    late = [ENDED, Comparison("ge", "stop.time", since)]
    return _found(raw, late, fewer=[begun], chosen=chosen)


def is_finished(raw: Client, uid: str) -> bool:
    """Return whether the catalog has a run to its end; errors as for `finished`."""
    try:
        run = raw[uid]
    except KeyError:
        return False
    return bool((run.metadata.get("stop") or {}).get("exit_status"))


def is_unsupported(error: Exception) -> bool:
    """Return whether a server says that it knows no such query or order."""
    known = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED)
    return isinstance(error, ClientError) and error.response.status_code in known


def _found(raw: Client, queries: Sequence[Any], *, fewer: Sequence[Any], chosen: Test) -> list[str]:
    """Return the uids that all queries find; without them, those that a test of ours chooses."""
    try:
        # SQLite sorts numbers within JSON as text: right for seconds since the epoch, until 2286
        return list(keys_of(_searched(raw, queries).sort(("start.time", 1))))
    except ClientError as e:
        if not is_unsupported(e):
            raise
    return _looked_through(raw, fewer, chosen)


def _looked_through(raw: Client, queries: Sequence[Any], chosen: Test) -> list[str]:
    try:  # a catalog of databroker may know the bounds
        return [uid for _, uid in sorted(looked_through(_searched(raw, queries), chosen))]
    except ClientError as e:
        if not queries or not is_unsupported(e):
            raise
    return _looked_through(raw, (), chosen)


def looked_through(found: Any, chosen: Test) -> Iterator[tuple[float, str]]:
    """Yield when each run began that a test of start and stop document chooses, and its uid."""
    for _, run in found.items():
        start, stop = run.metadata.get("start") or {}, run.metadata.get("stop") or {}
        if chosen(start, stop):
            yield float(start.get("time", 0.0)), str(start["uid"])


def _searched(raw: Client, queries: Sequence[Any]) -> Any:
    for query in queries:
        raw = raw.search(query)
    return raw
