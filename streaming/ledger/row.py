"""What is told to those who watch: one row for each spectrum that has come to an end."""

from dataclasses import dataclass
from typing import Any

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.ledger.job import Job, Priority, State
from nearedge.streaming.ledger.packing import unpack


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One spectrum that is complete, rejected, failed or, for a time, degraded.

    Attributes
    ----------
    key
        Name of its result in the catalog.
    status
        Complete, rejected or failed; degraded for a quick answer that is going to be replaced.
    measurement
        What was measured.
    outcome
        The spectrum that was inverted, or why it was not.
    inversion
        The answer; None unless complete or degraded.
    error
        What went wrong, for a failed one.
    stages
        Seconds spent in each stage: ``arrive`` (end of the measurement to the ledger), ``wait``,
        ``invert``, ``write``. Those that did not happen are left out.
    redone
        Whether the catalog may have a degraded answer to it.
    """

    key: str
    status: State
    measurement: Measurement
    outcome: NormalisedSpectrum | Rejected
    inversion: Inversion | None
    error: str | None
    stages: dict[str, float]
    redone: bool = False

    @property
    def latency_s(self) -> float:
        """Seconds from the end of the measurement (when replayed: from its reading) to here."""
        return sum(self.stages.values())

    @property
    def flags(self) -> tuple[str, ...]:
        """Everything that a reader should know, in short words, each once."""
        outcome = () if isinstance(self.outcome, Rejected) else self.outcome.flags
        inversion = () if self.inversion is None else self.inversion.flags
        return tuple(dict.fromkeys((*self.measurement.flags, *outcome, *inversion)))


def row_of(
    job: Job,
    *,
    status: State | None = None,
    error: str | None = None,
    finished: float | None = None,
) -> Row:
    """Return the row of a job whose payload is still there."""
    payload: dict[str, Any] = unpack(job.payload or b"")
    return Row(
        key=job.key,
        status=job.outcome if status is None else status,
        measurement=payload["measurement"],
        outcome=payload["outcome"],
        inversion=None if job.result is None else unpack(job.result),
        error=error,
        stages=stages(job, finished=finished),
        redone=job.priority > Priority.LIVE,
    )


def stages(job: Job, *, finished: float | None = None) -> dict[str, float]:
    """Return the seconds that a job has spent in each stage so far."""
    inverted_or_queued = job.queued if job.inverted is None else job.inverted
    spans = {
        "arrive": (job.ended, job.queued),
        "wait": (job.queued, job.started),
        "invert": (job.started, job.inverted),
        "write": (inverted_or_queued, finished),
    }
    return {
        stage: max(0.0, end - begin)
        for stage, (begin, end) in spans.items()
        if begin is not None and end is not None
    }
