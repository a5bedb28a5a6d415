"""A Tiled server of one's own, as a child process on the loopback."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from nearedge.streaming.catalog.server_config import ROUTERS, file_extensions, media_types

START_TIMEOUT_S = 90.0  # Tiled imports for 5 s on a fast machine
STOP_TIMEOUT_S = 10.0
KEY_VARIABLE = "TILED_SINGLE_USER_API_KEY"
LOG = "tiled.log"
LOCK_TIMEOUT_S = 60
"""How long a request waits for SQLite's lock: its own 5 s pass on a machine full of other work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running server.

    Attributes
    ----------
    uri
        Its address, for `tiled.client.from_uri`.
    api_key
        The only key that it takes; nobody reads or writes without it.
    directory
        Where catalog, tables and arrays lie.
    """

    uri: str
    api_key: str = field(repr=False)
    directory: Path


def server_config(directory: Path, *, readable: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Return the configuration of a server that keeps everything in one folder.

    Parameters
    ----------
    directory
        The folder of catalog, tables and arrays.
    readable
        Further folders whose files may be registered, of file-writing detectors.
    """
    return {
        "authentication": {"allow_anonymous_access": False},
        "trees": [
            {
                "path": "/",
                "tree": "catalog",
                "args": {
                    "uri": f"sqlite:///{directory / 'catalog.db'}?timeout={LOCK_TIMEOUT_S}",
                    "writable_storage": [
                        str(directory / "data"),
                        f"duckdb:///{directory / 'storage.duckdb'}",
                    ],
                    "readable_storage": [str(Path(p).resolve()) for p in readable],
                    "init_if_not_exists": False,  # it starts an interpreter of its own; see below
                },
            }
        ],
        "media_types": media_types(),
        "file_extensions": file_extensions(),
        "routers": ROUTERS,
    }


@contextmanager
def embedded_server(
    directory: str | Path | None = None,
    *,
    readable: Sequence[str | Path] = (),
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Embedded]:
    """Run a server until the end of the block; it ends with this process, however that ends.

    Parameters
    ----------
    directory
        The folder of its files, made if it is not there; what is in it from before is served again.
        None: a temporary one, removed at the end.
    readable
        Further folders that it may read.
    timeout_s
        How long it may take to start.

    Raises
    ------
    RuntimeError
        If it does not start in time; the text has the end of its log.
    """
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="nearedge-", ignore_cleanup_errors=True) as made:
            with embedded_server(made, readable=readable, timeout_s=timeout_s) as server:
                yield server
        return
    folder = private_folder(Path(directory).expanduser().resolve())
    process, api_key = _start(folder, readable)
    try:
        uri = _await(process, folder, timeout_s)
        yield Embedded(uri=uri, api_key=api_key, directory=folder)
    finally:
        _end(process)


def files_folder(directory: Path) -> Path:
    """Return where files for the server of a folder may be put, for it to read."""
    return directory / "data" / "nearedge"


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter, whatever the umask; return it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    return path


def private_file(path: Path) -> Path:
    """Make a file that only its owner may read, whatever the umask; return it."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path


def _start(folder: Path, readable: Sequence[str | Path]) -> tuple[subprocess.Popen[bytes], str]:
    config = private_file(folder / "tiled.yml")
    config.write_text(yaml.safe_dump(server_config(folder, readable=readable)))
    private_folder(folder / "data")
    (folder / "port").unlink(missing_ok=True)
    api_key = secrets.token_hex(32)
    with private_file(folder / LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "nearedge.streaming.catalog.embedded_main", str(folder)],
            stdin=subprocess.PIPE,  # closed when this process ends: the child ends on that
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, KEY_VARIABLE: api_key},
            start_new_session=True,  # Ctrl-C is for us; the server must outlive our last writes
        )
    return process, api_key


def _await(
    process: subprocess.Popen[bytes],
    folder: Path,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    deadline = clock() + timeout_s
    while clock() < deadline and process.poll() is None:
        port = folder / "port"
        if port.exists() and _healthy(base := f"http://127.0.0.1:{port.read_text()}"):
            return f"{base}/api/v1"
        time.sleep(0.05)
    ended = process.poll()
    process.kill()  # it has nothing to put in order, and heeds nothing before it serves
    tail = (folder / LOG).read_text(errors="replace")[-2000:]
    what = f"did not start in {timeout_s:g} s" if ended is None else f"ended with code {ended}"
    raise RuntimeError(f"the embedded Tiled server {what}; the end of {folder / LOG}:\n{tail}")


def _healthy(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz", timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
