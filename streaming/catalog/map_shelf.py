"""The maps of the catalog for a page that shows them: parts of arrays, each read once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tiled.queries import SpecsQuery

from nearedge.callbacks.composition import with_elements
from nearedge.models import NormalisedSpectrum, Technique
from nearedge.models.comparing.common import RANGE
from nearedge.models.maps.components import Components, components
from nearedge.models.maps.mixtures import mixtures
from nearedge.models.maps.regions import region_spectrum
from nearedge.models.spectrum import Array
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.history import KEY
from nearedge.streaming.catalog.maps import (
    FIGURE_STACK,
    MAP_SPEC,
    NOTHING,
    StoredMap,
    flag_counts,
)
from nearedge.streaming.ledger.job import State

LISTED = 500
"""Maps of which a list tells, the newest."""
KEPT_BYTES = 256 * 2**20
"""Arrays over maps that are remembered."""
WHOLE_BYTES = 96 * 2**20
"""Spectra of larger maps are read when they are asked for."""
AT_ONCE = 64 * 2**20
"""Bytes of spectra that are read in one request."""
AT_A_TIME = 4
"""Requests that are under way together while a map is read ahead."""
MOST_COMPARED = 4096
FEWEST_COMPARED = 3
TRUSTED_S = 10.0
"""A complete map seldom changes: pixels that could not be read may come later."""
_LISTED = (
    *("title", "status", "shape", "axes", "pixels", "answered", "come", "absorber", "edge"),
    *("technique", "written", "raw"),
)

Place: TypeAlias = tuple[int, ...]
"""The index of a pixel, one number for each axis."""
Version: TypeAlias = tuple[str, str, str]
"""Key, moment of writing and name of an array."""


class NoSuchMapError(KeyError):
    """A key or an array that the catalog has not, or a place outside of a map."""

    def __str__(self) -> str:
        """Return the sentence, without the quotes of a key."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """The pixels between two places.

    Attributes
    ----------
    spectrum
        Their sum, in edge steps.
    pixels
        How many it came from.
    left_out
        How many were not answered, and are not in it.
    flags
        How many of them have each flag.
    """

    spectrum: NormalisedSpectrum
    pixels: int
    left_out: int
    flags: dict[str, int]


class _Shelved(StoredMap):
    """A map whose arrays can be read in parts; one request tells of all of them."""

    def __init__(self, node: Any) -> None:
        super().__init__(node)
        self._listed = threading.Lock()
        self._clients: dict[str, Any] | None = None

    def client(self, name: str) -> Any:
        with self._listed:
            if self._clients is None:
                self._clients = dict(self._node.items())
            return self._clients[name]

    def part(self, name: str, where: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.client(name).read(where))


class MapShelf:
    """Reads the container of maps; it may be away, then there are none.

    Parameters
    ----------
    connect
        Opens the container; called when it is first needed, and again after a failure.
    kept_bytes
        Arrays that are remembered.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        kept_bytes: int = KEPT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._kept_bytes, self._clock = connect, kept_bytes, clock
        self._container: Client | None = None
        self._arrays: OrderedDict[Version, np.ndarray] = OrderedDict()
        self._complete: OrderedDict[str, tuple[_Shelved, float]] = OrderedDict()
        self._reading: dict[Version, Future[np.ndarray]] = {}
        self._lock = threading.Lock()

    def summaries(self, *, limit: int = LISTED) -> list[dict[str, Any]]:
        """Return what lists show of the newest maps, the newest first.

        Raises
        ------
        httpx.HTTPError
            If the catalog is away.
        """
        found = self._open().search(SpecsQuery(include=[MAP_SPEC])).sort(("written", -1))
        out: list[dict[str, Any]] = []
        for key, node in found.items():
            metadata = dict(node.metadata)
            if metadata.get("shape"):
                out.append({"key": key, **{name: metadata.get(name) for name in _LISTED}})
            if len(out) >= limit:
                break
        return out

    def metadata(self, key: str) -> dict[str, Any]:
        """Return all that can be searched of a map; errors as for `values`."""
        return self._map(key).metadata

    def positions(self, key: str) -> list[Array]:
        """Return where the pixels lie along each axis, by number where that is not known yet.

        Errors are those of `values`.
        """
        found = self._map(key)
        return [self._axis(found, number) for number in range(len(found.shape))]

    def values(self, key: str, name: str) -> np.ndarray:
        """Return an array over the map, or one of its energies.

        Raises
        ------
        NoSuchMapError
            If the catalog has no such map, or the map no such array.
        httpx.HTTPError
            If the catalog is away.
        """
        return self._array(self._map(key), name)

    def part(self, key: str, name: str, where: tuple[slice, ...]) -> np.ndarray:
        """Return a part of an array that has more axes than the map; errors as for `values`."""
        found = self._map(key)
        with self._lock:
            if (whole := self._arrays.get(_version(found, name))) is not None:
                return whole[where]
        try:
            return found.part(name, where)
        except KeyError:
            raise NoSuchMapError(f"the map {key} has no array {name!r}") from None

    def warm(self, key: str, names: Iterable[str]) -> None:
        """Read arrays of a complete map that will be asked for soon; those that fail are left.

        Several are read at a time: most of a request's time is waiting.
        """
        found = self._map(key)
        if found.metadata.get("status") != State.COMPLETE:
            return
        kept = set(found.metadata.get("figure_names", ()))
        once = [*([FIGURE_STACK] if kept else []), *(one for one in names if one not in kept)]
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="nearedge-warm") as pool:
            for name in ("energy", "cn_prob", *once):
                pool.submit(self._tried, found, name)
        self._warm_spectra(found)  # many bytes, which would hold up all the others

    def _warm_spectra(self, found: _Shelved) -> None:
        with suppress(Exception):
            energies = len(self._array(found, "energy"))
            if 4 * energies * int(np.prod(found.shape)) <= WHOLE_BYTES:
                self._array(found, "norm")

    def _tried(self, found: _Shelved, name: str) -> None:
        with suppress(Exception):  # it will be read, or fail, when it is asked for
            self._array(found, name)

    def place(self, key: str, place: Place) -> Place:
        """Return a place; errors as for `values`, and if it lies outside of the map."""
        shape = self._map(key).shape
        inside = len(place) == len(shape) and all(
            0 <= i < n for i, n in zip(place, shape, strict=True)
        )
        if not inside:
            raise NoSuchMapError(f"found the pixel {place}; the map {key} has the shape {shape}")
        return place

    def region(self, key: str, first: Place, last: Place) -> Region:
        """Return the sum of the answered pixels of a rectangle.

        Parameters
        ----------
        key
            The map.
        first, last
            Two opposite corners, both inside.

        Raises
        ------
        NoSuchMapError
            If there is no such map, or a corner lies outside.
        ValueError
            If no pixel there has a spectrum.
        httpx.HTTPError
            If the catalog is away.
        """
        corners = zip(self.place(key, first), self.place(key, last), strict=True)
        where = tuple(slice(min(pair), max(pair) + 1) for pair in corners)
        found = self._map(key)
        reason = self._array(found, "reason")[where]
        good = reason.ravel() == -1
        if not good.any():
            raise ValueError(f"none of the {reason.size} pixels has a spectrum")
        numbers = {
            name: self._array(found, name)[where].ravel()[good].astype(float)
            for name in ("e0", "edge_step", "energy_shift")
        }
        metadata = found.metadata
        bits = self._array(found, "flags")[where].ravel()[good]
        counts = flag_counts(bits, metadata["flag_names"])
        flags = {name: count for name, count in counts.items() if count}
        of_all = tuple(name for name, count in flags.items() if count == int(good.sum()))
        spectrum = region_spectrum(
            self._array(found, "energy").astype(float),
            self._spectra(key, where)[good],
            **numbers,
            technique=Technique(metadata["technique"]),
            absorber=metadata["absorber"],
            edge=metadata["edge"],
            flags=tuple(name for name in of_all if name not in OF_THE_HEADS),
        )
        spectrum = with_elements(spectrum, metadata.get("formula") or "")
        count = int(good.sum())
        return Region(spectrum=spectrum, pixels=count, left_out=reason.size - count, flags=flags)

    def spectra(self, key: str, *, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return evenly chosen pixels, (k,) counted through, and their spectra (k, n).

        Spectra that are not there are NaN. Errors are those of `values`.
        """
        found = self._map(key)
        shape = found.shape
        step = max(1, -(-shape[0] // most)) if len(shape) == 1 else 1
        if len(shape) == 1:
            rows = np.arange(0, shape[0], step)
            return rows, self._spectra(key, (slice(0, shape[0], step),))
        count = int(np.prod(shape))
        by = max(1, int(np.ceil(np.sqrt(count / most))))
        where = tuple(slice(0, n, by) for n in shape)
        rows = np.arange(count).reshape(shape)[where].ravel()
        return rows, self._spectra(key, where)

    def mixtures(self, key: str, members: Sequence[Place]) -> np.ndarray:
        """Fit every pixel by the spectra of chosen ones, with fractions that are not negative.

        Returns
        -------
        ndarray
            (k + 2, …) float32 over the map: the fraction of each member, their sum, and the
            root-mean-square misfit in edge steps. NaN where a pixel has no spectrum.

        Raises
        ------
        NoSuchMapError
            If there is no such map, or a place lies outside.
        ValueError
            If a member has no spectrum, or two are alike.
        """
        found = self._map(key)
        window = self._window(found)
        wanted = [
            self._spectra(key, tuple(slice(i, i + 1) for i in self.place(key, one)))[0, window]
            for one in members
        ]
        if not np.isfinite(wanted).all():
            raise ValueError("an end member has no whole spectrum: choose answered pixels")
        parts = []
        for band in self._bands(found):
            spectra = self._spectra(key, band)[:, window].astype(float)
            fit = mixtures(spectra, np.array(wanted, float))
            total = fit.fractions.sum(axis=1)
            parts.append(np.column_stack([fit.fractions, total, fit.misfit]).astype(np.float32))
        return np.concatenate(parts).T.reshape(-1, *found.shape)

    def components(self, key: str, *, most: int = MOST_COMPARED) -> tuple[Array, Components, Array]:
        """Return the principal components of a map's spectra about the edge.

        Returns
        -------
        tuple
            (n,) eV; the components; and (k,) the pixels, counted through, that they came from.

        Raises
        ------
        ValueError
            If fewer than three pixels have a whole spectrum.
        """
        found = self._map(key)
        window = self._window(found)
        rows, spectra = self.spectra(key, most=most)
        spectra = spectra[:, window].astype(float)
        known = np.isfinite(spectra).all(axis=1)
        if known.sum() < FEWEST_COMPARED:
            raise ValueError(
                f"{int(known.sum())} pixels have a whole spectrum; expected {FEWEST_COMPARED} "
                "or more"
            )
        energy = self._array(found, "energy").astype(float)[window]
        return energy, components(spectra[known]), rows[known]

    # -- inside -------------------------------------------------------------------------------

    def _axis(self, found: _Shelved, number: int) -> Array:
        try:
            return self._array(found, f"axis_{number}")
        except NoSuchMapError:
            return np.arange(found.shape[number], dtype=float)

    def _window(self, found: _Shelved) -> NDArray[np.bool_]:
        """Return which energies are compared: those about the edge."""
        energy = self._array(found, "energy").astype(float)
        e0 = self._array(found, "e0")
        if not np.isfinite(e0).any():
            raise ValueError("no pixel has an edge")
        off = energy - float(np.nanmedian(e0 - self._array(found, "energy_shift")))
        return (off >= RANGE[0]) & (off <= RANGE[1])

    def _bands(self, found: _Shelved) -> Iterator[tuple[slice, ...]]:
        """Yield slices of a map, one after the other along the first axis."""
        first, *others = found.shape
        size = len(self._array(found, "energy"))
        per = max(1, AT_ONCE // max(1, 8 * int(np.prod(others, dtype=int)) * size))
        for at in range(0, first, per):
            yield (slice(at, min(at + per, first)), *(slice(0, n) for n in others))

    def _spectra(self, key: str, where: tuple[slice, ...]) -> np.ndarray:
        """Return normalised spectra (p, n) of a part, read in bands; NaN where none has come."""
        first, *others = where
        size = len(self._array(self._map(key), "energy"))
        rest = int(np.prod([len(range(s.start, s.stop, s.step or 1)) for s in others], dtype=int))
        step = first.step or 1
        per = max(1, AT_ONCE // max(1, 4 * rest * size)) * step
        bands = [
            self.part(key, "norm", (slice(at, min(at + per, first.stop), step), *others))
            for at in range(first.start, first.stop, per)
        ]
        spectra = np.concatenate(bands).reshape(-1, size)
        come = self._array(self._map(key), "reason")[where].ravel() > NOTHING
        return np.where(come[:, None], spectra, np.nan)

    def _array(self, found: _Shelved, name: str) -> np.ndarray:
        names = list(found.metadata.get("figure_names", ()))
        if name in names:  # of a live map, whose figures share one array
            return self._array(found, FIGURE_STACK)[..., names.index(name)]
        version = _version(found, name)
        with self._lock:
            if version in self._arrays:
                self._arrays.move_to_end(version)
                return self._arrays[version]
            reading = self._reading.get(version)
            if reading is None:
                mine = self._reading[version] = Future[np.ndarray]()
        if reading is not None:  # whoever asks meanwhile waits for the same answer
            return reading.result()
        try:
            array = self._read(found, name)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(array)
            self._keep(version, array)
            return array
        finally:
            with self._lock:
                del self._reading[version]

    def _read(self, found: _Shelved, name: str) -> np.ndarray:
        try:
            return found[name]
        except KeyError:
            raise NoSuchMapError(f"the map {found.key} has no array {name!r}") from None

    def _keep(self, version: Version, array: np.ndarray) -> None:
        with self._lock:
            self._arrays[version] = array
            while len(self._arrays) > 1 and self._bytes() > self._kept_bytes:
                self._arrays.popitem(last=False)

    def _bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def _map(self, key: str) -> _Shelved:
        """Return a map; of one that is complete the server is asked again after some seconds."""
        if not KEY.fullmatch(key):  # the server need not be asked, nor does it take every character
            raise NoSuchMapError(f"the catalog has no map with the key {key!r}")
        with self._lock:
            if key in self._complete and self._clock() < self._complete[key][1]:
                return self._complete[key][0]
        try:
            found = _Shelved(self._open()[key])
        except KeyError:
            raise NoSuchMapError(f"the catalog has no map with the key {key!r}") from None
        if found.metadata.get("status") == State.COMPLETE:
            with self._lock:
                self._complete[key] = (found, self._clock() + TRUSTED_S)
                while len(self._complete) > LISTED:
                    self._complete.popitem(last=False)
        return found

    def _open(self) -> Client:
        with self._lock:
            if self._container is None:
                self._container = self._connect()
            return self._container


def _version(found: _Shelved, name: str) -> Version:
    return found.key, str(found.metadata.get("written")), name


OF_THE_HEADS = frozenset({"heads-only", "out-of-distribution"})
"""Flags of the answer to a pixel, not of its spectrum."""
