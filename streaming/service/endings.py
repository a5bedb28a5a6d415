"""A thread that ends long runs, so that the documents of others need not wait behind them."""

import threading
from collections.abc import Callable

MOST = 4
"""So many long runs may wait for their end; then whoever brings another waits, too."""


class Endings:
    """Ends runs one after the other, in a thread that lives while there are any."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callable[[], None]] = {}
        self._changed = threading.Condition()

    def put(self, run_uid: str, end: Callable[[], None]) -> None:
        """Have a run ended soon; wait only where too many do. The end must not raise."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MOST)
            idle = not self._waiting
            self._waiting[run_uid] = end
            if idle:
                threading.Thread(target=self._run, name="nearedge-endings", daemon=True).start()

    @property
    def run_uids(self) -> tuple[str, ...]:
        """The uids of the runs that have not been ended."""
        with self._changed:
            return tuple(self._waiting)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until all are ended; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    return
                uid, end = next(iter(self._waiting.items()))
            end()
            with self._changed:
                del self._waiting[uid]
                self._changed.notify_all()
                if not self._waiting:
                    return
