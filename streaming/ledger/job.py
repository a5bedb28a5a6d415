"""A spectrum on its way through the ledger."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from sqlite3 import Row


class State(StrEnum):
    """Where a spectrum stands.

    A held one has a gap and waits for its run to come from the catalog. Degraded is no state of the
    ledger: it is what a quick answer is stored as, before the full one replaces it.
    """

    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    WRITING = "writing"
    COMPLETE = "complete"
    REJECTED = "rejected"
    FAILED = "failed"
    DEGRADED = "degraded"


STATES = tuple(state for state in State if state is not State.DEGRADED)
OPEN = (State.HELD, State.QUEUED, State.RUNNING, State.WRITING)


class Priority(IntEnum):
    """Which of two waiting spectra is inverted first: the one with the lower number."""

    LIVE = 0
    CAUGHT_UP = 1
    AGAIN = 2


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
    state, outcome, priority
        Where it stands, the state that it takes once it is written, and how urgent it is.
    payload, result
        Packed bytes of what was submitted and stored; None once the catalog has them.
    attempts, error
        Failed tries so far, and the last one's error.
    token
        Proof of the hold; None when nobody holds it.
    ended, queued, started, inverted, finished
        Seconds since the epoch: end of the measurement, submitted, claimed by a worker, answered,
        written. None for what has not happened.
    part_of
        The key of the map to which it belongs; None for a single spectrum.
    """

    key: str
    place: Place
    state: State
    outcome: State
    priority: Priority
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
    part_of: str | None = None

    @property
    def waited_s(self) -> float:
        """How long it waited until a worker claimed it, s."""
        return 0.0 if self.started is None else self.started - self.queued

    @property
    def is_block(self) -> bool:
        """Whether it holds some pixels of a map."""
        return self.part_of is not None and self.part_of != self.key

    @property
    def is_map(self) -> bool:
        """Whether it is the end of a map, whose groups are to be found."""
        return self.part_of == self.key


def job_of(row: Row) -> Job:
    """Return the job of a row of the table of spectra."""
    place = Place(
        run_uid=row["run_uid"],
        scan_id=row["scan_id"],
        stream=row["stream"],
        spectrum=row["spectrum"],
    )
    return Job(
        key=row["key"],
        place=place,
        state=State(row["state"]),
        outcome=State(row["outcome"]),
        priority=Priority(row["priority"]),
        payload=row["payload"],
        result=row["result"],
        attempts=row["attempts"],
        error=row["error"],
        token=row["token"],
        ended=row["ended"],
        queued=row["queued"],
        started=row["started"],
        inverted=row["inverted"],
        finished=row["finished"],
        part_of=row["part_of"],
    )
