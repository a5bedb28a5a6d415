"""The one route of the page that adds something to the catalog: the merge of chosen scans."""

from collections.abc import Sequence
from typing import Any

from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.merging import (
    FARTHEST,
    MOST,
    MergeError,
    UnlikeError,
    name_of,
    sources_text,
)
from nearedge.streaming.catalog.trouble import in_words
from nearedge.streaming.page.exchange import JSON, as_json, body_of
from nearedge.streaming.page.foreign import refuse_foreign
from nearedge.streaming.page.lookup import Lookup
from nearedge.streaming.service.merging import Merger

LARGEST = 64 << 10
"""Bytes of a request: the keys of `MOST` spectra take a quarter of that."""


class MergeRequest(BaseModel):
    """What is to be merged, and how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[str] = Field(max_length=MOST)
    most_shift: float | None = Field(default=None, ge=0, le=FARTHEST)
    anyway: bool = False


class MergeRoutes:
    """Answers for merges.

    Parameters
    ----------
    lookup
        Finds the spectra.
    merger
        Merges and queues them; None where nothing can be stored.
    """

    def __init__(self, lookup: Lookup, merger: Merger | None) -> None:
        self._lookup, self._merger = lookup, merger

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/api/merges", self.merge, methods=["POST"])]

    async def merge(self, request: Request) -> Response:
        """Queue the merge of chosen scans; return its key, under which the answer will come."""
        refuse_foreign(request)
        asked = await _asked(request)
        if self._merger is None:
            raise HTTPException(503, "there is no catalog here that a merge could be stored in")
        return as_json(await run_sync(self._merged, self._merger, asked), status=202)

    def _merged(self, merger: Merger, asked: MergeRequest) -> dict[str, Any]:
        answers = self._answers(list(dict.fromkeys(asked.keys)))
        try:
            merged, new = merger.merge(answers, most=asked.most_shift, anyway=asked.anyway)
        except UnlikeError as e:
            raise HTTPException(409, str(e)) from e
        except MergeError as e:
            raise HTTPException(422, str(e)) from e
        sources = merged.measurement.merged_from
        named = [{**one, "name": name_of(one)} for one in sources]
        of = sources_text(sources)
        return {
            "key": merged.key,
            "new": new,
            "of": of,
            "alike": merged.merge.alike,
            "most_shift": merged.most_shift,
            "sources": named,
        }

    def _answers(self, keys: Sequence[str]) -> list[Answer]:
        try:
            found = {key: self._lookup.answer(key) for key in keys}
        except Exception as e:  # of the client of the catalog, whatever it is
            raise HTTPException(503, f"the catalog cannot be read: {in_words(e)}") from e
        missing = [key for key, answer in found.items() if answer is None]
        if missing:
            raise HTTPException(
                404,
                f"{len(missing)} of the {len(keys)} chosen have no answer, such as "
                f"{missing[0][:80]}: choose scans that are complete",
            )
        return [answer for answer in found.values() if answer is not None]


async def _asked(request: Request) -> MergeRequest:
    """Return what a request asks for.

    A form of another site can send text, but no JSON, unless the service allowed it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise HTTPException(415, f"found the content type {kind!r}; expected {JSON}")
    body = await body_of(
        request, most=LARGEST, otherwise=f"larger than {LARGEST >> 10} kB: choose fewer scans"
    )
    try:
        return MergeRequest.model_validate_json(body)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise HTTPException(400, f"{where}: {first['msg']}") from e
