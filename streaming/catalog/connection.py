"""The Tiled catalog: connections to it and the containers in it."""

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
from tiled.client import from_uri
from tiled.client.container import Container
from tiled.client.utils import ClientError
from tiled.structures.core import Spec

from nearedge.streaming.catalog.trouble import REFUSED

logger = logging.getLogger(__name__)

Client: TypeAlias = Container
RAW_SPEC = Spec("CatalogOfBlueskyRuns", version="3.0")
CONFLICT = 409


def connect(
    uri: str, *, api_key: str | None, renewed: Callable[[], str | None] = lambda: None
) -> Client:
    """Return a client of the server at an address such as ``http://127.0.0.1:8000/api/v1``.

    Parameters
    ----------
    uri, api_key
        Address and key.
    renewed
        Returns the key as it is now, or None; asked when the server refuses the present one. The
        call that was refused fails all the same, and the next one has the new key.
    """
    client = from_uri(uri, api_key=api_key)
    http = client.context.http_client

    def heed(response: httpx.Response) -> None:
        if response.status_code in REFUSED and (key := renewed()) not in (
            None,
            client.context.api_key,
        ):
            logger.warning("%s refused the key, which was read anew", uri)
            client.context.api_key = key

    hooks = http.event_hooks
    http.event_hooks = {**hooks, "response": [*hooks["response"], heed]}
    return client


def raw_container(client: Client, path: str) -> Any:
    """Return the container of raw runs, made if it is not there."""
    return container(client, path, specs=[RAW_SPEC])


def results_container(client: Client, path: str) -> Client:
    """Return the container of results, made if it is not there."""
    return container(client, path)


def container(client: Client, path: str, *, specs: list[Spec] | None = None) -> Any:
    """Return the container at a path such as ``"a/b"``; what is missing of it is made.

    Parameters
    ----------
    specs
        The specs of the last container.
    """
    *parents, last = path.strip("/").split("/")
    for name in parents:
        client = _child(client, name)
    return _child(client, last, specs=specs)


def _child(client: Client, name: str, *, specs: list[Spec] | None = None) -> Any:
    if name in client:
        return client[name]
    try:
        return client.create_container(name, specs=specs)
    except ClientError as e:
        if e.response.status_code != CONFLICT:  # another process was quicker
            raise
        return client[name]
