"""The routes of the view of maps: lists, images as bytes, pixels, and answers on demand.

Like the other routes they change nothing: an answer that is asked for here is kept nowhere.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nearedge.streaming.answers.plain import plain
from nearedge.streaming.answers.summary import Json
from nearedge.streaming.catalog.map_shelf import MapShelf, NoSuchMapError, Place
from nearedge.streaming.catalog.trouble import in_words
from nearedge.streaming.ledger.key import seed_at
from nearedge.streaming.page.exchange import as_json
from nearedge.streaming.page.foreign import refuse_foreign
from nearedge.streaming.page.map_view import MapView, asked_answer
from nearedge.streaming.service.on_demand import BusyError, OnDemand
from nearedge.streaming.workers.worker import WorkerError

T = TypeVar("T")

WATERFALL = 512
"""Rows of a waterfall at most: a screen has not many more."""
LONGEST = 200
"""Characters of a query that is read."""
AGAIN_S = "2"
MOST_MEMBERS = 8


class MapRoutes:
    """Answers for maps.

    Parameters
    ----------
    shelf
        The maps of the catalog; None where there is no catalog.
    asked
        What answers on demand; None where nothing can.
    """

    def __init__(self, shelf: MapShelf | None, asked: OnDemand | None) -> None:
        self._shelf, self._asked = shelf, asked
        self._view = None if shelf is None else MapView(shelf)
        self._warmed = ""

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/maps", self.maps),
            Route("/api/maps/{key}", self.one),
            Route("/api/maps/{key}/figure/{name}", self.figure),
            Route("/api/maps/{key}/pixel", self.pixel),
            Route("/api/maps/{key}/region", self.region),
            Route("/api/maps/{key}/spectra", self.spectra),
            Route("/api/maps/{key}/mixtures", self.mixtures),
            Route("/api/maps/{key}/components", self.components),
        ]

    async def maps(self, request: Request) -> Response:
        """Return the newest maps."""
        found = [] if self._shelf is None else await _read(self._shelf.summaries)
        return as_json({"maps": plain(found)})

    async def one(self, request: Request) -> Response:
        """Return a map without its arrays."""
        view, _, key = self._of(request)
        if key != self._warmed:
            self._warmed = key
            warming = threading.Thread(target=_warm, args=(view, key), daemon=True)
            warming.start()
        return as_json(await _read(lambda: view.about(key)))

    async def figure(self, request: Request) -> Response:
        """Return the numbers of an image as bytes; a header tells the shape."""
        view, _, key = self._of(request)
        name = request.path_params["name"]
        content, shape = await _read(lambda: view.figure(key, name))
        return _bytes(content, shape)

    async def pixel(self, request: Request) -> Response:
        """Return one pixel."""
        view, _, key = self._of(request)
        place = _place(request, "at")
        return as_json(await _read(lambda: view.pixel(key, place)))

    async def region(self, request: Request) -> Response:
        """Return the sum over a region; with ``answer=1`` it is inverted."""
        view, shelf, key = self._of(request)
        first, last = _place(request, "from"), _place(request, "to")
        found = await _read(lambda: shelf.region(key, first, last))
        told: Json = {**view.region(found), "answer": None, "seconds": None}
        if request.query_params.get("answer") == "1":
            refuse_foreign(request)
            asked = self._asked
            if asked is None:
                raise HTTPException(503, "no worker can be asked here")
            seed = seed_at(key, first, last)
            inversion, seconds = await _read(lambda: asked.invert(found.spectrum, seed=seed))
            name = f"{key} {first} {last}"
            told["answer"] = await run_sync(
                lambda: asked_answer(found.spectrum, inversion, name=name, time=time.time())
            )
            told["seconds"] = seconds
        return as_json(told)

    async def spectra(self, request: Request) -> Response:
        """Return evenly chosen spectra of a series.

        Their numbers as int32, the energies as float32, eV, then a float32 row for each spectrum.
        """
        _, shelf, key = self._of(request)
        rows, spectra = await _read(lambda: shelf.spectra(key, most=WATERFALL))
        energy = await _read(lambda: shelf.values(key, "energy"))
        parts = rows.astype("<i4"), energy.astype("<f4"), spectra.astype("<f4")
        return _bytes(b"".join(part.tobytes() for part in parts), spectra.shape)

    async def mixtures(self, request: Request) -> Response:
        """Return the fractions of chosen pixels in every pixel, their sum, and the misfit."""
        _, shelf, key = self._of(request)
        refuse_foreign(request)
        text = request.query_params.get("members", "")[:LONGEST]
        members = [_numbers(one, "members") for one in text.split(";") if one]
        if not 1 <= len(members) <= MOST_MEMBERS:
            raise HTTPException(
                400, f"found {len(members)} end members; expected 1 to {MOST_MEMBERS}"
            )
        found = await _read(lambda: shelf.mixtures(key, members))
        return _bytes(found.astype("<f4").tobytes(), found.shape)

    async def components(self, request: Request) -> Response:
        """Return the principal components of a map."""
        view, _, key = self._of(request)
        refuse_foreign(request)
        return as_json(await _read(lambda: view.components(key)))

    def _of(self, request: Request) -> tuple[MapView, MapShelf, str]:
        if self._view is None or self._shelf is None:
            raise HTTPException(404, "there is no catalog, and so no map")
        return self._view, self._shelf, request.path_params["key"]


def _warm(view: MapView, key: str) -> None:
    with suppress(Exception):  # it only saves time
        view.warm(key)


async def _read(make: Callable[[], T]) -> T:
    """Call something that reads, in another thread; what it raises becomes an answer in words."""
    try:
        return await run_sync(make)
    except NoSuchMapError as e:
        raise HTTPException(404, str(e)) from e
    except ValueError as e:
        raise HTTPException(422, str(e)) from e
    except BusyError as e:
        raise HTTPException(503, str(e), headers={"Retry-After": AGAIN_S}) from e
    except WorkerError as e:
        raise HTTPException(503, f"there is no answer: {e}") from e
    except (OSError, KeyError) as e:
        raise HTTPException(503, f"the catalog cannot be read: {in_words(e)}") from e
    except Exception as e:  # of the client of the catalog, whatever it is
        raise HTTPException(503, f"the map cannot be read: {in_words(e)}") from e


def _place(request: Request, name: str) -> Place:
    return _numbers(request.query_params.get(name, "")[:LONGEST], name)


def _numbers(text: str, name: str) -> Place:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise HTTPException(
            400, f"found {name}={text!r}; expected the numbers of a pixel, such as 3,4"
        ) from None


def _bytes(content: bytes, shape: tuple[int, ...]) -> Response:
    headers = {"X-Shape": ",".join(map(str, shape))}
    return Response(content, media_type="application/octet-stream", headers=headers)
