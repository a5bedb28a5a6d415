"""How the service is: what the health view, /readyz and whoever is called at night want to know."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from nearedge.streaming.answers.summary import Json
from nearedge.streaming.ledger.job import Job, State
from nearedge.streaming.service.service import Service

KEPT_ERRORS = 50
FRESH_S = 1.0
LISTED = 20
SHOWN_METRICS = (
    *("documents", "discarded", "gaps", "spectra", "rejected"),
    *("retries", "errors", "known_spectra"),
)


class RecentWarnings(logging.Handler):
    """Keeps the newest warnings and errors in memory."""

    def __init__(self, *, kept: int = KEPT_ERRORS) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[Json] = deque(maxlen=kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._kept.append(
            {
                "time": record.created,
                "level": record.levelname.lower(),
                "text": record.getMessage()[:1000],
                "run": getattr(record, "run_uid", None),
            }
        )

    def newest(self) -> list[Json]:
        """Return what is kept, newest first."""
        return list(self._kept)[::-1]


@contextmanager
def recent_warnings(name: str = "nearedge") -> Iterator[RecentWarnings]:
    """Yield a keeper of a logger's warnings, attached until the end of the block."""
    keeper = RecentWarnings()
    logger = logging.getLogger(name)
    logger.addHandler(keeper)
    try:
        yield keeper
    finally:
        logger.removeHandler(keeper)


class Health:
    """A snapshot of the service, made at most once a second however many ask.

    Parameters
    ----------
    service
        The service whose health it is.
    warnings
        Its newest warnings.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        service: Service,
        warnings: RecentWarnings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service, self._warnings, self._clock = service, warnings, clock
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._snapshot: Json = {}
        self._before: tuple[float, float] | None = None

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the service's metrics."""
        return self._service.metrics.registry

    def snapshot(self) -> Json:
        """Return states, rates, worker, problems and the newest warnings."""
        with self._lock:
            if self._clock() - self._made_at >= FRESH_S:
                self._snapshot = self._make()
                self._made_at = self._clock()
            return self._snapshot

    def ready(self) -> tuple[bool, Json]:
        """Return whether spectra can be taken and inverted, and what was looked at.

        A Tiled server that is down does not make it unready: answers wait in the ledger. Nor does a
        source from which nothing comes.
        """
        checks = self._service.checks()
        told = {name: error or "ok" for name, error in checks.items()}
        return not any(checks.values()), told | {"source": self._service.silence or "ok"}

    def _make(self) -> Json:
        ledger = self._service.ledger
        return {
            "time": time.time(),
            "states": {str(state): n for state, n in ledger.backlog.counts().items()},
            "oldest_s": ledger.backlog.oldest_age_s(),
            "documents_per_s": self._rate(),
            "totals": self._totals(),
            "worker": self._worker(),
            "open": [
                _listed(job)
                for state in _LISTED
                for job in ledger.backlog.rows(state, limit=LISTED)
            ],
            "warnings": self._warnings.newest(),
            "ready": self.ready()[0],
            "source": self._service.silence,
        }

    def _worker(self) -> Json:
        worker = self._service.worker
        return {
            "pid": worker.pid,
            "beat_age_s": worker.beat_age_s,
            "restarts": max(0, worker.restarts),
            "error": worker.problem,
        }

    def _totals(self) -> Json:
        """Return the sum of each counter over its labels, and by label where that tells more."""
        totals: Json = {}
        for family in self.registry.collect():
            name = family.name.removeprefix("nearedge_")
            if name in SHOWN_METRICS:
                samples = [s for s in family.samples if s.name.endswith("_total")]
                totals[name] = {"/".join(s.labels.values()) or "all": s.value for s in samples}
        return totals

    def _rate(self) -> float | None:
        """Return the documents per second since the last snapshot."""
        now, count = self._clock(), sum(self._totals().get("documents", {}).values())
        before, self._before = self._before, (now, count)
        if before is None or now <= before[0]:
            return None
        return float((count - before[1]) / (now - before[0]))


_LISTED = (State.RUNNING, State.WRITING, State.QUEUED, State.FAILED)


def _listed(job: Job) -> Json:
    return {
        "key": job.key,
        "run": job.place.run_uid,
        "scan": job.place.scan_id,
        "stream": job.place.stream,
        "spectrum": job.place.spectrum,
        "status": str(job.state),
        "attempts": job.attempts,
        "queued": job.queued,
        "error": job.error,
    }
