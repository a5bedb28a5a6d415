"""What is told of a map to those who watch: how far it is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.measurement import Run
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.maps.findings import MapFindings
from nearedge.streaming.ledger.job import Job
from nearedge.streaming.ledger.packing import unpack


class MapStatus(StrEnum):
    """Where a map stands."""

    GROWING = "growing"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """How far the map of one run is.

    Attributes
    ----------
    key
        Its name in the catalog.
    status
        Growing, or complete.
    run, stream, edge
        Whose it is.
    shape, pixels
        As far as known.
    answered, rejected
        Pixels with an answer, and those with a reason instead.
    measured
        When the last of its pixels was measured, seconds since the epoch.
    latency_s
        Seconds from the end of the last block's measurement, or of the run, until the catalog had
        it; NaN where it was not live.
    flags
        What is wrong with the run.
    """

    key: str
    status: MapStatus
    run: Run
    stream: str
    edge: str
    shape: tuple[int, ...]
    pixels: int
    answered: int
    rejected: int
    measured: float
    latency_s: float
    flags: tuple[str, ...] = ()

    @property
    def come(self) -> int:
        """Pixels that have an answer or a reason."""
        return self.answered + self.rejected


def block_of(job: Job) -> Block:
    """Return the pixels of a job that holds some.

    Raises
    ------
    TypeError
        If its payload holds none.
    """
    found: Block = _held(job, "block", Block)
    return found


def end_of(job: Job) -> MapEnd:
    """Return what a job says of the end of a map; errors as for `block_of`."""
    found: MapEnd = _held(job, "map", MapEnd)
    return found


def instrument_of(job: Job) -> str:
    """Return the instrument that was submitted along with a job of a map, as JSON."""
    return str(unpack(job.payload or b"")["instrument"])


def pixels_of(job: Job) -> PixelAnswers | None:
    """Return the answers to a block; None where its pixels were refused before."""
    found: PixelAnswers | None = None if job.result is None else unpack(job.result)
    return found


def findings_of(job: Job) -> MapFindings:
    """Return the groups that were found in a map.

    Raises
    ------
    TypeError
        If there are none.
    """
    found = unpack(job.result or b"")
    if not isinstance(found, MapFindings):
        raise TypeError(f"the end of a map holds {type(found).__name__}")
    return found


def _held(job: Job, name: str, kind: type[Any]) -> Any:
    found = unpack(job.payload or b"").get(name)
    if not isinstance(found, kind):
        raise TypeError(f"a queued {name} holds {type(found).__name__}")
    return found
