"""A proxy, a Tiled server and a service in processes that a drill may kill."""

import json
import secrets
import shutil
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from bluesky.callbacks.zmq import Publisher

from benchmarks.drill.audit import Audit, audit
from benchmarks.drill.process import Process, ended_cpu_s, free_port, wait_until, worker_of
from nearedge.sim.beamline import RawStore
from nearedge.sim.hostile import serialise
from nearedge.streaming.catalog.connection import connect, raw_container, results_container
from nearedge.streaming.catalog.embedded import KEY_VARIABLE

START_S = 180.0
PACE_S = 0.0005  # between documents: a burst of more than 1000 would be cut by 0MQ itself
HEARD = 'nearedge_documents_total{name="start"}'


class Base:
    """Proxy and Tiled server, for all drills.

    Parameters
    ----------
    folder
        Of all files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inward, self.outward, self._port = (free_port() for _ in range(3))
        self.key = secrets.token_hex(32)
        self.uri = f"http://127.0.0.1:{self._port}/api/v1"
        self._tiled_folder = folder / "tiled"
        self._tiled_folder.mkdir()
        self.start_proxy()
        self.start_tiled()
        self.await_tiled()
        self.client: Any = connect(self.uri, api_key=self.key)

    def start_proxy(self) -> None:
        """Run a stock proxy at the same ports as before."""
        code = (
            "from bluesky.callbacks.zmq import Proxy; "
            f"Proxy('127.0.0.1:{self.inward}', '127.0.0.1:{self.outward}').start()"
        )
        self.proxy = Process(["-c", code], log=self.folder / "proxy.log")
        wait_until("the proxy", lambda: _listens(self.inward), timeout_s=START_S)

    def start_tiled(self) -> None:
        """Run a server at the same port as before, with what it stored before."""
        self.tiled = Process(
            ["-m", "benchmarks.drill.tiled_server", str(self._tiled_folder), str(self._port)],
            log=self.folder / "tiled.log",
            environment={KEY_VARIABLE: self.key},
        )

    def await_tiled(self) -> None:
        """Wait until the server serves."""
        wait_until("Tiled", lambda: _listens(self._port), timeout_s=START_S)

    @contextmanager
    def tiled_trouble(self, **trouble: Any) -> Iterator[None]:
        """Make the server's calls slow, or fail, until the end of the block.

        Parameters
        ----------
        trouble
            ``share`` of the calls that fail, ``statuses`` that they fail with, ``delay_s`` of all.
        """
        switch = self._tiled_folder / "trouble.json"
        switch.write_text(json.dumps(trouble))
        try:
            yield
        finally:
            switch.unlink()

    def close(self) -> None:
        """End both."""
        self.tiled.kill()
        self.proxy.kill()


class Stand:
    """A service of its own for one drill, and what sends to it.

    Parameters
    ----------
    base
        Proxy and server.
    name
        Of the drill, hence of its folder and containers.
    settings
        Changes of the profile, by section.
    """

    def __init__(self, base: Base, name: str, **settings: dict[str, Any]) -> None:
        self.base, self.name = base, name
        self.folder = base.folder / name
        self.folder.mkdir(parents=True)
        self.ledger = Path(settings.get("service", {}).get("ledger", self.folder / "ledger.sqlite"))
        self.page = free_port()
        profile = _merged(self._profile(), settings)
        self._profile_path = self.folder / "profile.yaml"
        self._profile_path.write_text(yaml.safe_dump(profile))
        self.raw = raw_container(base.client, profile["catalog"]["raw"])
        self.results = results_container(base.client, profile["catalog"]["results"])
        self._prefix = profile["source"]["prefix"].encode()
        self.publisher: Any = Publisher(f"127.0.0.1:{base.inward}", prefix=self._prefix)
        self._store: RawStore | None = None
        self.sent: set[str] = set()
        self.service: Process | None = None
        self.stops: list[tuple[int, float]] = []

    def _profile(self) -> dict[str, Any]:
        return {
            "title": f"drill: {self.name}",
            "instrument": {"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}},
            "source": {"address": f"127.0.0.1:{self.base.outward}", "prefix": self.name},
            "catalog": {
                "uri": self.base.uri,
                "raw": f"raw-{self.name}",
                "results": f"results-{self.name}",
            },
            "worker": {"device": "cpu", "threads": 1, "samples": 4, "quality": "fast"},
            "service": {
                "ledger": str(self.ledger),
                "page_port": self.page,
                "backfill_wait_s": 20.0,
                "catch_up_every_s": 3.0,
            },
            "bus": {"address": "127.0.0.1:0"},
        }

    # -- the service --------------------------------------------------------------------------

    def start(self, *, clock: Path | None = None, nice: int = 0) -> None:
        """Start the service and wait until it hears the publisher.

        Parameters
        ----------
        clock
            File with the seconds by which its wall clock is wrong.
        nice
            By how much everything else of the machine comes before it.
        """
        head = (
            ["-m", "nearedge.streaming"]
            if clock is None
            else ["-m", "benchmarks.drill.jumping_service", str(clock)]
        )
        self.service = Process(
            [*head, "run", "-c", str(self._profile_path)],
            log=self.folder / "service.log",
            environment={"TILED_API_KEY": self.base.key},
            nice=nice,
        )
        wait_until("the service", self._is_up, timeout_s=START_S)
        self.await_heard()

    def _is_up(self) -> bool:
        if self.service is None or not self.service.alive:
            log = (self.folder / "service.log").read_text(errors="replace")
            raise RuntimeError(f"the service ended:\n{log[-3000:]}")
        return bool(self.metrics())

    def kill(self) -> None:
        """End the service as a crash does."""
        assert self.service is not None
        self.service.kill()

    def stop(self) -> None:
        """Stop the service as a supervisor does, and note how it went."""
        assert self.service is not None
        if self.service.alive:
            self.stops.append(self.service.stop())

    def worker(self) -> int | None:
        """Return the worker's process number."""
        return None if self.service is None else worker_of(self.service.pid)

    def metrics(self) -> dict[str, float]:
        """Return the service's metrics; empty when it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.page}/metrics", timeout=5
            ) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def metric(self, prefix: str) -> float | None:
        """Return the sum of the metrics that begin so; None when the service does not answer."""
        found = self.metrics()
        return sum(v for k, v in found.items() if k.startswith(prefix)) if found else None

    def replay(self) -> tuple[str, float, float]:
        """Replay all stored runs as a user does.

        Returns what that said, its seconds, and its seconds of processor time.
        """
        log = self.folder / "replay.log"
        log.unlink(missing_ok=True)
        began, used = time.monotonic(), ended_cpu_s()
        process = Process(
            ["-m", "nearedge.streaming", "replay", "-c", str(self._profile_path)],
            log=log,
            environment={"TILED_API_KEY": self.base.key},
        )
        wait_until("the replay", lambda: not process.alive, timeout_s=3600.0)
        seconds, cpu_s = time.monotonic() - began, ended_cpu_s() - used
        return log.read_text().splitlines()[-1], seconds, cpu_s

    # -- the ledger ---------------------------------------------------------------------------

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Return what the ledger says; nothing when it is not there or busy."""
        try:
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                return db.execute(text).fetchall()
        except sqlite3.Error:
            return []

    def states(self) -> dict[str, int]:
        """Return the number of spectra in each state."""
        return dict(self.query("SELECT state, COUNT(*) FROM spectra GROUP BY state"))  # type: ignore[arg-type]

    def ended(self) -> int:
        """Return how many spectra of the ledger are complete or rejected."""
        states = self.states()
        return states.get("complete", 0) + states.get("rejected", 0)

    # -- sending ------------------------------------------------------------------------------

    @property
    def store(self) -> RawStore:
        """What writes raw runs to the catalog, as the acquisition does."""
        if self._store is None:
            self._store = RawStore(self.raw, backup=self.folder / "backup")
        return self._store

    def await_heard(self) -> None:
        """Publish until the service hears it: a publisher cannot tell when it is connected."""
        before = self.metric(HEARD) or 0.0

        def heard() -> bool:
            self._probe()
            return (self.metric(HEARD) or 0.0) > before

        wait_until("a document", heard, timeout_s=60.0)

    def _probe(self) -> None:
        self.publisher("start", {"uid": "probe", "time": 0.0})
        self.publisher("stop", {"uid": "end", "run_start": "probe", "time": 0.0})

    def send_frame(self, frame: bytes) -> None:
        """Publish bytes that may be no document; the prefix is put before them."""
        self.publisher._socket.send(self._prefix + frame)  # noqa: SLF001 - it has no other way
        time.sleep(PACE_S)

    def publish_lax(self, *documents: tuple[str, dict[str, Any]]) -> None:
        """Publish documents that no publisher would: as pickles, of any content."""
        for name, doc in documents:
            self.send_frame(serialise(name, doc))

    def await_quiet(self) -> str:
        """Wait until all that was sent has been decoded; return how many were refused, and why."""
        seen = [-1.0, -2.0]

        def quiet() -> bool:
            seen.append(self.metric("nearedge_documents_total") or 0.0)
            time.sleep(1.0)
            return seen[-1] == seen[-2] == seen[-3]

        wait_until("quiet", quiet, timeout_s=300.0)
        found = self.metrics()
        used = sum(v for k, v in found.items() if k.startswith("nearedge_documents_total"))
        discarded = sum(v for k, v in found.items() if k.startswith("nearedge_discarded_total"))
        raised = sum(v for k, v in found.items() if k.startswith("nearedge_bad_documents_total"))
        return f"{used:.0f} documents decoded, {discarded:.0f} not used, {raised:.0f} raised"

    def publish(self, *documents: tuple[str, dict[str, Any]]) -> None:
        """Publish documents as they are."""
        for name, doc in documents:
            self.publisher(name, doc)
            time.sleep(PACE_S)

    def keep(self, *documents: tuple[str, dict[str, Any]]) -> None:
        """Store documents in the catalog of raw runs; this returns at once."""
        for name, doc in documents:
            self.store(name, doc)

    def stored(self) -> None:
        """Wait until the catalog has what was stored."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # -- the end ------------------------------------------------------------------------------

    def settle(self, *, timeout_s: float) -> Audit:
        """Wait until everything that was sent has come to its end, stop, and count.

        What does not end in time is counted as it is.
        """
        self.stored()
        self.await_settled(timeout_s=timeout_s)
        alive = self.service is not None and self.service.alive
        self.stop()
        return audit(self.results, self.sent, alive=alive, stops=self.stops)

    def await_settled(self, *, timeout_s: float) -> None:
        """Wait until everything that was sent has come to its end, or the time is over."""
        try:
            wait_until("the end", self._is_settled, timeout_s=timeout_s)
        except TimeoutError as e:
            print(f"  {self.name}: {e}; the ledger has {self.states()}", flush=True)

    def _is_settled(self) -> bool:
        marks = ", ".join(f"'{uid}'" for uid in self.sent)
        # of what a new ledger has learned from the catalog it knows the key, not the run
        done = self.query(
            "SELECT COUNT(DISTINCT CASE run_uid WHEN '' THEN key ELSE run_uid END) FROM spectra "
            f"WHERE state IN ('complete', 'rejected') AND run_uid IN ('', {marks})"
        )
        unsettled = self.query(
            "SELECT COUNT(*) FROM spectra WHERE state NOT IN ('complete', 'rejected', 'failed')"
        )
        return bool(done and unsettled and done[0][0] >= len(self.sent) and unsettled[0][0] == 0)

    def close(self) -> None:
        """End what still runs."""
        self.publisher.close()
        if self.service is not None and self.service.alive:
            self.service.signal(signal.SIGCONT)
            self.service.kill()


def _merged(base: dict[str, Any], changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {k: {**v, **changes.get(k, {})} if isinstance(v, dict) else v for k, v in base.items()}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Keep everybody else from a ledger until the end of the block."""
    with closing(sqlite3.connect(ledger, isolation_level=None, timeout=30)) as db:
        db.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            db.execute("ROLLBACK")


def emptied(folder: Path) -> Path:
    """Return the folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
