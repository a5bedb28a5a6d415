"""A spectrum on its way through the ledger."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a spectrum stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WRITING = "writing"
    COMPLETE = "complete"
    REJECTED = "rejected"
    FAILED = "failed"


OPEN = (State.QUEUED, State.RUNNING, State.WRITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which spectrum of which run.

    Attributes
    ----------
    run_uid, scan_id, stream, spectrum
        As in `nearedge.callbacks.measurement.Measurement`.
    """

    run_uid: str
    scan_id: int | None
    stream: str
    spectrum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row as it was when it was claimed.

    Attributes
    ----------
    key, place
        Name of the result, and whose spectrum it is.
    state, outcome
        Where it stands, and the state that it takes once it is written.
    payload, result
        Packed bytes of what was submitted and stored; None once the catalog has them.
    attempts, error
        Failed tries so far, and the last one's error.
    token
        Proof of the hold; None when nobody holds it.
    ended, queued, started, inverted, finished
        Seconds since the epoch: end of the measurement, submitted, claimed by a worker, answered,
        written. None for what has not happened.
    """

    key: str
    place: Place
    state: State
    outcome: State
    payload: bytes | None
    result: bytes | None
    attempts: int
    error: str | None
    token: str | None
    ended: float | None
    queued: float
    started: float | None
    inverted: float | None
    finished: float | None
