"""A 0MQ socket on which answers and heartbeats are published, in the form that Bluesky reads."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.answers.plain import dump
from nearedge.streaming.ledger.map_row import MapRow
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.service.loop import Loop
from nearedge.streaming.service.notices import (
    Documents,
    heartbeat,
    left_out_notice,
    map_notice,
    partial_notice,
    row_notice,
)
from nearedge.streaming.service.service import Service
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.curve import server_secret
from nearedge.streaming.settings.exposure import bus_exposure

logger = logging.getLogger(__name__)

STOP_S = 1.0


class BusError(ValueError):
    """A bus that cannot be opened."""


class Bus:
    """A publisher; its `row`, `partial`, `left_out` and `map` are listeners of a service.

    Publishing never waits: 0MQ drops what a subscriber is too slow for. The catalog has it all.

    Parameters
    ----------
    settings
        Where, and under which prefix; without an address nothing is published.

    Attributes
    ----------
    address
        Where it publishes, host:port; None when it does not.

    Raises
    ------
    BusError
        If the address cannot be used, or must not be.
    """

    def __init__(self, settings: profile.BusSettings) -> None:
        self.address: str | None = None
        self._prefix = settings.prefix.encode()
        self._lock = threading.Lock()  # a socket is for one thread at a time
        self._socket: zmq.Socket[bytes] | None = None
        self._doorman: ThreadAuthenticator | None = None
        self._context = zmq.Context()
        if settings.address is not None:
            try:
                self._open(settings, settings.address)
            except BaseException:
                self.close()
                raise

    def _open(self, settings: profile.BusSettings, address: str) -> None:
        if problem := bus_exposure(settings):
            raise BusError(problem)
        self._socket = self._context.socket(zmq.PUB)
        self._socket.linger = 0
        if settings.curve is not None:
            self._lock_door(self._socket, settings.curve)
        try:
            self._socket.bind(f"tcp://{address}")
        except zmq.ZMQError as e:
            raise BusError(
                f"cannot publish at bus.address {address}: {e}; another nearedge may run: set it "
                "to another host:port, to port 0 for any that is free, or to null"
            ) from e
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")

    def _lock_door(self, socket: zmq.Socket[bytes], curve: profile.BusKeySettings) -> None:
        secret, clients = server_secret(curve), Path(curve.clients).expanduser()
        if not any(clients.glob("*.key")):
            raise BusError(
                f"found no key (.key) in bus.curve.clients {clients}: nobody could listen"
            )
        self._doorman = ThreadAuthenticator(self._context)
        self._doorman.start()
        self._doorman.configure_curve(location=clients)
        socket.curve_server = True
        socket.curve_secretkey, socket.curve_publickey = secret, zmq.curve_public(secret)

    def row(self, row: Row) -> None:
        """Publish a spectrum that has come to an end."""
        self._send(row_notice(row))

    def partial(
        self,
        measurement: Measurement,
        outcome: NormalisedSpectrum | Rejected,
        inversion: Inversion | None,
    ) -> None:
        """Publish the answer to a spectrum that still grows, when there is one."""
        if inversion is not None and isinstance(outcome, NormalisedSpectrum):
            self._send(partial_notice(measurement, outcome, inversion))

    def left_out(self, run_uid: str, reason: str) -> None:
        """Publish that a run has no spectrum, so that nobody waits for its answer."""
        self._send(left_out_notice(run_uid, reason))

    def map(self, row: MapRow) -> None:
        """Publish how far a map is."""
        self._send(map_notice(row))

    def beat(self, service: Service) -> None:
        """Publish how a service is."""
        self._send(heartbeat(vitals(service)))

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
        if self._doorman is not None:
            self._doorman.stop()
        self._context.term()

    def _send(self, documents: Documents) -> None:
        with self._lock:
            if self._socket is None:
                return
            for name, doc in documents:
                message = b" ".join([self._prefix, name.encode(), dump(doc)])
                self._socket.send(message, zmq.NOBLOCK)


def vitals(service: Service) -> dict[str, str | bool | float]:
    """Return how a service is, in a few numbers."""
    checks = service.checks()
    ready: dict[str, str | bool | float] = {
        "ready": not any(checks.values()),
        "problem": "; ".join(text for text in checks.values() if text),
    }
    try:
        counts = {str(state): n for state, n in service.ledger.backlog.counts().items()}
        return {**ready, "oldest_s": service.ledger.backlog.oldest_age_s() or 0.0, **counts}
    except sqlite3.Error:  # it is told already
        return ready


@contextmanager
def opened_bus(settings: profile.BusSettings) -> Iterator[Bus]:
    """Yield a bus that is closed at the end of the block; errors as for `Bus`."""
    bus = Bus(settings)
    try:
        yield bus
    finally:
        bus.close()


@contextmanager
def beating(bus: Bus, service: Service, *, every_s: float) -> Iterator[None]:
    """Publish heartbeats of a service until the end of the block."""

    def step() -> float:
        bus.beat(service)
        return every_s

    loop = Loop("heartbeat", step, on_error=lambda name: service.metrics.errors.labels(name).inc())
    loop.start()
    try:
        yield
    finally:
        loop.stop()
        loop.join(STOP_S)
