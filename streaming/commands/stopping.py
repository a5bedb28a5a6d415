"""End on Ctrl-C or SIGTERM, after what is at hand."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

LONGEST_S = 9.0


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second signal has its usual effect.

    The handler only sets the event: it may interrupt any code, a lock or the log included.
    """
    stopped = threading.Event()
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_within(stopped: threading.Event, seconds: float = LONGEST_S) -> Iterator[None]:
    """End the process so long after it was asked to stop, s, if it has not ended by itself.

    A catalog that hangs, or a machine without time, must not keep a supervisor waiting: what is not
    finished is in the ledger.
    """
    left = threading.Event()

    def watch() -> None:
        stopped.wait()
        if not left.wait(seconds):
            logger.warning("not ended within %g s: what is left stays in the ledger", seconds)
            os._exit(0)

    threading.Thread(target=watch, name="nearedge-stopping", daemon=True).start()
    try:
        yield
    finally:
        if not stopped.is_set():  # else it goes on: at its exit Python waits for threads that hang
            left.set()
            stopped.set()
