"""Answers that somebody asks for while looking: given at once, and kept nowhere."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from nearedge.models import Inversion, NormalisedSpectrum

WAITING = 1
"""Questions that may wait for the one that is answered now."""
PATIENCE_S = 30.0


class BusyError(RuntimeError):
    """A question that would have to wait behind others."""


class Inverting(Protocol):
    """What inverts, as `nearedge.streaming.workers.worker.Worker` does."""

    def invert(
        self, spectra: Sequence[NormalisedSpectrum], *, seeds: Sequence[int]
    ) -> list[Inversion]:
        """Return one inversion per spectrum."""


class OnDemand:
    """Asks the workers of a service for single answers between two of their batches.

    Measured spectra come first: at most one question is with a worker, and at most one more waits.
    The threads of the service never wait for one, other than for the worker itself: as long as an
    answer takes.

    Parameters
    ----------
    worker
        A worker, or several of them with ``members``.
    patience_s
        Seconds that a question waits for the one before.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        worker: Any,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._members: tuple[Inverting, ...] = tuple(getattr(worker, "members", (worker,)))
        self._patience_s, self._clock = patience_s, clock
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(1 + WAITING)

    def invert(self, spectrum: NormalisedSpectrum, *, seed: int) -> tuple[Inversion, float]:
        """Return the answer to a spectrum, and how long it took, s.

        Raises
        ------
        BusyError
            If two questions are there already, or the one before takes too long.
        nearedge.streaming.workers.worker.WorkerError
            If there is no answer.
        """
        began = self._clock()
        with self._place():
            (answer,) = self._idle().invert([spectrum], seeds=[seed])
        return answer, self._clock() - began

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("two answers are being calculated already: ask again in a moment")
        try:
            if not self._turn.acquire(timeout=self._patience_s):
                raise BusyError(
                    f"the answer before has taken {self._patience_s:g} s: ask again in a moment"
                )
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def _idle(self) -> Inverting:
        """Return a worker that has nothing to do, or else the last."""
        idle = [one for one in self._members if not getattr(one, "is_busy", False)]
        return (idle or list(self._members))[-1]
