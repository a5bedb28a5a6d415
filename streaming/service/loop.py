"""A thread that works whenever there is something to do."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

Step = Callable[[], float | None]

PAUSE_AFTER_ERROR_S = 1.0


class Loop:
    """A thread that calls a step again and again until it is stopped.

    Parameters
    ----------
    name
        The name of the thread.
    step
        Does some work; returns the seconds after which it wants to be called again even if nobody
        rings, 0 for at once and None for never.
    on_error
        Called with the name when a step raised; the loop goes on.
    """

    def __init__(self, name: str, step: Step, *, on_error: Callable[[str], None]) -> None:
        self.name = name
        self._step, self._on_error = step, on_error
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"nearedge-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ring(self) -> None:
        """Tell it that there is work."""
        self._bell.set()

    def stop(self) -> None:
        """Ask it to end after the present step."""
        self._stopping.set()
        self._bell.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._bell.clear()  # before looking for work: what comes later rings again
            if self._stopping.is_set():
                return
            wait_s = self._guarded_step()
            if wait_s != 0:
                self._bell.wait(wait_s)

    def _guarded_step(self) -> float | None:
        try:
            return self._step()
        except Exception as e:
            if self._stopping.is_set():  # what it works with may be closed by now
                logger.warning("the %s loop was stopped in the midst of a step: %s", self.name, e)
                return None
            logger.exception("an error in the %s loop; it goes on", self.name)
            self._on_error(self.name)
            return PAUSE_AFTER_ERROR_S
