"""Try out a Tiled server before it is needed: reading, writing, queries and formats."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tiled.client.utils import ClientError, handle_error
from tiled.structures.core import StructureFamily

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.raw_runs import ENDED, is_unsupported
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.server_config import DOCUMENTS
from nearedge.streaming.catalog.trouble import REFUSED, in_words, told
from nearedge.streaming.settings.profile import CatalogSettings


class Weight(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found out about a server, and what to do about it."""

    weight: Weight
    text: str


def findings(catalog: CatalogSettings, connect: Callable[[], Client]) -> Iterator[Finding]:
    """Yield what was found out, worst first where one thing rules out the next.

    A container is made where results go, and removed at once.

    Parameters
    ----------
    catalog
        Names the server and its containers.
    connect
        Returns a client of the server.
    """
    try:
        client = connect()
    except Exception as e:  # whatever a server, a proxy before it, or Tiled's own code raises
        yield _unreachable(catalog, e)
        return
    try:
        yield from _readable(catalog, client)
        yield (written := _writable(catalog, client))
        if catalog.files is not None and written.weight is Weight.GOOD:
            yield _filed(catalog, client, Path(catalog.files).expanduser())
    except httpx.HTTPError as e:
        yield Finding(weight=Weight.ERROR, text=f"the catalog cannot be used: {told(e)}")


def _unreachable(catalog: CatalogSettings, error: Exception) -> Finding:
    place = catalog.api_key_file or f"the environment variable {catalog.api_key_env}"
    if isinstance(error, httpx.TransportError):
        text = f"no Tiled server answers at {catalog.uri} now ({told(error)}): answers would wait"
        return Finding(weight=Weight.WARNING, text=text)
    return Finding(
        weight=Weight.ERROR,
        text=f"{catalog.uri} cannot be opened: {in_words(error)}; the key is taken from {place}",
    )


def _readable(catalog: CatalogSettings, client: Client) -> Iterator[Finding]:
    raw, left = _nearest(client, catalog.raw)
    if left:
        yield Finding(
            weight=Weight.HINT,
            text=f"there is no container of raw runs {catalog.raw!r} yet: gaps and missed runs "
            "cannot be fetched before acquisition stores its runs there (catalog.raw)",
        )
        return
    try:
        list(raw.search(ENDED).sort(("start.time", 1)).keys()[:1])
    except ClientError as e:
        if not is_unsupported(e):
            raise
        yield Finding(
            weight=Weight.HINT,
            text=f"the server cannot be asked for the runs that have ended ({e}): all of them are "
            "looked through each time; set service.catch_up_every_s to 0 if that takes long",
        )
        return  # databroker's gives documents in a way of its own
    if "application/json-seq" not in client.context.server_info.formats.get("BlueskyRun", ()):
        yield Finding(
            weight=Weight.HINT,
            text="the server cannot export runs: their tables are read instead, which is slower; "
            "add to its media_types BlueskyRun: application/json-seq: "
            f"{DOCUMENTS['application/json-seq']}",
        )


def _writable(catalog: CatalogSettings, client: Client) -> Finding:
    box, left = _nearest(client, catalog.results)
    where = f"{catalog.results!r} at {catalog.uri}"
    name = f"nearedge-check-{uuid.uuid4().hex[:12]}"
    try:
        box.create_container(name)
        box.delete_contents([name], recursive=True, external_only=False)
    except ClientError as e:
        if e.response.status_code in (*REFUSED, HTTPStatus.METHOD_NOT_ALLOWED):
            return Finding(
                weight=Weight.ERROR,
                text=f"results cannot be written to {where}: {told(e)}; expected a key that may "
                "read, create, write and delete nodes, and a container that lies in a catalog",
            )
        raise
    made = "" if not left else f", where {left!r} is made at the first"
    return Finding(weight=Weight.GOOD, text=f"results can be written to {where}{made}")


def _filed(catalog: CatalogSettings, client: Client, folder: Path) -> Finding:
    """Put a file into the folder, and read it through the server; both go again."""
    box, _ = _nearest(client, catalog.results)
    name, files = f"nearedge-check-{uuid.uuid4().hex[:12]}", ResultFiles(folder)
    remedy = (
        f"give nearedge the right to write there, and Tiled to read it, and put {folder} among "
        "readable_storage of the server's configuration; or unset catalog.files"
    )
    try:
        source = files.write(name, {"trial": np.ones(2)})
        try:
            box.new(StructureFamily.container, [source], key=name, metadata={}, specs=[])
            place = f"{box.uri.rstrip('/')}/{name}/trial"  # Tiled's client would try for long
            handle_error(client.context.http_client.get(place))
        finally:
            if name in box:
                files.remove(box, name)
    except (ClientError, httpx.HTTPStatusError, KeyError, OSError) as e:
        return Finding(
            weight=Weight.ERROR,
            text=f"results cannot be put into {folder} (catalog.files): {told(e)}; {remedy}",
        )
    return Finding(weight=Weight.GOOD, text=f"the server reads what is put into {folder}")


def _nearest(client: Client, path: str) -> tuple[Any, str]:
    """Return the deepest container of a path that is there, and what is missing of the path."""
    names = path.strip("/").split("/")
    while names and names[0] in client:
        client = client[names.pop(0)]
    return client, "/".join(names)
