"""Trying out a server, and a key that changes while it is used."""

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiled.client.utils import ClientError

from nearedge.streaming.catalog.connection import connect, raw_container
from nearedge.streaming.catalog.embedded import Embedded, embedded_server, files_folder
from nearedge.streaming.catalog.probe import Weight, findings
from nearedge.streaming.commands.opening import Server, client_of
from nearedge.streaming.settings.profile import CatalogSettings

pytestmark = pytest.mark.system
REQUEST = httpx.Request("POST", "http://127.0.0.1:8000/api/v1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with embedded_server(tmp_path_factory.mktemp("catalog")) as server:
        yield server


@pytest.fixture
def clients(server: Embedded) -> Iterator[Callable[..., Any]]:
    made = []

    def client(key: str = server.api_key, **options: Any) -> Any:
        made.append(connect(server.uri, api_key=key, **options))
        return made[-1]

    yield client
    for one in made:
        one.context.http_client.close()


def catalog_at(server: Embedded, **settings: str) -> CatalogSettings:
    return CatalogSettings.model_validate({"uri": server.uri, **settings})


def test_a_server_that_can_be_used_says_so_and_keeps_nothing(
    server: Embedded, clients: Callable[..., Any]
) -> None:
    client = clients()
    raw_container(client, "raw")
    before = list(client)
    (found,) = findings(catalog_at(server), lambda: client)
    assert (found.weight, "'inversions'" in found.text) == (Weight.GOOD, True)
    assert list(client) == before


def test_what_a_server_lacks_is_told(server: Embedded, clients: Callable[..., Any]) -> None:
    client = clients()
    (hint, good) = findings(catalog_at(server, raw="nowhere/yet"), lambda: client)
    assert (hint.weight, good.weight) == (Weight.HINT, Weight.GOOD)
    assert "'nowhere/yet'" in hint.text
    client.context.server_info.formats.pop("BlueskyRun")
    (hint, _) = findings(catalog_at(server), lambda: client)
    assert "json_seq_exporter" in hint.text


def test_a_folder_for_results_is_tried(
    server: Embedded, clients: Callable[..., Any], tmp_path: Path
) -> None:
    client, read = clients(), files_folder(server.directory)
    before = list(client)
    for folder, weight in {read: Weight.GOOD, tmp_path: Weight.ERROR}.items():
        *_, found = findings(catalog_at(server, files=str(folder)), lambda: client)
        assert (found.weight, str(folder) in found.text) == (weight, True)
        assert list(folder.iterdir()) == []
    assert "readable_storage" in found.text
    assert list(client) == before


def test_a_key_that_is_wrong_or_may_not_write_is_an_error(
    server: Embedded, clients: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():  # Tiled leaves the connection open when it is refused
        warnings.simplefilter("ignore", ResourceWarning)
        (found,) = findings(catalog_at(server), lambda: clients("wrong"))
        gc.collect()
    assert found.weight is Weight.ERROR
    assert "TILED_API_KEY" in found.text
    client = clients()

    def forbidden(*args: Any, **options: Any) -> None:
        raise ClientError("403: Not enough permissions", REQUEST, httpx.Response(403))

    monkeypatch.setattr(type(client), "create_container", forbidden)
    *_, found = findings(catalog_at(server), lambda: client)
    assert found.weight is Weight.ERROR
    assert "cannot be written" in found.text


def test_a_server_that_is_away_is_a_warning_with_its_address() -> None:
    catalog = CatalogSettings.model_validate({"uri": "http://127.0.0.1:1/api/v1"})

    def away() -> None:
        raise httpx.ConnectError("refused", request=httpx.Request("GET", "http://127.0.0.1:1/x"))

    (found,) = findings(catalog, away)  # type: ignore[arg-type]
    assert found.weight is Weight.WARNING
    assert "http://127.0.0.1:1" in found.text


def test_a_key_that_was_changed_is_read_anew(
    server: Embedded, clients: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(server.api_key)
    client = clients(renewed=file.read_text)
    client.context.api_key = "expired"
    with pytest.raises(ClientError, match="401"):
        list(client)
    list(client)
    assert client.context.api_key == server.api_key


def test_a_service_connects_with_the_key_as_it_is_now(server: Embedded) -> None:
    stale = Server(uri=server.uri, api_key="expired", renewed=lambda: server.api_key)
    client = client_of(stale)
    list(client)
    client.context.http_client.close()
