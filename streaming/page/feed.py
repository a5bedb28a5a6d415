"""What the page knows, and how it is told of changes without ever holding up the service."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.answers.summary import Json, summary
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.map_row import MapRow
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.growing import Growing, slot_of

KEPT_SUMMARIES = 10_000
KEPT_ROWS = 64
MAILBOX = 256

Message = tuple[str, Json]


class Mailbox:
    """Messages that wait for one reader; the newest of each slot, and never more than so many.

    A reader that is too slow loses what waits and gets one ``reset`` instead, on which it reads
    everything again.

    Parameters
    ----------
    wake
        Called, by whatever thread, when there is something to take.
    limit
        Messages that may wait.
    """

    def __init__(self, wake: Callable[[], None], *, limit: int = MAILBOX) -> None:
        self._wake, self._limit = wake, limit
        self._waiting: OrderedDict[str, Message] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, slot: str, message: Message) -> None:
        """Leave a message, in place of one that waits in the same slot."""
        with self._lock:
            self._waiting.pop(slot, None)
            if len(self._waiting) >= self._limit:
                self._waiting.clear()
                slot, message = "reset", ("reset", {})
            self._waiting[slot] = message
        self._wake()

    def take(self) -> list[Message]:
        """Return what waits, oldest first."""
        with self._lock:
            taken = list(self._waiting.values())
            self._waiting.clear()
        return taken


class Feed:
    """The newest results and the running scans; a listener of the service.

    All methods may be called by any thread, and none waits for a reader.

    Parameters
    ----------
    kept
        Summaries that are remembered; the oldest are forgotten first.
    kept_rows
        Whole rows that are remembered, arrays included.
    mailbox
        Messages that may wait for one reader.
    """

    def __init__(
        self, *, kept: int = KEPT_SUMMARIES, kept_rows: int = KEPT_ROWS, mailbox: int = MAILBOX
    ) -> None:
        self._kept, self._kept_rows, self._mailbox = kept, kept_rows, mailbox
        self._summaries: OrderedDict[str, Json] = OrderedDict()
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._growing: OrderedDict[str, Growing] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._maps: OrderedDict[str, Json] = OrderedDict()
        self._readers: set[Mailbox] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, row: Row) -> None:
        """Show a row that came to an end."""
        told, slot = summary(row), slot_of(row.measurement)
        with self._lock:
            # a running scan has one slot until its places, 0.1 and 0.2, are told apart
            for ended in (slot, re.sub(r"\.\d+$", "", slot)):
                self._growing.pop(ended, None)
                self._ended[ended] = None
            _shorten(self._ended, self._kept)
            self._rows[row.key] = row
            self._rows.move_to_end(row.key)
            _shorten(self._rows, self._kept_rows)
            self._summaries[row.key] = told
            _shorten(self._summaries, self._kept)
        self._tell(row.key, ("result", told))

    def show_partial(
        self,
        measurement: Measurement,
        outcome: NormalisedSpectrum | Rejected,
        inversion: Inversion | None = None,
    ) -> None:
        """Show a spectrum that still grows, as far as it can be normalised and inverted."""
        growing = Growing(measurement=measurement, outcome=outcome, inversion=inversion)
        with self._lock:
            if growing.slot in self._ended:  # a partial answer may come after the final one
                return
            self._growing[growing.slot] = growing
            self._growing.move_to_end(growing.slot)
            _shorten(self._growing, self._kept_rows)
        self._tell(growing.slot, ("running", growing.notice()))

    def show_map(self, row: MapRow) -> None:
        """Show how far a map is."""
        told = map_summary(row)
        with self._lock:
            self._maps[row.key] = told
            self._maps.move_to_end(row.key)
            _shorten(self._maps, self._kept_rows)
        self._tell(row.key, ("map", told))

    def maps(self) -> list[Json]:
        """Return the maps that have grown since the start, the one that changed last at the end."""
        with self._lock:
            return list(self._maps.values())

    def load(self, summaries: Iterable[Json]) -> None:
        """Remember results of before, oldest first; what is known already stays as it is."""
        with self._lock:
            before = OrderedDict((told["key"], told) for told in summaries)
            before.update(self._summaries)
            self._summaries = before
            _shorten(self._summaries, self._kept)
        self._tell("reset", ("reset", {}))

    def summaries(self) -> list[Json]:
        """Return all summaries, oldest first."""
        with self._lock:
            return list(self._summaries.values())

    def growing(self) -> list[Growing]:
        """Return the scans that run now, the one that changed last at the end."""
        with self._lock:
            return list(self._growing.values())

    def row(self, key: str) -> Row | None:
        """Return the row of that key, unless it was long ago."""
        with self._lock:
            return self._rows.get(key)

    def latest(self) -> str | None:
        """Return the key of the newest complete result, or of the newest of any kind."""
        with self._lock:
            told = list(self._summaries.values())
        complete = [one["key"] for one in told if one["status"] == State.COMPLETE]
        return next(reversed(complete or [one["key"] for one in told]), None)

    @property
    def closed(self) -> bool:
        """Whether readers should leave."""
        return self._closed

    def close(self) -> None:
        """Send all readers away."""
        self._closed = True
        self._tell("end", ("end", {}))

    @contextmanager
    def reader(self, wake: Callable[[], None]) -> Iterator[Mailbox]:
        """Yield a mailbox that gets everything from now on, until the end of the block."""
        mailbox = Mailbox(wake, limit=self._mailbox)
        with self._lock:
            self._readers.add(mailbox)
        try:
            yield mailbox
        finally:
            with self._lock:
                self._readers.discard(mailbox)

    @property
    def readers(self) -> int:
        """How many read now."""
        return len(self._readers)

    def _tell(self, slot: str, message: Message) -> None:
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.put(slot, message)


def map_summary(row: MapRow) -> Json:
    """Return a map in a few numbers, as plain data."""
    return {
        "key": row.key,
        "status": str(row.status),
        "run": row.run.uid,
        "scan": row.run.scan_id,
        "stream": row.stream,
        "sample": row.run.sample,
        "time": row.measured,
        "edge": row.edge,
        "shape": list(row.shape),
        "pixels": row.pixels,
        "answered": row.answered,
        "rejected": row.rejected,
        "latency": row.latency_s,
        "flags": list(row.flags),
    }


def _shorten(kept: OrderedDict[str, Any], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
