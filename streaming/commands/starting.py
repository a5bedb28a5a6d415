"""Say what is being started: the page's address first, then every step, there and here."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from nearedge.streaming.page.doorstep import Doorstep, doorstep

LOADING = "loading the program …"
LOOK_S = 0.2


class Startable(Protocol):
    """A service that knows what it lacks."""

    def checks(self) -> dict[str, str | None]:
        """Return what spectra need, and what is wrong with each."""


@dataclass(frozen=True, slots=True)
class Starting:
    """Says what is being started, wherever somebody may look.

    Attributes
    ----------
    say
        Prints a line.
    waiting
        What answers at the page's address until the page does; None where no page is wanted.
    """

    say: Callable[[str], None]
    waiting: Doorstep | None

    def __call__(self, text: str) -> None:
        """Say it."""
        self.say(text)
        if self.waiting is not None:
            self.waiting.progress = text


@contextmanager
def starting(port: int | None, say: Callable[[str], None]) -> Iterator[Starting]:
    """Yield what says what is being started; the page's address has been said then.

    This comes before all that takes long, of which importing the program is much.

    Parameters
    ----------
    port
        The page's port of the loopback; 0 for any that is free, None for no page.
    say
        Prints a line.

    Raises
    ------
    nearedge.streaming.page.doorstep.PageError
        If the port is taken.
    """
    with doorstep(port) as waiting:
        tell = Starting(say, waiting)
        if waiting is not None:
            say(f"the live page: {waiting.address}")
        tell(LOADING)
        yield tell


def await_ready(service: Startable, stopped: threading.Event) -> bool:
    """Wait until a service can take spectra and invert them; return False if it is stopped."""
    while any(service.checks().values()):
        if stopped.wait(LOOK_S):
            return False
    return True
