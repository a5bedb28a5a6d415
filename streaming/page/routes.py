"""The routes of the live page: static files, what is known as JSON, pushed updates, and health.

All but one change nothing that is stored: a merge of chosen scans becomes a result.
"""

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from anyio.to_thread import run_sync
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nearedge.callbacks.instrument import Instrument
from nearedge.streaming.answers import figures
from nearedge.streaming.answers.forms import EXPORTS, FormatError, export_of
from nearedge.streaming.answers.plain import dump
from nearedge.streaming.answers.trend import trend_csv
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.page.compare_routes import CompareRoutes
from nearedge.streaming.page.events import event_stream
from nearedge.streaming.page.exchange import as_json
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.headers import SecurityHeaders
from nearedge.streaming.page.lookup import Lookup
from nearedge.streaming.page.map_routes import MapRoutes
from nearedge.streaming.page.merge_routes import MergeRoutes
from nearedge.streaming.page.references import References
from nearedge.streaming.service.health import Health
from nearedge.streaming.service.merging import Merger
from nearedge.streaming.service.on_demand import OnDemand

HOSTS = ("127.0.0.1", "localhost")  # another name is a page elsewhere that was pointed at us
MAX_READERS = 32
STATIC = Path(str(files("nearedge.streaming.page") / "static"))


class Page:
    """The application, around what it shows.

    Parameters
    ----------
    feed
        Results and running scans.
    health
        The health of the service.
    history
        Stored results, or None where there is no catalog.
    title, context
        Both are of the profile: the page offers the scalars of its ``roles.context`` first.
    config
        Digest of the settings, which exports name.
    shelf
        Stored maps, or None where there is no catalog.
    asked
        What answers on demand, or None where nothing can.
    instrument
        How files of the user are read and normalised; None: they are not.
    merger
        Merges chosen scans, or None where nothing can be stored.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        health: Health,
        history: History | None = None,
        title: str = "",
        context: Sequence[str] = (),
        config: str | None = None,
        shelf: MapShelf | None = None,
        asked: OnDemand | None = None,
        instrument: Instrument | None = None,
        merger: Merger | None = None,
    ) -> None:
        self._feed, self._health, self._title, self._context = feed, health, title, context
        self._lookup = Lookup(feed, history, config=config)
        self._maps = MapRoutes(shelf, asked)
        references = None if instrument is None else References(instrument)
        self._compare = CompareRoutes(self._lookup, references)
        self._merges = MergeRoutes(self._lookup, merger)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/", self.index),
            Route("/api/about", self.about),
            Route("/api/results", self.results),
            Route("/api/results/{key}", self.result),
            Route("/api/results/{key}/export/{name}", self.export),
            Route("/api/running", self.running),
            Route("/api/trend.csv", self.trend),
            Route("/api/health", self.health),
            Route("/api/events", self.events),
            *self._maps.routes(),
            *self._compare.routes(),
            *self._merges.routes(),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        guards = [
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            Middleware(SecurityHeaders),
        ]
        return Starlette(routes=routes, middleware=guards)

    async def index(self, request: Request) -> Response:
        """Return the page itself."""
        return FileResponse(STATIC / "index.html")

    async def about(self, request: Request) -> Response:
        """Return what does not change while the service runs."""
        exports = [{"name": form.name, "title": form.title} for form in EXPORTS.values()]
        told = {"title": self._title, "context": list(self._context), "exports": exports}
        return as_json(told | figures.described())

    async def results(self, request: Request) -> Response:
        """Return all summaries, oldest first, and the scans that run."""
        known = {
            "results": self._feed.summaries(),
            "running": [one.notice() for one in self._feed.growing()],
        }
        return as_json(await run_sync(dump, known))

    async def result(self, request: Request) -> Response:
        """Return one spectrum with its answer."""
        key = request.path_params["key"]
        found = await run_sync(self._lookup.detail, key)
        if found is None:
            raise HTTPException(404, f"there is no spectrum with the key {key!r}")
        return as_json(await run_sync(dump, found))

    async def running(self, request: Request) -> Response:
        """Return the newest state of a running scan; null when it has ended meanwhile."""
        slot = request.query_params.get("slot")
        found = next((one for one in self._feed.growing() if one.slot == slot), None)
        return as_json(None if found is None else await run_sync(lambda: dump(found.view())))

    async def export(self, request: Request) -> Response:
        """Return a result as a file."""
        key = request.path_params["key"]
        try:
            form = export_of(request.path_params["name"])
        except FormatError as e:
            raise HTTPException(404, str(e)) from e
        answer = await run_sync(self._lookup.answer, key)
        if answer is None:
            raise HTTPException(404, f"there is no answer with the key {key!r}")
        content = await run_sync(form.content, answer)
        return attached(content, form.filename(answer), media_type=form.media_type)

    async def trend(self, request: Request) -> Response:
        """Return all summaries as CSV."""
        text = await run_sync(trend_csv, self._feed.summaries())
        return attached(text, "nearedge-trend.csv", media_type="text/csv")

    async def health(self, request: Request) -> Response:
        """Return how the service is."""
        return as_json(await run_sync(self._health.snapshot))

    async def events(self, request: Request) -> Response:
        """Return the stream of updates."""
        if self._feed.readers >= MAX_READERS:
            raise HTTPException(503, f"{MAX_READERS} pages are connected already: close one")
        updates = event_stream(self._feed, health=self._health.snapshot)
        return StreamingResponse(updates, media_type="text/event-stream")

    async def live(self, request: Request) -> Response:
        """Return that the process serves."""
        return as_json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Return whether spectra are taken and inverted, with 503 when not."""
        good, checks = await run_sync(self._health.ready)
        return as_json({"ready": good, "checks": checks}, status=200 if good else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the service's metrics in Prometheus form."""
        text = await run_sync(partial(generate_latest, self._health.registry))
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def attached(content: str | bytes, filename: str, *, media_type: str) -> Response:
    """Return an answer that a browser saves as a file."""
    named = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(content, media_type=media_type, headers=named)
