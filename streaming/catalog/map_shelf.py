"""The maps of the catalog for a page that shows them: parts of arrays, each read once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
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
    STACKED,
    StoredMap,
    flag_counts,
)
from nearedge.streaming.ledger.job import State

LISTED = 500
"""Maps of which a list tells, the newest."""
KEPT_BYTES = 256 * 2**20
"""Arrays over maps that are remembered."""
TILE = 16
"""Pixels along each side of a square whose spectra are read together: a request of the catalog
takes as long for one of them, and the next that is chosen is often near."""
PART_BYTES = 8 * 2**20
"""Larger parts of an array are not remembered."""
AT_ONCE = 64 * 2**20
"""Bytes of spectra that are read in one request."""
AT_A_TIME = 4
"""Requests that are under way together while a map is read ahead."""
MOST_COMPARED = 4096
FEWEST_COMPARED = 3
TRUSTED_S = 10.0
"""A complete map seldom changes: pixels that could not be read may come later."""
SEEN_S = 60.0
"""Whoever looks at a map asks what it is now and again; its pixels are those of what was told."""
_LISTED = (
    *("title", "status", "shape", "axes", "pixels", "answered", "come", "absorber", "edge"),
    *("technique", "written", "raw"),
)

Place: TypeAlias = tuple[int, ...]
"""The index of a pixel, one number for each axis."""
Version: TypeAlias = tuple[str, str, str, str]
"""Key, moment of writing and name of an array, and which part of it; empty for the whole."""


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixel:
    """What is known of a pixel.

    Attributes
    ----------
    place
        Which it is.
    positions
        Where it lies along each axis.
    state
        ``answered``, ``rejected`` or ``not yet``.
    reason
        Why it was rejected, or None.
    flags
        Its flags.
    figures
        Numbers of the answer and of the normalisation, NaN where there are none.
    group
        The number of its group, or -1.
    cn_prob
        (c,) probability of CN = 0, 1, …; None while no pixel has any.
    energy, norm
        (n,) eV, and its normalised spectrum; None while no pixel has any.
    """

    place: Place
    positions: tuple[float, ...]
    state: str
    reason: str | None
    flags: tuple[str, ...]
    figures: dict[str, float]
    group: int
    cn_prob: np.ndarray | None
    energy: Array | None
    norm: np.ndarray | None


class _Shelved(StoredMap):
    """A map whose arrays can be read in parts; one request tells of all of them.

    Parameters
    ----------
    node
        Tiled client of its container.
    before
        What it was before, whose arrays need not be listed again if they have the same shape.
    """

    def __init__(self, node: Any, before: "_Shelved | None" = None) -> None:
        super().__init__(node)
        self._listed = threading.Lock()
        same = before is not None and before.shape == self.shape
        self.clients: dict[str, Any] = before.clients if before is not None and same else {}

    def client(self, name: str) -> Any:
        with self._listed:
            if name not in self.clients:
                self.clients = dict(self._node.items())
            return self.clients[name]

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
        self._seen: OrderedDict[str, tuple[_Shelved, float]] = OrderedDict()
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
        """Return all that can be searched of a map, as it is now; errors as for `values`."""
        return self._map(key, anew=True).metadata

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

    def pixel(self, key: str, place: Place) -> Pixel:
        """Return what is known of a pixel of a map as `metadata` told of it last.

        Errors are those of `values` and `place`.
        """
        at, found = self.place(key, place), self._map(key)
        metadata = found.metadata
        stacked = "figure_names" in metadata  # else each figure is an array
        names = list(metadata["figure_names"]) if stacked else list(STACKED)
        read = self._read_at(found, at, [FIGURE_STACK] if stacked else names)
        figures = read[FIGURE_STACK] if stacked else [read[name] for name in names]
        number, bits = int(read["reason"]), int(read.get("flags", 0))
        if number >= len(metadata["reasons"]):  # it has come since
            metadata = self.metadata(key)
        axes = [self._axis(found, k) for k in range(len(at))]
        return Pixel(
            place=at,
            positions=tuple(float(axis[i]) for axis, i in zip(axes, at, strict=True)),
            state="answered" if number == -1 else "rejected" if number >= 0 else "not yet",
            reason=metadata["reasons"][number] if number >= 0 else None,
            flags=tuple(n for k, n in enumerate(metadata["flag_names"]) if bits >> k & 1),
            figures={name: float(value) for name, value in zip(names, figures, strict=True)},
            group=int(read.get("group", -1)),
            cn_prob=read.get("cn_prob"),
            energy=read.get("energy"),
            norm=read.get("norm"),
        )

    def _read_at(self, found: _Shelved, at: Place, figures: Sequence[str]) -> dict[str, Any]:
        """Return what arrays hold at a place, and the energies; those that are not there left out.

        What has to be read is read at the same time: most of a request's time is waiting.
        """
        where = tuple(slice(i, i + 1) for i in at)
        grouped = ["group"] if found.metadata.get("status") == State.COMPLETE else []

        def one(name: str) -> Any:
            try:
                if name == "energy":
                    return self._array(found, name)
                return self._part(found, name, where)[(0,) * len(at)]
            except NoSuchMapError:
                if name == "reason" or name in figures:
                    raise
                return None

        names = [*figures, "reason", "flags", "cn_prob", "norm", "energy", *grouped]
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="nearedge-pixel") as pool:
            read = dict(zip(names, pool.map(one, names), strict=True))
        return {name: value for name, value in read.items() if value is not None}

    def _part(self, found: _Shelved, name: str, where: tuple[slice, ...]) -> np.ndarray:
        """Return a part of an array over the map: of what is kept, or read with what lies about."""
        whole = _version(found, name)
        with self._lock:
            soon = whole in self._arrays or whole in self._reading
        if soon:
            return self._array(found, name)[where]
        wide = _tile(where, found.shape)
        version = _version(found, name, part=str(wide))
        tile = self._once(version, lambda: self._read_part(found, name, wide))
        if wide == where:
            return tile
        pairs = zip(where, wide, strict=True)
        return tile[tuple(slice(s.start - t.start, s.stop - t.start) for s, t in pairs)]

    def warm(self, key: str) -> None:
        """Read what pixels of a complete map need, and what fails is left.

        Of the spectra only those in the middle: all of a large map would hold up everything else,
        but the first that are read also open their file.
        """
        found = self._map(key)
        metadata = found.metadata
        if metadata.get("status") != State.COMPLETE:
            return
        figures = [FIGURE_STACK] if "figure_names" in metadata else list(STACKED)
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="nearedge-warm") as pool:
            for name in ("energy", "cn_prob", "group", "reason", "flags", *figures):
                pool.submit(_tried, self._array, found, name)
            middle = tuple(slice(n // 2, n // 2 + 1) for n in found.shape)
            pool.submit(_tried, self._part, found, "norm", middle)

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
        found = self._map(key)
        size = len(self._array(found, "energy"))
        rest = int(np.prod([len(range(s.start, s.stop, s.step or 1)) for s in others], dtype=int))
        step = first.step or 1
        per = max(1, AT_ONCE // max(1, 4 * rest * size)) * step
        bands = [
            self._part(found, "norm", (slice(at, min(at + per, first.stop), step), *others))
            for at in range(first.start, first.stop, per)
        ]
        spectra = np.concatenate(bands).reshape(-1, size)
        come = self._array(found, "reason")[where].ravel() > NOTHING
        return np.where(come[:, None], spectra, np.nan)

    def _array(self, found: _Shelved, name: str) -> np.ndarray:
        names = list(found.metadata.get("figure_names", ()))
        if name in names:  # of a live map, whose figures share one array
            return self._array(found, FIGURE_STACK)[..., names.index(name)]
        return self._once(_version(found, name), lambda: self._read(found, name))

    def _once(self, version: Version, read: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what is remembered, or read it: whoever asks meanwhile waits for the same."""
        with self._lock:
            if version in self._arrays:
                self._arrays.move_to_end(version)
                return self._arrays[version]
            reading = self._reading.get(version)
            if reading is None:
                mine = self._reading[version] = Future[np.ndarray]()
        if reading is not None:
            return reading.result()
        try:
            array = read()
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
        return self._tell(found, name, lambda: found[name])

    def _read_part(self, found: _Shelved, name: str, where: tuple[slice, ...]) -> np.ndarray:
        return self._tell(found, name, lambda: found.part(name, where))

    def _tell(self, found: _Shelved, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return read()
        except KeyError:
            raise NoSuchMapError(f"the map {found.key} has no array {name!r}") from None

    def _keep(self, version: Version, array: np.ndarray) -> None:
        """Remember an array, in place of what it was before; a large part is not."""
        key, moment, name, part = version
        if part and array.nbytes > PART_BYTES:
            return
        with self._lock:
            for one in [v for v in self._arrays if (v[0], v[2]) == (key, name) and v[1] != moment]:
                del self._arrays[one]
            self._arrays[version] = array
            while len(self._arrays) > 1 and self._bytes() > self._kept_bytes:
                self._arrays.popitem(last=False)

    def _bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def _map(self, key: str, *, anew: bool = False) -> _Shelved:
        """Return a map as it was seen last, for some time; or, of one that grows, as it is now."""
        if not KEY.fullmatch(key):  # the server need not be asked, nor does it take every character
            raise NoSuchMapError(f"the catalog has no map with the key {key!r}")
        with self._lock:
            before, seen = self._seen.get(key, (None, -np.inf))
        age = self._clock() - seen
        if before is not None and age < self._trusted(before, anew=anew):
            return before
        try:
            found = _Shelved(self._open()[key], before)
        except KeyError:
            raise NoSuchMapError(f"the catalog has no map with the key {key!r}") from None
        with self._lock:
            self._seen[key] = found, self._clock()
            while len(self._seen) > LISTED:
                self._seen.popitem(last=False)
        return found

    @staticmethod
    def _trusted(found: _Shelved, *, anew: bool) -> float:
        """Return for how many seconds a map is what it was."""
        complete = found.metadata.get("status") == State.COMPLETE
        if anew:
            return TRUSTED_S if complete else 0.0
        return SEEN_S if complete else TRUSTED_S

    def _open(self) -> Client:
        with self._lock:
            if self._container is None:
                self._container = self._connect()
            return self._container


def _tried(read: Callable[..., object], *asked: object) -> None:
    with suppress(Exception):  # it will be read, or fail, when it is asked for
        read(*asked)


def _version(found: _Shelved, name: str, *, part: str = "") -> Version:
    """Return what tells an array from what it was earlier.

    Energies and the axes of a known shape stay until the map is complete.
    """
    metadata = found.metadata
    settled = name == "energy" or (name.startswith("axis_") and not metadata.get("grows"))
    return found.key, str(metadata.get("status" if settled else "written")), name, part


def _tile(where: tuple[slice, ...], shape: Sequence[int]) -> tuple[slice, ...]:
    """Return a small part widened to whole squares over the last two axes; others as they are.

    Examples
    --------
    >>> _tile((slice(17, 18), slice(3, 4)), (20, 20))
    (slice(16, 20, None), slice(0, 16, None))
    """
    if any((s.step or 1) > 1 or s.stop - s.start > TILE for s in where):
        return where
    wide = [
        slice(s.start // TILE * TILE, min(-(-s.stop // TILE) * TILE, size))
        for s, size in zip(where[-2:], shape[-2:], strict=True)
    ]
    return (*where[:-2], *wide)


OF_THE_HEADS = frozenset({"heads-only", "out-of-distribution"})
"""Flags of the answer to a pixel, not of its spectrum."""
