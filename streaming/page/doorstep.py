"""The address of the page before there is a page: it says what is being started.

Needs the standard library alone, so that a command can print the address at once.
"""

import base64
import hashlib
import html
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOOPBACK = "127.0.0.1"
LOOK_S = 0.2
PATIENCE_S = 1.0  # with a browser that does not say what it wants
LONGEST = 65536  # bytes of a request that are read, so that its connection ends well
# a browser follows a refresh of an address with a view behind "#" without asking for it again
AGAIN = "setTimeout(() => location.reload(), 1000)"
PAGE = f"""<!doctype html><meta charset="utf-8"><title>nearedge starts</title>
<noscript><meta http-equiv="refresh" content="1"></noscript><script>{AGAIN}</script>
<p>nearedge starts: {{progress}}</p>
"""
_ALLOWED = base64.b64encode(hashlib.sha256(AGAIN.encode()).digest()).decode()
HEAD = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n"
    "Content-Length: {length}\r\nRetry-After: 1\r\nCache-Control: no-store\r\n"
    f"Content-Security-Policy: default-src 'none'; script-src 'sha256-{_ALLOWED}'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n\r\n"
)


class PageError(RuntimeError):
    """A page that cannot be served."""


class Doorstep:
    """Listens where the page will be, and answers meanwhile.

    Parameters
    ----------
    port
        The port of the loopback; 0 for any that is free.

    Attributes
    ----------
    address
        The address of the page.
    progress
        What is being started, for whoever looks.

    Raises
    ------
    PageError
        If the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self.progress = ""
        self._listener = listening(port)
        self._leaving = threading.Event()
        self.address = address_of(self._listener)
        self._thread = threading.Thread(target=self._answer, name="nearedge-doorstep", daemon=True)
        self._thread.start()

    def leave(self) -> socket.socket:
        """Answer no more; return the socket that listens, on which whoever comes now waits."""
        self._leaving.set()
        self._thread.join()
        self._listener.settimeout(None)
        return self._listener

    def close(self) -> None:
        """Listen no more, unless the page does."""
        self._leaving.set()
        self._thread.join()
        self._listener.close()

    def _answer(self) -> None:
        self._listener.settimeout(LOOK_S)
        while not self._leaving.is_set():
            with suppress(OSError):  # a browser that went away, or none that came
                visitor, _ = self._listener.accept()
                with visitor:
                    self._show(visitor)

    def _show(self, visitor: socket.socket) -> None:
        visitor.settimeout(PATIENCE_S)
        visitor.recv(LONGEST)
        body = PAGE.format(progress=html.escape(self.progress)).encode()
        visitor.sendall(HEAD.format(length=len(body)).encode() + body)


def listening(port: int) -> socket.socket:
    """Return a socket that listens on the loopback; a browser may come before anybody answers.

    Raises
    ------
    PageError
        If the port is taken.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError as e:
        listener.close()
        raise PageError(
            f"cannot serve the page on port {port}: {e.strerror}; set service.page_port to "
            "another, to 0 for any that is free, or to null for no page"
        ) from e
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the address of what is served on a socket."""
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}/"


@contextmanager
def doorstep(port: int | None) -> Iterator[Doorstep | None]:
    """Yield what answers until the page does, closed at the end; None where no page is wanted.

    Raises
    ------
    PageError
        If the port is taken.
    """
    if port is None:
        yield None
        return
    waiting = Doorstep(port)
    try:
        yield waiting
    finally:
        waiting.close()
