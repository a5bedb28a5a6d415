"""The programs between a session and its answers, as `profiles/deploy` has them."""

import secrets
import socket
import subprocess
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from benchmarks.drill.process import Process, free_port, wait_until
from nearedge.streaming.catalog.connection import connect, raw_container, results_container

START_S = 180.0
STATE = "/var/lib/nearedge-tiled"
"""Where the shipped configuration keeps its data."""
ANSWERS = "/var/lib/nearedge/results"
"""Where it reads the files of results."""
SERVER_CONFIG = "nearedge.streaming.catalog.server_config"


class Programs:
    """A stock proxy and a Tiled server with the shipped configuration; services of them.

    Parameters
    ----------
    folder
        Of all files and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.frames = folder / "frames" / "of-the-beamline"
        self.frames.mkdir(parents=True)
        self.answers = folder / "results"
        self.inward, self.outward, port = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.key, self.uri = secrets.token_hex(32), f"http://{port}/api/v1"
        self._running: list[Process] = []
        try:
            self._start_all(port)
        except BaseException:
            self.close()
            raise
        self.client: Any = connect(self.uri, api_key=self.key)

    def _start_all(self, port: str) -> None:
        self._start(
            "proxy",
            "bluesky-0MQ-proxy",
            ["--in-address", self.inward, "--out-address", self.outward],
        )
        self._start(
            "tiled",
            "tiled",
            [
                "serve",
                "config",
                str(self._configure()),
                "--host",
                "127.0.0.1",
                "--port",
                port.rpartition(":")[2],
            ],
            TILED_SINGLE_USER_API_KEY=self.key,
        )
        for what, address in (("the proxy", self.inward), ("Tiled", port)):
            wait_until(what, lambda address=address: listens(address), timeout_s=START_S)

    def _configure(self) -> Path:
        """Write the shipped configuration; only its folders are others."""
        config = self.folder / "tiled-config"
        for made in (config, self.folder / "tiled" / "data", self.answers):
            made.mkdir(parents=True)
        shipped = (files("nearedge.profiles.deploy") / "tiled.yaml").read_text()
        moved = shipped.replace(STATE, str(self.folder / "tiled")).replace(
            ANSWERS, str(self.answers)
        )
        written = yaml.safe_load(moved)
        written["trees"][0]["args"]["readable_storage"].append(str(self.frames))
        (config / "tiled.yaml").write_text(yaml.safe_dump(written))
        printed = subprocess.check_output([sys.executable, "-m", SERVER_CONFIG])
        (config / "nearedge.yaml").write_bytes(printed)
        return config

    def _start(self, name: str, program: str, arguments: list[str], **environment: str) -> Process:
        process = Process(
            [*entry(program), *arguments], log=self.folder / f"{name}.log", environment=environment
        )
        self._running.append(process)
        return process

    def raw(self, name: str) -> Any:
        """Return the container of a profile's raw runs."""
        return raw_container(self.client, f"raw-{name}")

    def results(self, name: str) -> Any:
        """Return the container of a profile's results."""
        return results_container(self.client, f"inversions-{name}")

    def close(self) -> None:
        """End all of them."""
        for process in reversed(self._running):
            process.kill()


class Service:
    """`nearedge run` with a shipped profile and what differs from it."""

    def __init__(
        self, programs: Programs, name: str, *, shipped: str, instrument: dict[str, Any]
    ) -> None:
        self.name = name
        self.page, self.bus = free_port(), f"127.0.0.1:{free_port()}"
        self._programs, self._shipped = programs, shipped
        self._profile = programs.folder / f"{name}.yaml"
        roots = {"readable_roots": [str(programs.frames)]}
        self._profile.write_text(
            yaml.safe_dump(
                {
                    "source": {"address": programs.outward, "prefix": name},
                    "catalog": {
                        "uri": programs.uri,
                        "raw": f"raw-{name}",
                        "results": f"inversions-{name}",
                        "files": str(programs.answers),
                    },
                    "instrument": {"absorber": "Si", **roots, **instrument},
                    "worker": {"device": "cpu", "threads": 1, "samples": 4, "quality": "fast"},
                    "service": {
                        "ledger": str(programs.folder / f"{name}.sqlite"),
                        "page_port": self.page,
                        "run_silent_s": 20.0,
                        "backfill_wait_s": 25.0,
                        "catch_up_every_s": 3.0,
                    },
                    "bus": {"address": self.bus},
                }
            )
        )

    def start(self) -> None:
        """Start it and wait until it is ready."""
        arguments = ["run", "-c", self._shipped, "-c", str(self._profile)]
        self.process = Process(
            ["-m", "nearedge.streaming", *arguments],
            log=self._programs.folder / f"{self.name}.log",
            environment={"TILED_API_KEY": self._programs.key},
        )
        wait_until("the service", self._is_ready, timeout_s=START_S)

    def _is_ready(self) -> bool:
        if not self.process.alive:
            raise RuntimeError(f"the service ended:\n{self.process.log.read_text()[-3000:]}")
        return "nearedge_documents_total" in self.metrics()

    def metrics(self) -> str:
        """Return its metrics; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/metrics", timeout=5) as page:
                return str(page.read().decode())
        except OSError:
            return ""


def listens(address: str) -> bool:
    """Return whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


def entry(program: str) -> list[str]:
    """Return what runs a program as its script does, with the interpreter of this one."""
    module = {
        "bluesky-0MQ-proxy": "bluesky.commandline.zmq_proxy",
        "tiled": "tiled.commandline.main",
    }[program]
    return ["-c", f"import sys; from {module} import main; sys.argv[0] = {program!r}; main()"]
