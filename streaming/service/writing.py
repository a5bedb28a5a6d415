"""Write answers and rejections to the catalog, some at a time, until it has them.

A server waits for its disk through half of each request, so that some together take hardly longer
than one. Blocks of one map that wait are written together: a server that is slow gets larger
pieces, and does not fall behind for ever.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
import stamina

from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.job import Job, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.map_row import MapRow
from nearedge.streaming.ledger.row import Row, row_of
from nearedge.streaming.service.metrics import Metrics

logger = logging.getLogger(__name__)

LOOK_S = 2.0
LEASE_S = 120.0
LONGEST_DELAY_S = 30.0
REFUSALS = 20
BLOCK_BYTES = 2**24
"""What blocks that are written together may hold."""
AT_A_TIME = 3
"""Single spectra that are written side by side."""

Put = Callable[[Row], None]
Tell = Callable[[Job], None]
T = TypeVar("T")


class Writing:
    """The step of the writer loop.

    Parameters
    ----------
    ledger, metrics
        Where the answers are, and what is counted.
    put
        Writes one row; must be idempotent under its key, and raise when it did not succeed. Called
        in several threads at a time.
    on_row
        Called with each row that the catalog has.
    put_map, on_map
        Writes blocks of a map, or its end, and returns how far the map is; called with each key and
        that. None: there are no maps.
    on_map_failed
        Called with each row of a map that the catalog refuses for good.
    jitter
        Numbers in [0, 1), so that services that wait for one server do not all come back at once.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        metrics: Metrics,
        put: Put,
        on_row: Callable[[Row], None],
        put_map: Callable[[Sequence[Job]], MapRow] | None = None,
        on_map: Callable[[str, MapRow], None] = lambda key, row: None,
        on_map_failed: Callable[[Job, str], None] = lambda job, error: None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._backlog, self._metrics = ledger.queue, ledger.backlog, metrics
        self._put, self._on_row, self._jitter, self._clock = put, on_row, jitter, clock
        self._put_map, self._on_map, self._on_map_failed = put_map, on_map, on_map_failed
        self._failures, self._pause_until = 0, float("-inf")

    def step(self) -> float:
        """Write some answers; return when to look again, s.

        While the catalog is away it is left alone, longer and longer, by all answers together.
        """
        if (pause_s := self._pause_until - self._clock()) > 0:
            return pause_s
        jobs = self._queue.claim_write(lease_s=LEASE_S, most_bytes=BLOCK_BYTES, n=AT_A_TIME)
        if jobs:
            self._write([[job] for job in jobs] if jobs[0].part_of is None else [jobs])
            return 0
        return min(LOOK_S, self._queue.seconds_until_write() or LOOK_S)

    def _write(self, pieces: Sequence[Sequence[Job]]) -> None:
        with ThreadPoolExecutor(len(pieces), thread_name_prefix="nearedge-write") as threads:
            outcomes = list(threads.map(self._attempt, pieces))
        failed: list[tuple[Sequence[Job], Exception]] = []
        for jobs, outcome in zip(pieces, outcomes, strict=True):
            if isinstance(outcome, Exception):
                failed.append((jobs, outcome))
                continue
            self._failures = 0
            for job in self._queue.finish_all(jobs):
                outcome(job)
        self._failures += any(may_pass(error) for _, error in failed)
        for jobs, error in failed:
            self._put_off(jobs, error)

    def _attempt(self, jobs: Sequence[Job]) -> Tell | Exception:
        """Write a row, or blocks of one map; return what tells of each, or what went wrong."""
        try:
            return self._written(jobs)
        except Exception as e:  # whatever it is, the answers must not stay held
            return e

    def _written(self, jobs: Sequence[Job]) -> Tell:
        if jobs[0].part_of is None:
            row = row_of(jobs[0])
            self._with_patience(lambda: self._put(row))
            return self._tell
        if self._put_map is None:
            raise RuntimeError("the ledger has rows of a map, and nothing keeps maps here")
        put = self._put_map
        how_far = self._with_patience(lambda: put(jobs))
        return lambda job: self._on_map(job.key, how_far)

    def _with_patience(self, put: Callable[[], T]) -> T:
        """Bridge a hiccup at once; what lasts longer is put off by the ledger."""
        for attempt in stamina.retry_context(
            on=may_pass, attempts=3, timeout=5.0, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                return put()
        raise AssertionError("unreachable: the last attempt raises")

    def _put_off(self, jobs: Sequence[Job], error: Exception) -> None:
        text, passes = told(error), may_pass(error)
        self._metrics.retries.labels("write").inc()
        hopeless = [job for job in jobs if not passes and job.attempts + 1 >= REFUSALS]
        for job in hopeless:
            self._give_up(job, text)
        rest = [job for job in jobs if job not in hopeless]
        if not rest:
            return
        tries = self._failures - 1 if passes else max(job.attempts for job in rest)
        delay_s = min(LONGEST_DELAY_S, 2.0 ** min(tries, 10)) * (0.5 + self._jitter() / 2)
        if passes:
            self._pause_until = self._clock() + delay_s
        for job in rest:
            logger.warning(
                "writing %s failed, again in %.1f s: %s",
                *(job.key, delay_s, text),
                extra={"run_uid": job.place.run_uid},
            )
            self._queue.defer(job, text, delay_s=delay_s)

    def _give_up(self, job: Job, text: str) -> None:
        extra = {"run_uid": job.place.run_uid}
        logger.error("the catalog refuses %s for good: %s", job.key, text, extra=extra)
        self._queue.give_up(job, text)
        if job.part_of is None:
            self._on_row(row_of(job, status=State.FAILED, error=text))
        else:
            self._on_map_failed(job, text)

    def _tell(self, job: Job) -> None:
        done = self._backlog.get(job.key)
        self._on_row(row_of(job, finished=None if done is None else done.finished))


def may_pass(error: Exception) -> bool:
    """Return whether an error of the catalog may be gone later: unreachable, busy, or no entry."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status >= 500 or status in (401, 403, 408, 425, 429)
    return isinstance(error, httpx.TransportError | OSError)
