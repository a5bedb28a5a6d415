"""`tiled serve config` of one's own, with the part that nearedge prints for it."""

import csv
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import ase.io
import httpx
import pytest
import yaml

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum
from nearedge.streaming.catalog.connection import connect, results_container
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.results import Provenance, ResultWriter

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

KEY = "a" * 32


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a stock server whose configuration has our part in a file of its own."""
    printed = subprocess.run(
        [sys.executable, "-m", "nearedge.streaming.catalog.server_config"],
        check=True,
        capture_output=True,
        text=True,
    )
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "nearedge.yml").write_text(printed.stdout)
    storage = {"uri": f"sqlite:///{tmp_path / 'catalog.db'}", "init_if_not_exists": True}
    storage["writable_storage"] = [str(tmp_path / "data"), f"duckdb:///{tmp_path / 'tables.db'}"]
    tree = {"path": "/", "tree": "catalog", "args": storage}
    (folder / "tiled.yml").write_text(yaml.safe_dump({"trees": [tree]}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # beside this Python: the environment need not be activated
    tiled = str(Path(sys.executable).with_name("tiled"))
    command = [tiled, "serve", "config", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "tiled.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "TILED_SINGLE_USER_API_KEY": KEY},
            start_new_session=True,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        await_health(base, process, tmp_path / "tiled.log")
        yield f"{base}/api/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_health(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{base}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"`tiled serve config` does not serve: {log.read_text()[-2000:]}")


def test_a_server_of_ones_own_sends_our_forms(
    server: str,
    tmp_path: Path,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> None:
    client = connect(server, api_key=KEY)
    box = results_container(client, "inversions")
    allowed = {"Authorization": f"Apikey {KEY}"}
    for key, files in {"k1": None, "k2": ResultFiles(tmp_path / "data" / "nearedge")}.items():
        by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
        with closing(ResultWriter(box, files=files)) as writer:
            writer.write(key, measurement, spectrum, make_inversion(), provenance=by)
        link = f"{server}/container/full/inversions/{key}?format=xyz"
        answer = httpx.get(link, headers=allowed, trust_env=False)
        assert answer.status_code == 200, answer.text
        frames = ase.io.read(io.StringIO(answer.text), ":", format="extxyz")
        assert len(frames) == 2
        assert frames[0].info["raw_uid"] == "run-1"
    client.context.http_client.close()
    table = server.replace("/api/v1", "/custom/nearedge/trend/inversions")
    answer = httpx.get(table, headers=allowed, trust_env=False)
    assert answer.status_code == 200, answer.text
    row, _ = sorted(csv.DictReader(io.StringIO(answer.text)), key=lambda row: row["key"])
    assert (row["key"], row["run"], row["cn"], row["pressure [GPa]"]) == (
        "k1",
        "run-1",
        "4.25",
        "2.5",
    )
    for closed in (link, table):
        assert httpx.get(closed, trust_env=False).status_code == 401
    missing = table.replace("inversions", "nothing")
    assert httpx.get(missing, headers=allowed, trust_env=False).status_code == 404
