"""End on Ctrl-C or SIGTERM, after what is at hand."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

logger = logging.getLogger(__name__)

LONGEST_S = 8.0
INTERRUPTED = 130  # exit code of a command that Ctrl-C ended


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


class StopAsked(BaseException):
    """Ctrl-C or SIGTERM came; raised wherever the main thread is.

    Attributes
    ----------
    number
        The number of the signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number

    def end(self) -> NoReturn:
        """End as shells expect: with 130 after Ctrl-C, else by the signal itself."""
        if self.number is signal.SIGINT:
            sys.exit(INTERRUPTED)
        signal.signal(self.number, signal.SIG_DFL)
        os.kill(os.getpid(), self.number)
        sys.exit(128 + self.number)  # where the signal is blocked


@contextmanager
def stop_raised() -> Iterator[None]:
    """Raise `StopAsked` on SIGINT and SIGTERM within the block; a second has its usual effect."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise StopAsked(signal.Signals(number))

    for number in before:
        signal.signal(number, stop)
    try:
        yield
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
