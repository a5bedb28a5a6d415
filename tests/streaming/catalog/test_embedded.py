import asyncio
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text
from tiled.client import from_uri
from tiled.server.connection_pool import open_database_connection_pool
from tiled.server.settings import DatabaseSettings

from nearedge.streaming.catalog.embedded import LOCK_TIMEOUT_S, LOG, embedded_server, server_config


def is_served(uri: str) -> bool:
    try:
        httpx.get(uri, timeout=5)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        pass  # slow, or in the middle of ending
    return True


@pytest.mark.system
def test_what_is_written_is_there_when_the_server_runs_again(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as server:
        assert server.uri.startswith("http://127.0.0.1:")
        assert httpx.get(f"{server.uri}/metadata/").status_code == 401
        assert server.api_key not in repr(server)
        assert server.api_key not in (tmp_path / "tiled.yml").read_text()
        client = from_uri(server.uri, api_key=server.api_key)
        client.create_container("here")
        client.context.http_client.close()
    assert not is_served(server.uri)
    with embedded_server(tmp_path) as again:
        client = from_uri(again.uri, api_key=again.api_key)
        assert list(client) == ["here"]
        client.context.http_client.close()


@pytest.mark.system
def test_nobody_else_may_read_what_it_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    before = os.umask(0)
    try:
        with embedded_server(folder) as server:
            client = from_uri(server.uri, api_key=server.api_key)
            client.write_array(np.arange(3.0), key="array")
            client.context.http_client.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        allowed = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) & ~allowed == 0, path


@pytest.mark.system
def test_it_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import time; from nearedge.streaming.catalog.embedded import embedded_server\n"
        f"with embedded_server({str(tmp_path)!r}) as s: print(s.uri, flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        uri = parent.stdout.readline().decode().strip()
        served = is_served(uri)
        parent.kill()
    assert served
    patience = threading.Event()
    for _ in range(600):
        if not is_served(uri):
            return
        patience.wait(0.1)
    pytest.fail("the server outlived its parent by a minute")


def test_a_server_that_fails_to_start_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("this is no database" * 100)
    with pytest.raises(RuntimeError, match=r"(?s)ended with code.*no.* database"):
        with embedded_server(tmp_path):
            pass
    assert (tmp_path / LOG).exists()


def test_a_server_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"did not start in 0 s"):
        with embedded_server(tmp_path, timeout_s=0):
            pass


def test_only_named_folders_are_readable(tmp_path: Path) -> None:
    args = server_config(tmp_path, readable=[tmp_path / "x" / ".." / "detector"])["trees"][0][
        "args"
    ]
    assert args["readable_storage"] == [str(tmp_path / "detector")]


def test_a_request_waits_for_the_lock_of_the_catalog(tmp_path: Path) -> None:
    (tree,) = server_config(tmp_path)["trees"]
    engine = open_database_connection_pool(DatabaseSettings(uri=tree["args"]["uri"]))

    async def busy_timeout_ms() -> int:
        async with engine.connect() as connection:
            found = (await connection.execute(text("PRAGMA busy_timeout"))).scalar_one()
        await engine.dispose()
        return found

    assert asyncio.run(busy_timeout_ms()) == 1000 * LOCK_TIMEOUT_S
