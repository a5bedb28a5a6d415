"""Frames that wait to be decoded: bounded in bytes; what is refused is told in its place."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

RESERVE = 1.1  # frames that tell where a run begins and ends are let in a little past the limit
_RARE = (b"start", b"descriptor", b"stop", b"stream_resource", b"resource")


@dataclass(slots=True, kw_only=True)
class Overflow:
    """Documents that found no room.

    Attributes
    ----------
    since
        When the first of them came, seconds since the epoch.
    documents
        How many of each name. Their runs are not known: what was decoded before and after tells
        which were open.
    size
        Their bytes.
    """

    since: float
    documents: Counter[str] = field(default_factory=Counter)
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """The connection was lost: what is published before it is back is missed.

    Attributes
    ----------
    time
        When it was noticed, seconds since the epoch.
    detail
        What was lost: whose connection.
    """

    time: float
    detail: str


class FrameQueue:
    """A queue between the thread that receives and the one that decodes.

    Parameters
    ----------
    max_bytes
        How many bytes of frames may wait.
    name_of
        The document name in a frame.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        name_of: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._max_bytes, self._name_of, self._clock = max_bytes, name_of, clock
        self._items: deque[bytes | Overflow | Interruption] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.size = 0
        self.overflowed = 0

    def put(self, frames: list[bytes]) -> None:
        """Append frames, or the note that there was no room for them; never blocks for long."""
        with self._changed:
            for frame in frames:
                self._append(frame)
            self._changed.notify()

    def note(self, interruption: Interruption) -> None:
        """Append what is to be told between the frames."""
        with self._changed:
            self._items.append(interruption)
            self._changed.notify()

    def close(self) -> None:
        """Let `get` return None once everything has been taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def get(self) -> bytes | Overflow | Interruption | None:
        """Return the next item, waiting for it; None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, bytes):
                self.size -= len(item)
            return item

    def _append(self, frame: bytes) -> None:
        room = self._max_bytes - self.size - len(frame)
        if room >= 0 or (self._is_rare(frame) and room >= (1 - RESERVE) * self._max_bytes):
            self._items.append(frame)
            self.size += len(frame)
        else:
            self._refuse(frame)

    def _is_rare(self, frame: bytes) -> bool:
        return self._name_of(frame) in _RARE

    def _refuse(self, frame: bytes) -> None:
        self.overflowed += 1
        if not self._items or not isinstance(self._items[-1], Overflow):
            self._items.append(Overflow(since=self._clock()))
        note = self._items[-1]
        assert isinstance(note, Overflow)  # noqa: S101 - for the type checker
        note.documents[self._name_of(frame).decode("ascii", "replace")[:40]] += 1
        note.size += len(frame)
