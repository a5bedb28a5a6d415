"""Updates as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from anyio.to_thread import run_sync

from nearedge.streaming.answers.plain import dump
from nearedge.streaming.answers.summary import Json
from nearedge.streaming.page.feed import Feed, Message

HEALTH_EVERY_S = 2.0


def event(message: Message) -> bytes:
    """Return one message in the form of the stream."""
    name, data = message
    return b"event: " + name.encode() + b"\ndata: " + dump(data) + b"\n\n"


async def event_stream(
    feed: Feed,
    *,
    health: Callable[[], Json],
    every_s: float = HEALTH_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[bytes]:
    """Yield what changes, and the health every few seconds, until the feed closes.

    Parameters
    ----------
    feed
        The feed whose messages are passed on; it never waits for this reader.
    health
        Makes a snapshot; called in another thread.
    every_s
        Seconds between snapshots; they also keep the connection alive.
    clock
        Monotonic seconds.
    """
    loop, rung = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(rung.set)

    with feed.reader(wake) as mailbox:
        due, asked = clock(), None
        try:
            while not feed.closed:
                if asked is None and clock() >= due:  # results never wait for the health
                    asked = asyncio.ensure_future(run_sync(health, abandon_on_cancel=True))
                    asked.add_done_callback(lambda _: rung.set())
                    due = clock() + every_s
                for message in mailbox.take():
                    yield event(message)
                if asked is not None and asked.done():
                    yield event(("health", asked.result()))
                    asked = None
                await _ring_or(rung, every_s if asked is not None else due - clock())
        finally:
            if asked is not None:
                asked.cancel()


async def _ring_or(rung: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(rung.wait(), max(0.0, seconds))
    except TimeoutError:
        return
    rung.clear()
