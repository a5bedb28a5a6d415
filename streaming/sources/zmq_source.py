"""Live documents from a Bluesky 0MQ proxy, none of them lost to a slow reader.

Unlike `bluesky.callbacks.zmq.RemoteDispatcher`, the thread that receives does nothing else: frames
are decoded by whoever takes them, so that no work of theirs ever fills 0MQ's own queues, which
drop without a word.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from nearedge.streaming.settings import profile
from nearedge.streaming.settings.curve import ClientKeys, client_keys
from nearedge.streaming.settings.exposure import source_exposure
from nearedge.streaming.sources.buffers import MEGABYTE
from nearedge.streaming.sources.frame_queue import FrameQueue, Interruption, Overflow
from nearedge.streaming.sources.wire import Limits, WireError, decode

logger = logging.getLogger(__name__)

POLL_MS = 100
IDLE_S = 10.0  # after the last document
DRAIN = 200  # frames taken between two looks at the monitor
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _REFUSED
_HARD_LIMIT = 4  # 0MQ closes the connection on a larger message: only far above our own limit


class ZmqSource:
    """A subscriber of a 0MQ proxy.

    Parameters
    ----------
    config
        Address, prefix, serialiser and limits.
    on_bad
        Called with the error for every message that is no document.
    on_gap
        Called when the connection was lost; documents may be missing from here on.
    on_overflow
        Called when documents were discarded since too many were waiting.
    clock
        Monotonic seconds.

    Attributes
    ----------
    ready
        Set while connected: what is published from then on is received.
    received, received_bytes, bad, disconnects, refused
        Counts since the start, the last one of handshakes. See also `overflowed` and
        `waiting_bytes`.

    Notes
    -----
    All three are called within `documents`, between the documents where it happened.
    """

    def __init__(
        self,
        config: profile.ZmqSourceSettings,
        *,
        on_bad: Callable[[WireError], None] | None = None,
        on_gap: Callable[[Interruption], None] | None = None,
        on_overflow: Callable[[Overflow], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._clock = config, clock
        self._heard_at: float | None = None
        self._prefix = config.prefix.encode()
        self._limits = Limits(max_bytes=int(config.max_message_mb * MEGABYTE))
        self._on_bad = on_bad or _log_bad
        self._on_gap = on_gap or _log_gap
        self._on_overflow = on_overflow or _log_overflow
        self._queue = FrameQueue(int(config.queue_mb * MEGABYTE), name_of=self._name_of)
        self._stopping = threading.Event()
        self._starting = threading.RLock()  # a signal handler may stop what is starting
        self._thread: threading.Thread | None = None
        self.ready = threading.Event()
        self.received = self.received_bytes = self.bad = self.disconnects = self.refused = 0

    @property
    def overflowed(self) -> int:
        """Documents discarded since too many were waiting."""
        return self._queue.overflowed

    @property
    def waiting_bytes(self) -> int:
        """Bytes received and not yet decoded."""
        return self._queue.size

    @property
    def silence(self) -> str | None:
        """Why no document comes now: no proxy, no publisher, or nothing to publish."""
        address = self._config.address
        if self.refused and not self.ready.is_set():
            return f"{address} refuses the connection: the keys do not fit"
        if not self.ready.is_set():
            return f"no proxy answers at {address}"
        if self._heard_at is None:
            prefix = f" with the prefix {self._config.prefix!r}" if self._config.prefix else ""
            return f"no publisher heard of at {address}{prefix}"
        idle_s = self._clock() - self._heard_at
        return None if idle_s < IDLE_S else f"idle: the last document came {idle_s:.0f} s ago"

    def start(self) -> None:
        """Connect and receive from now on.

        Raises
        ------
        ValueError
            If the address is none, or is on another machine without what that needs.
        nearedge.streaming.settings.credential.CredentialError
            If the keys of an encrypted connection cannot be used.
        """
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                keys = self._keys()
                sockets = self._connect(zmq.Context(), keys)
                thread = threading.Thread(
                    target=self._receive, args=sockets, name="nearedge-socket", daemon=True
                )
                thread.start()
                self._thread = thread

    def documents(
        self, on_loss: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what is received, decoded here; after `stop` what still waits, and then ends."""
        self.start()
        while (item := self._queue.get()) is not None:
            if isinstance(item, Overflow):
                self._on_overflow(item)
                on_loss()
            elif isinstance(item, Interruption):
                self._on_gap(item)
                on_loss()
            else:
                yield from self._decoded(item)

    def stop(self) -> None:
        """Close the connection; may be called from any thread, and twice."""
        self._stopping.set()
        with self._starting:
            if self._thread is not None:
                self._thread.join()
        self._queue.close()

    def _decoded(self, frame: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            document = decode(
                frame,
                prefix=self._prefix,
                serializer=self._config.serializer,
                limits=self._limits,
            )
        except WireError as e:
            self.bad += 1
            self._on_bad(e)
        else:
            yield document

    def _name_of(self, frame: bytes) -> bytes:
        begin = len(self._prefix) + 1
        return frame[begin : begin + 40].partition(b" ")[0]

    def _keys(self) -> ClientKeys | None:
        if problem := source_exposure(self._config):
            raise ValueError(problem)
        return None if self._config.curve is None else client_keys(self._config.curve)

    def _connect(
        self, context: zmq.Context, keys: ClientKeys | None
    ) -> tuple[zmq.Context, zmq.Socket, zmq.Socket]:
        socket = context.socket(zmq.SUB)
        if keys is not None:
            keys.apply(socket)
        socket.linger = 0
        socket.rcvhwm = 0  # before connecting; 0MQ drops what is beyond it
        socket.maxmsgsize = _HARD_LIMIT * self._limits.max_bytes
        socket.subscribe(self._prefix + b" ")  # filtered by the proxy: other prefixes aren't sent
        monitor = socket.get_monitor_socket(_EVENTS)  # now, or it would miss the connection
        try:
            socket.connect(_endpoint(self._config.address))
        except zmq.ZMQError as e:
            _close(context, socket, monitor)
            raise ValueError(
                f"cannot connect to {self._config.address!r}: {e}; expected host:port"
            ) from e
        return context, socket, monitor

    # ---- what follows runs in the socket thread ----

    def _receive(self, context: zmq.Context, socket: zmq.Socket, monitor: zmq.Socket) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        try:
            while not self._stopping.is_set():
                waiting = dict(poller.poll(POLL_MS))
                if socket in waiting:
                    self._take(socket)
                if monitor in waiting:
                    self._heed(monitor)
        except Exception:
            logger.exception("receiving from %s ended", self._config.address)
        finally:
            self.ready.clear()
            _close(context, socket, monitor)
            self._queue.close()

    def _take(self, socket: zmq.Socket) -> None:
        frames: list[bytes] = []
        try:
            while len(frames) < DRAIN:
                frames.append(b"".join(socket.recv_multipart(zmq.NOBLOCK)))
        except zmq.Again:
            pass
        if frames:
            self._heard_at = self._clock()
        self.received += len(frames)
        self.received_bytes += sum(map(len, frames))
        self._queue.put(frames)

    def _heed(self, monitor: zmq.Socket) -> None:
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            logger.info("connected to %s", self._config.address)
            self.ready.set()
        elif event & _REFUSED:
            self._note_refusal()
        elif self.ready.is_set():
            self.ready.clear()
            self.disconnects += 1
            detail = f"lost the connection to {self._config.address}"
            self._queue.note(Interruption(time=time.time(), detail=detail))

    def _note_refusal(self) -> None:
        self.refused += 1
        if self.refused == 1:  # 0MQ tries again for ever
            logger.error(
                "%s refuses the connection: source.curve and the keys of the proxy do not fit",
                self._config.address,
            )


def _close(context: zmq.Context, socket: zmq.Socket, monitor: zmq.Socket) -> None:
    socket.disable_monitor()
    monitor.close()  # left open it would keep the context from ending
    socket.close()
    context.term()


def _endpoint(address: str) -> str:
    return address if "://" in address else f"tcp://{address}"


def _log_bad(error: WireError) -> None:
    logger.warning("a message was refused: %s", error)


def _log_gap(interruption: Interruption) -> None:
    logger.warning("%s: documents may be missing", interruption.detail)


def _log_overflow(overflow: Overflow) -> None:
    logger.error(
        "%d documents (%d bytes) discarded, too many were waiting: %s",
        *(overflow.documents.total(), overflow.size, dict(overflow.documents)),
    )
