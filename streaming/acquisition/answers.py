"""The answers that a service publishes, heard by a thread of a session."""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import zmq
import zmq.auth

from nearedge.streaming.acquisition.answer import LEFT_OUT, TIMEOUT, LiveAnswer, answer_from

logger = logging.getLogger(__name__)

POLL_MS = 50
SILENT_S = 15.0  # a service that sent no heartbeat for so long is gone
REMEMBERED = 256  # runs whose newest answer is kept


OnTimeout = Literal["fail", "record"]


class NoAnswerError(TimeoutError):
    """No answer to a run came in time."""


class CurveConfig(Protocol):
    """The keys of an encrypted bus: `bluesky.callbacks.zmq.ClientCurve` is one."""

    secret_path: Any
    server_public_key: Any


@dataclass(frozen=True, slots=True)
class _Wait:
    """Somebody waits for the answer to a run."""

    run_uid: str
    timeout_s: float
    deadline: float
    on_timeout: OnTimeout
    future: Future[LiveAnswer]


class Answers:
    """Hears what the service publishes, in a thread of its own, until it is closed.

    Subscribe `follow` to the RunEngine, and it knows which run has just ended.

    Parameters
    ----------
    address, prefix
        Where the service publishes, and under which prefix: ``bus`` of its profile.
    curve
        The keys, where the bus is encrypted.
    clock
        Monotonic seconds.

    Attributes
    ----------
    address
        Where it listens.
    newest
        The answer to the run that began last, of those answered; one without status before the
        first.
    heard
        Set once anything of the service has been heard.
    ready, problem
        Whether the service takes spectra and inverts them, as its last heartbeat says, and why
        not.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:5579",
        *,
        prefix: bytes = b"nearedge",
        curve: CurveConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address, self._prefix, self._clock = address, prefix, clock
        self.newest, self.heard = LiveAnswer(), threading.Event()
        self.ready, self.problem = False, f"nothing was heard at {address}"
        self._listeners: list[Callable[[LiveAnswer], None]] = []
        self._watchers: list[Callable[[bool], None]] = []
        self._by_run: OrderedDict[str, LiveAnswer] = OrderedDict()
        self._waits: list[_Wait] = []
        self._session, self._lock = _Session(), threading.RLock()
        self._start: Mapping[str, Any] = {}
        self._descriptor: Mapping[str, Any] = {}
        self._beaten_at = float("-inf")
        self._closing = threading.Event()
        self._context, self._socket = _connected(address, prefix, curve)
        self._thread = threading.Thread(target=self._listen, name="nearedge-answers", daemon=True)
        self._thread.start()

    def subscribe(self, listener: Callable[[LiveAnswer], None]) -> None:
        """Call a function with every new `newest`, in the thread that hears it."""
        self._listeners.append(listener)

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call a function with `ready` whenever it changes, in the thread that hears it."""
        self._watchers.append(watcher)

    def follow(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take the documents of a session's RunEngine: ``RE.subscribe(answers.follow)``."""
        with self._lock:
            self._session.take(name, doc)

    def to(self, run_uid: str) -> LiveAnswer | None:
        """Return the newest answer to a run, or None; this never waits."""
        with self._lock:
            return self._by_run.get(run_uid)

    def expect(
        self, timeout_s: float, *, reader: str = "", on_timeout: OnTimeout = "fail"
    ) -> Future[LiveAnswer]:
        """Return what will be the answer to the run that has just ended.

        It is there at once where that run is answered, and where none has ended; then it is the
        newest. Of a run that scanned no energy the answer is one without numbers.

        Parameters
        ----------
        timeout_s
            How long to wait.
        reader
            Name of the device that asks: runs that read it are not waited for.
        on_timeout
            ``fail``: the future raises then. ``record``: it gives an answer of status ``timeout``
            that says why, and has no numbers.

        Raises
        ------
        RuntimeError
            If it follows no RunEngine, and so cannot know which run has ended.
        NoAnswerError
            In the future, with what is known of the service.
        """
        with self._lock:
            uid = self._session.take_ended(reader)
            future: Future[LiveAnswer] = Future()
            future.set_running_or_notify_cancel()  # whoever waits no longer does no harm
            answer = self._by_run.get(uid) if uid else self.newest
            if uid and (answer is None or not answer.is_last):
                deadline = self._clock() + timeout_s
                self._waits.append(_Wait(uid, timeout_s, deadline, on_timeout, future))
            elif answer is not None:
                future.set_result(self._shown(answer))
            return future

    def close(self) -> None:
        """Stop listening; whoever still waits is told."""
        self._closing.set()
        self._thread.join()

    # ---- what follows runs in the thread ----

    def _listen(self) -> None:
        try:
            while not self._closing.is_set():
                if self._socket.poll(POLL_MS):
                    self._hear(self._socket.recv())
                self._tend(self._clock())
        finally:
            self._socket.close()
            self._context.term()
            self._give_up("the session listens no more")

    def _hear(self, message: bytes) -> None:
        try:
            name, payload = message[len(self._prefix) + 1 :].split(b" ", 1)
            self._take(name.decode(), json.loads(payload))
        except Exception:  # of another version of the service, say
            logger.exception("a message at %s was not understood: %.80r", self.address, message)

    def _take(self, name: str, doc: Mapping[str, Any]) -> None:
        self.heard.set()
        if name == "start":
            self._start, self._descriptor = doc, {}
        elif name == "descriptor" and doc["run_start"] == self._start.get("uid"):
            self._descriptor = doc
        elif name == "event" and doc["descriptor"] == self._descriptor.get("uid"):
            if self._descriptor.get("name") == "heartbeat":
                self._beat(doc["data"])
            else:
                self._answer(answer_from(self._start, doc))

    def _beat(self, data: Mapping[str, Any]) -> None:
        self._beaten_at = self._clock()
        self._note(bool(data["ready"]), str(data["problem"]))

    def _answer(self, answer: LiveAnswer) -> None:
        with self._lock:
            self._by_run[answer.raw_uid] = answer
            self._by_run.move_to_end(answer.raw_uid)
            while len(self._by_run) > REMEMBERED:
                self._by_run.popitem(last=False)
            if answer.status != LEFT_OUT and answer.raw_time >= self.newest.raw_time:
                self._show(answer)
            if answer.is_last:
                self._resolve(answer)

    def _show(self, answer: LiveAnswer) -> None:
        self.newest = answer
        for listener in self._listeners:
            listener(answer)

    def _shown(self, answer: LiveAnswer) -> LiveAnswer:
        """Return an answer that somebody waited for, once it is the one that is shown."""
        if answer is not self.newest:
            self._show(answer)
        return answer

    def _resolve(self, answer: LiveAnswer) -> None:
        for wait in [one for one in self._waits if one.run_uid == answer.raw_uid]:
            self._waits.remove(wait)
            wait.future.set_result(self._shown(answer))

    def _tend(self, now: float) -> None:
        if self.ready and now - self._beaten_at > SILENT_S:
            self._note(False, f"silent for {SILENT_S:.0f} s at {self.address}")
        with self._lock:
            for wait in [one for one in self._waits if now >= one.deadline]:
                self._waits.remove(wait)
                self._end(wait, self._lateness(wait))

    def _note(self, ready: bool, problem: str) -> None:
        changed, self.ready, self.problem = ready != self.ready, ready, problem
        if changed:
            for watcher in self._watchers:
                watcher(ready)

    def _end(self, wait: _Wait, why: str) -> None:
        """End a wait that has no answer."""
        logger.warning("%s", why)
        if wait.on_timeout == "fail":
            wait.future.set_exception(NoAnswerError(why))
            return
        none = LiveAnswer(
            status=TIMEOUT,
            raw_uid=wait.run_uid,
            raw_time=self.newest.raw_time,  # what comes late takes its place
            detail=why,
            time=time.time(),
        )
        wait.future.set_result(self._shown(none))

    def _give_up(self, why: str) -> None:
        with self._lock:
            for wait in self._waits:
                self._end(wait, f"no answer to run {wait.run_uid}: {why}")
            self._waits.clear()

    def _lateness(self, wait: _Wait) -> str:
        text = f"no answer to run {wait.run_uid} within {wait.timeout_s:g} s"
        if not self.heard.is_set():
            return (
                f"{text}: nothing was heard at {self.address}; start `nearedge run`, or give "
                "the device the bus.address of its profile"
            )
        if not self.ready:
            return f"{text}: the service is not ready: {self.problem}"
        return f"{text}: the service is ready; ask it with `nearedge status`, or wait longer"


class _Session:
    """Which run of a RunEngine ended last, and has not been waited for."""

    def __init__(self) -> None:
        self._follows = False
        self._ended: str | None = None
        self._own: set[str] = set()  # names of devices that ask
        self._read: dict[str, set[str]] = {}  # names of the devices read in runs that are open

    def take(self, name: str, doc: Mapping[str, Any]) -> None:
        self._follows = True
        if name == "start":
            self._read[doc["uid"]] = set()
        elif name == "descriptor":
            self._read.setdefault(doc["run_start"], set()).update(doc.get("object_keys", ()))
        elif name == "stop" and not self._read.pop(doc["run_start"], set()) & self._own:
            self._ended = doc["run_start"]

    def take_ended(self, reader: str) -> str | None:
        if not self._follows:
            raise RuntimeError(
                "it follows no RunEngine, and so cannot know which run has ended: "
                f"RE.subscribe({reader or 'nearedge'}.follow)"
            )
        self._own.add(reader)
        ended, self._ended = self._ended, None
        return ended


def _connected(
    address: str, prefix: bytes, curve: CurveConfig | None
) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    if curve is not None:
        public, secret = zmq.auth.load_certificate(curve.secret_path)
        server, _ = zmq.auth.load_certificate(curve.server_public_key)
        socket.curve_publickey, socket.curve_secretkey = public, secret
        socket.curve_serverkey = server
    socket.subscribe(prefix + b" ")
    try:
        socket.connect(f"tcp://{address}")
    except zmq.ZMQError as e:
        socket.close()
        context.term()
        raise ValueError(f"cannot listen at {address!r}: {e}; expected host:port") from e
    return context, socket
