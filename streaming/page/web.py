"""Serve the live page from a thread of the service, on the loopback only."""

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from nearedge.streaming.catalog.history import History
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.routes import Page
from nearedge.streaming.service.health import Health, recent_warnings
from nearedge.streaming.service.service import Service

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
STOP_S = 3.0


class PageError(RuntimeError):
    """A page that cannot be served."""


@contextmanager
def serving_page(
    service: Service,
    feed: Feed,
    *,
    port: int | None = 0,
    history: History | None = None,
    title: str = "",
    context: Sequence[str] = (),
    config: str | None = None,
) -> Iterator[str | None]:
    """Serve the page of a service until the end of the block; yield its address.

    Parameters
    ----------
    service
        The service whose health is shown.
    feed
        One of the service's listeners: what is shown.
    port
        The port of the loopback; 0 for any that is free, None for no page (then None is yielded).
    history
        Results of before, read in the background.
    title, context, config
        All are of the profile: the last is the digest of its settings.

    Raises
    ------
    PageError
        If the port is taken.
    """
    if port is None:
        yield None
        return
    with recent_warnings() as warnings:
        health = Health(service, warnings)
        page = Page(
            feed=feed, health=health, history=history, title=title, context=context, config=config
        )
        if history is not None:
            loader = threading.Thread(target=load, args=(feed, history), daemon=True)
            loader.start()
        with served(page.app(), port=port) as address:
            try:
                yield address
            finally:
                feed.close()  # the streams of updates end, else the server would wait for them


def load(feed: Feed, history: History) -> None:
    """Show the results of before; the page works without them."""
    try:
        feed.load(history.summaries())
    except Exception as e:  # the catalog may be away, and must not matter
        logger.warning("results of before are not shown: %s: %s", type(e).__name__, e)


@contextmanager
def served(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """Serve an application on the loopback until the end of the block; yield its address.

    Raises
    ------
    PageError
        If the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as e:
            raise PageError(
                f"cannot serve the page on port {port}: {e.strerror}; set service.page_port to "
                "another, to 0 for any that is free, or to null for no page"
            ) from e
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ws="none",  # updates are server-sent events
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="nearedge-page", daemon=True
        )
        listener.listen()  # a browser may come before the thread runs, and waits then
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(STOP_S)
