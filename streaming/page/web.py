"""Serve the live page from a thread of the service, on the loopback only."""

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from nearedge.callbacks.instrument import Instrument
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.page.doorstep import Doorstep, PageError, address_of, listening
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.routes import Page
from nearedge.streaming.service.health import Health, recent_warnings
from nearedge.streaming.service.merging import Merger
from nearedge.streaming.service.on_demand import OnDemand
from nearedge.streaming.service.service import Service

__all__ = ["PageError", "load", "served", "serving_page"]

logger = logging.getLogger(__name__)

STOP_S = 3.0


@contextmanager
def serving_page(
    service: Service,
    feed: Feed,
    *,
    port: int | None = 0,
    waiting: Doorstep | None = None,
    history: History | None = None,
    shelf: MapShelf | None = None,
    title: str = "",
    context: Sequence[str] = (),
    config: str | None = None,
    instrument: Instrument | None = None,
    merger: Merger | None = None,
) -> Iterator[str | None]:
    """Serve the page of a service until the end of the block; yield its address.

    Parameters
    ----------
    service
        The service whose health is shown, and whose worker is asked for single answers.
    feed
        One of the service's listeners: what is shown.
    port
        The port of the loopback; 0 for any that is free, None for no page (then None is yielded).
    waiting
        What has answered there until now, instead of a port.
    history
        Results of before, read in the background.
    shelf
        The maps of the catalog.
    title, context, config
        All are of the profile: the last is the digest of its settings.
    instrument
        That of the profile: how files that the user drops on the page are read.
    merger
        What merges chosen scans; None: nothing does.

    Raises
    ------
    PageError
        If the port is taken.
    """
    if port is None and waiting is None:
        yield None
        return
    with recent_warnings() as warnings:
        health = Health(service, warnings)
        page = Page(
            feed=feed,
            health=health,
            history=history,
            title=title,
            context=context,
            config=config,
            shelf=shelf,
            asked=OnDemand(service.worker),
            instrument=instrument,
            merger=merger,
        )
        if history is not None:
            loader = threading.Thread(target=load, args=(feed, history), daemon=True)
            loader.start()
        with served(page.app(), port=port or 0, waiting=waiting) as address:
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


class PageServer(uvicorn.Server):
    """Tells when it serves: one that is told to end before that leaves its socket open.

    Attributes
    ----------
    begun
        Set once it serves, or has ended.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = threading.Event()

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until `should_exit` is set."""
        try:
            self.run(sockets=[listener])
        finally:
            self.begun.set()

    async def on_tick(self, counter: int) -> bool:
        """Look whether to end; the first look is when it serves."""
        self.begun.set()
        return await super().on_tick(counter)


@contextmanager
def served(app: ASGIApp, *, port: int = 0, waiting: Doorstep | None = None) -> Iterator[str]:
    """Serve an application on the loopback until the end of the block; yield its address.

    Parameters
    ----------
    port
        Where; 0 for any that is free.
    waiting
        What has answered there until now, instead of a port.

    Raises
    ------
    PageError
        If the port is taken.
    """
    with listening(port) if waiting is None else waiting.leave() as listener:
        server = PageServer(
            uvicorn.Config(
                app,
                ws="none",  # updates are server-sent events
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(
            target=server.serve_on, args=(listener,), name="nearedge-page", daemon=True
        )
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.begun.wait(STOP_S)
            server.should_exit = True
            thread.join(STOP_S)
