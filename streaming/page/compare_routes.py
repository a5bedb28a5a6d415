"""The routes for comparing spectra: several at once, and those of the user's own files.

Files are remembered for a while and stored nowhere.
"""

import math
from collections.abc import Callable
from typing import TypeVar

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nearedge.models import NormalisedSpectrum
from nearedge.models.comparing.combination import combine
from nearedge.models.comparing.common import CompareError, NamedSpectrum
from nearedge.models.comparing.series import analyse
from nearedge.streaming.answers.components import components_text, told_components
from nearedge.streaming.answers.merging import FARTHEST
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.answers.summary import Json
from nearedge.streaming.catalog.trouble import in_words
from nearedge.streaming.page.exchange import as_json, body_of
from nearedge.streaming.page.foreign import refuse_foreign
from nearedge.streaming.page.lookup import Lookup
from nearedge.streaming.page.references import LARGEST, References
from nearedge.streaming.sources.files import UnreadableFileError

T = TypeVar("T")

MOST = 48
"""Spectra that are sent at once."""
LONGEST = 40
"""Characters of what was asked for that are repeated to who asked."""


class CompareRoutes:
    """Answers for the comparison of spectra.

    Parameters
    ----------
    lookup
        Finds the spectra of the service.
    references
        Reads files; None where no profile says how.
    """

    def __init__(self, lookup: Lookup, references: References | None) -> None:
        self._lookup, self._references = lookup, references

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/spectra", self.spectra),
            Route("/api/combination", self.combination),
            Route("/api/components", self.components),
            Route("/api/references", self.read, methods=["POST"]),
        ]

    async def spectra(self, request: Request) -> Response:
        """Return the normalised spectra of several keys; those that are not known are named."""
        keys = _keys(request)
        found = await _read(lambda: {key: self._view(key) for key in keys})
        known = {key: view for key, view in found.items() if view is not None}
        return as_json({"spectra": known, "unknown": [key for key in keys if key not in known]})

    async def combination(self, request: Request) -> Response:
        """Fit one spectrum by others, with weights that are not negative.

        Their sum is free unless ``to_one`` is 1; ``most_shift`` allows a shift of the spectrum, eV.
        """
        refuse_foreign(request)
        target = request.query_params.get("target", "")
        members = [key for key in _keys(request) if key != target]
        to_one, most = _to_one(request), _most_shift(request)
        return as_json(await _read(lambda: self._fitted(target, members, to_one, most)))

    async def components(self, request: Request) -> Response:
        """Find the principal components of several spectra, whose scores are in the order asked."""
        refuse_foreign(request)
        keys = _keys(request)
        return as_json(await _read(lambda: self._analysed(keys)))

    async def read(self, request: Request) -> Response:
        """Read a file that the user chose; its spectra can then be asked for by key."""
        refuse_foreign(request)
        references = self._references
        if references is None:
            raise HTTPException(503, "no profile says how files are to be read here")
        name = request.query_params.get("name", "file")
        content = await body_of(
            request,
            most=LARGEST,
            otherwise=f"larger than {LARGEST >> 20} MB: choose a file of text",
        )
        try:
            taken, refused = await run_sync(references.read, name, content)
        except UnreadableFileError as e:
            raise HTTPException(422, f"{name}: {e}") from e
        told = [{"key": one.key, "name": one.name} for one in taken]
        return as_json({"references": told, "refused": refused})

    def _fitted(self, target: str, members: list[str], to_one: bool, most: float) -> Json:
        spectra = [self._named(key) for key in members]
        fit = combine(self._named(target), spectra, to_one=to_one, most_shift=most)
        numbers = (
            *("total", "total_error", "r_factor", "reduced_chi_square", "misfit", "noise"),
            *("shift", "to_one", "energy", "fit", "residual"),
        )
        weights = [
            {"key": key, "weight": weight, "error": error}
            for key, weight, error in zip(members, fit.weights, fit.errors, strict=True)
        ]
        found = {name: getattr(fit, name) for name in numbers}
        allowed = {"most_shift": most, "at_bound": fit.at_bound(most)}
        return plain({"members": weights, **found, **allowed})

    def _analysed(self, keys: list[str]) -> Json:
        series = [self._named(key) for key in keys]
        found = analyse(series)
        named = [{"key": key, "name": one.name} for key, one in zip(keys, series, strict=True)]
        return {"series": named, "words": components_text(found), **told_components(found)}

    def _named(self, key: str) -> NamedSpectrum:
        reference = None if self._references is None else self._references.get(key)
        if reference is not None:
            return NamedSpectrum(name=reference.name, spectrum=reference.spectrum)
        spectrum = self._lookup.spectrum(key)
        if spectrum is None:
            raise CompareError(f"there is no spectrum with the key {key!r}: choose it again")
        return NamedSpectrum(name=self._lookup.name(key), spectrum=spectrum)

    def _view(self, key: str) -> Json | None:
        """Return what is drawn of a spectrum; None where there is none of that key."""
        reference = None if self._references is None else self._references.get(key)
        if reference is not None:
            told = {"name": reference.name, "signal": reference.signal}
            return drawn(reference.spectrum) | told
        spectrum = self._lookup.spectrum(key)
        return None if spectrum is None else drawn(spectrum)


async def _read(make: Callable[[], T]) -> T:
    """Call something that reads, in another thread; what it raises becomes an answer in words."""
    try:
        return await run_sync(make)
    except CompareError as e:
        raise HTTPException(422, str(e)) from e
    except Exception as e:  # of the client of the catalog, whatever it is
        raise HTTPException(503, f"the catalog cannot be read: {in_words(e)}") from e


def drawn(spectrum: NormalisedSpectrum) -> Json:
    """Return what is drawn of a spectrum."""
    return {
        "energy": plain(spectrum.energy),
        "flat": plain(spectrum.flat),
        "e0": spectrum.e0,
        "edge_step": spectrum.edge_step,
        "edge": f"{spectrum.absorber} {spectrum.edge}",
        "technique": str(spectrum.technique),
        "flags": list(spectrum.flags),
    }


def _to_one(request: Request) -> bool:
    """Return whether the weights of a fit are to add up to 1."""
    text = request.query_params.get("to_one", "0")
    if text not in ("0", "1"):
        raise HTTPException(400, f"found to_one={text[:LONGEST]!r}; expected 0 or 1")
    return text == "1"


def _most_shift(request: Request) -> float:
    """Return how far a fit may shift the spectrum, eV."""
    text = request.query_params.get("most_shift", "0")
    try:
        most = float(text)
    except ValueError:
        most = math.nan
    if not 0 <= most <= FARTHEST:  # nor NaN
        raise HTTPException(
            400, f"found most_shift={text[:LONGEST]!r}; expected a number of eV, 0 to {FARTHEST:g}"
        )
    return most


def _keys(request: Request) -> list[str]:
    """Return the keys that are asked for."""
    keys = list(dict.fromkeys(request.query_params.get("keys", "").split()))
    if not 1 <= len(keys) <= MOST:
        raise HTTPException(400, f"found {len(keys)} keys; expected 1 to {MOST}")
    return keys
