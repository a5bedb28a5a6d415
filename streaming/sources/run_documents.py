"""The documents of one run of a catalog: made by the server, or here of the run's tables."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from bluesky_tiled_plugins.exporters import json_seq_exporter
from tiled.client.utils import ClientError

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.paging import keys_of

logger = logging.getLogger(__name__)

SEPARATOR = "\x1e\r\n "


def documents_of(raw: Client, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of one run.

    Raises
    ------
    KeyError
        If the catalog has no such run.
    ValueError
        If the beginning of a uid was given, and it is too short or fits several runs.
    httpx.HTTPError
        If the server refuses or is away.
    """
    try:
        run = raw[uid]
    except KeyError:
        raise KeyError(f"the catalog has no run {uid!r}") from None
    for name, doc in _documents(run):
        if name == "stop" and not doc:
            logger.warning("run %s has no stop document", uid, extra={"run_uid": uid})
        else:
            yield name, dict(doc)


def _documents(run: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        yield from run.documents()
    except ClientError as e:
        if e.response.status_code != HTTPStatus.NOT_ACCEPTABLE:
            raise
        yield from documents_of_tables(run)  # a server that was not told how to export runs


def documents_of_tables(run: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the documents of a run, made here as a server's exporter would make them.

    Parameters
    ----------
    run
        Tiled client of the run.
    """
    for line in asyncio.run(_exported(run)):
        record = json.loads(line.strip(SEPARATOR))
        yield record["name"], record["doc"]


async def _exported(run: Any) -> list[str]:
    node = _Node(run)
    lines = json_seq_exporter("application/json-seq", node, node.metadata(), _unfiltered)
    return [line async for line in lines]


async def _unfiltered(node: "_Node") -> "_Node":
    return node  # the server shows nothing that we may not see


class _Node:
    """What an exporter asks of a server's node, asked of a client."""

    def __init__(self, client: Any) -> None:
        # the clients of runs and streams show columns as if they were nodes; the base does not
        self._client = getattr(client, "base", None) or client

    @property
    def specs(self) -> list[Any]:
        return list(self._client.specs)

    def metadata(self) -> dict[str, Any]:
        return dict(self._client.item["attributes"]["metadata"])

    async def keys_range(self, offset: int, limit: int | None) -> list[str]:
        return list(keys_of(self._client))[offset:limit]

    async def lookup_adapter(self, segments: list[str]) -> "_Node":
        return _Node(self._client["/".join(segments)])

    async def read(self) -> Any:
        return self._client.read()

    async def data_sources(self, *, include_assets: bool) -> list[Any]:
        structure = self._client.structure()  # a client keeps that of a source as plain JSON
        return [replace(one, structure=structure) for one in self._client.data_sources() or []]
