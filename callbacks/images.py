"""From the documents of a run to a map of spectra: what each pixel measured, and where it lies.

A run may hold a spectrum for each event (a raster), an array of spectra in each event (the frames
of a spectrum image), or an image in each event, one for each energy (a full-field stack).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.axes import axes_of, levels
from nearedge.callbacks.columns import Point, data_keys_of
from nearedge.callbacks.composition import formula_of
from nearedge.callbacks.documents import (
    Descriptor,
    Document,
    DocumentError,
    Resource,
    Start,
    Stop,
    StreamResource,
    parse,
)
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.plain import plain
from nearedge.callbacks.plan import Plan, is_energy, plan_of
from nearedge.callbacks.readings import MAX_BLOCK, Readings
from nearedge.callbacks.recognise import Kind, recognise
from nearedge.callbacks.scalars import Scalars
from nearedge.callbacks.signal import EV
from nearedge.callbacks.streams import Streams
from nearedge.models import Array
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis, SpectrumImage

_ROLES = {"spectrum": ("spectrum",), "mu": ("mu",), "transmission": ("i0", "it")}
"""Signals that pixels may have, and the roles that make them."""
_LEAST = 10  # energies of a spectrum
_ALIKE = 0.5  # part of a step by which two axes of energies may differ


class ImageError(ValueError):
    """A run that holds no map, or one that cannot be read."""


def image_of(
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    instrument: Instrument,
    *,
    uid: str | None = None,
) -> SpectrumImage:
    """Return the map that a run holds.

    Pixels that were not measured, of a run that was stopped, are NaN. Darks are not subtracted.

    Parameters
    ----------
    documents
        The documents of one run or several.
    instrument
        What the profile says. ``finish`` and ``split`` do not count here.
    uid
        The uid of the run; None: the first that measured a sample.

    Raises
    ------
    ImageError
        If there is no such run, it holds no map, or some of it cannot be read.
    """
    taken = _Taken(instrument, uid)
    for name, doc in documents:
        try:
            for document in parse(name, doc):
                taken.take(document, doc)
        except DocumentError as error:
            raise ImageError(f"a {name} document cannot be read: {error}") from error
    return taken.image()


class _Taken:
    """The documents of one run among those of several."""

    def __init__(self, instrument: Instrument, uid: str | None) -> None:
        self._instrument, self._uid = instrument, uid
        self._start: dict[str, Any] | None = None
        self._complete = False
        self._plan = Plan()
        self._streams = Streams(instrument, Scalars(uid or "", ()))

    def take(self, document: Document, raw: Mapping[str, Any]) -> None:
        match document:
            case Start():
                self._begin(document, raw)
            case Stop():
                if document.run_start == self._uid:
                    self._complete = document.exit_status == "success"
            case Descriptor() | StreamResource() | Resource():
                if document.run_start == self._uid:
                    self._streams.take(document)
            case _:
                self._streams.take(document)

    def _begin(self, document: Start, raw: Mapping[str, Any]) -> None:
        if self._start is not None or self._uid not in (None, document.uid):
            return
        start = plain(raw)
        if recognise(start, self._instrument.recognise) is not Kind.SAMPLE:
            return
        self._start, self._uid = start, document.uid
        self._plan = self._streams.plan = plan_of(start)

    def image(self) -> SpectrumImage:
        if self._start is None:
            wanted = f"the run {self._uid}" if self._uid else "a run that measured a sample"
            raise ImageError(f"found no start document of {wanted}")
        stream = next(iter(self._streams.spectral()), None)
        points = [] if stream is None else self._points(stream)
        if stream is None or not points:
            raise ImageError(
                "the run has no reading of the signal: check instrument.streams and "
                "instrument.roles"
            )
        problem = next((text for point in points for text in point.problems), None)
        if problem is not None:
            raise ImageError(f"some of the run cannot be read: {problem}")
        energy, data = _cube(points, self._instrument)
        axes, data = self._placed(stream, points, data)
        if not axes:
            raise ImageError("one spectrum, no map: for single spectra there is `nearedge replay`")
        return SpectrumImage(
            spectra=Spectra(
                energy=energy * EV[self._instrument.units],
                mu=np.asarray(data.reshape(-1, data.shape[-1]), np.float64),
                technique=self._instrument.technique,
                absorber=self._instrument.absorber,
                edge=self._instrument.edge,
                formula=self._instrument.composition or formula_of(self._start),
                flags=() if self._complete else ("aborted",),
            ),
            axes=axes,
            title=str(self._start.get("scan_id") or self._uid),
            uid=self._uid or "",
        )

    def _points(self, stream: Readings) -> list[Point]:
        waiting, points = iter(stream.waiting()), []
        while seqs := list(islice(waiting, MAX_BLOCK)):
            points += self._streams.with_energies(stream, seqs)
        return points

    def _placed(
        self, stream: Readings, points: Sequence[Point], data: NDArray[np.floating]
    ) -> tuple[tuple[ScanAxis, ...], NDArray[np.floating]]:
        """Return all axes, and the data over them, energies last."""
        if _is_stack(points, self._instrument):
            return self._inner_axes(stream, data.shape[:-1]), data
        inner = self._inner_axes(stream, data.shape[1:-1], first=int(len(points) > 1))
        if len(points) == 1:
            return inner, data[0]
        outer, place = self._outer(stream, points)
        shape = tuple(len(axis.positions) for axis in outer)
        full = np.full((int(np.prod(shape)), *data.shape[1:]), np.nan)
        full[place] = data
        return (*outer, *inner), full.reshape(*shape, *data.shape[1:])

    def _inner_axes(
        self, stream: Readings, shape: Sequence[int], *, first: int = 0
    ) -> tuple[ScanAxis, ...]:
        """Return the axes of the arrays of an event, named as their descriptor names them."""
        key = getattr(self._instrument.roles, _ROLES[self._instrument.signal][-1])
        dims = stream.descriptors[0].data_keys.get(key, {}).get("dims")
        told = [d for d in dims or () if isinstance(d, str) and not is_energy(d)]
        names = (
            told if len(told) == len(shape) else [f"axis {first + k}" for k in range(len(shape))]
        )
        return tuple(
            ScanAxis(name=name, unit="", positions=np.arange(size, dtype=np.float64))
            for name, size in zip(names, shape, strict=True)
        )

    def _outer(
        self, stream: Readings, points: Sequence[Point]
    ) -> tuple[tuple[ScanAxis, ...], NDArray[np.intp]]:
        """Return the axes that the plan moved, and the number of each event's pixel."""
        moved = [self._moved(stream, points, at) for at in self._outer_axes()]
        axes, labels = [one for one, _ in moved], [label for _, label in moved]
        if axes:
            shape = tuple(len(axis.positions) for axis in axes)
            place = np.ravel_multi_index(tuple(labels), shape)
            if len(np.unique(place)) == len(points):
                return tuple(axes), place
        times = np.array([point.time or 0.0 for point in points])
        return (
            (ScanAxis(name="time", unit="s", positions=times - times[0]),),
            np.arange(len(points)),
        )

    def _outer_axes(self) -> list[int]:
        shape = self._plan.shape or ()
        names = self._plan.axes or ()
        return [
            k
            for k in range(min(len(shape), len(names)))
            if not any(map(is_energy, names[k])) and names[k] != ("time",)
        ]

    def _moved(
        self, stream: Readings, points: Sequence[Point], at: int
    ) -> tuple[ScanAxis, NDArray[np.intp]]:
        """Return an axis of the plan, and at which of its positions each event was."""
        count = (self._plan.shape or ())[at]
        docs = stream.descriptors
        known = axes_of(
            docs[0],
            self._plan,
            declared=self._instrument.split.axes,
            roles=data_keys_of(self._instrument.roles),
        )
        axis = next((one for one in known if self._plan.axis_of(one.names) == at), None)
        if axis is None:  # nothing tells where it was: the order of the events does
            shape = self._plan.shape or ()
            order = np.arange(len(points)) // int(np.prod(shape[at + 1 :])) % count
            name = (self._plan.axes or ())[at][0]
            positions = np.arange(count, dtype=np.float64)
            return ScanAxis(name=name, unit="", positions=positions), order
        told, read = (
            np.array([_number(point, key) for point in points]) for key in (axis.told_by, axis.key)
        )
        label = levels(np.where(np.isfinite(told), told, read), count=count)
        found = np.array([np.mean(read[label == k]) for k in range(int(label.max()) + 1)])
        positions = np.pad(found, (0, max(count - len(found), 0)), constant_values=np.nan)
        unit = stream.unit(axis.key) or ""
        return ScanAxis(name=axis.key, unit=unit, positions=positions), label


def _number(point: Point, key: str) -> float:
    value = point.values.get(key)
    return float(np.mean(value)) if value is not None and value.size else np.nan


def _is_stack(points: Sequence[Point], instrument: Instrument) -> bool:
    """Tell whether each event is an image at an energy of its own."""
    key = instrument.roles.energy or ""
    return len(points) > 1 and all(key in p.values and p.values[key].size == 1 for p in points)


def _cube(points: Sequence[Point], instrument: Instrument) -> tuple[Array, NDArray[np.floating]]:
    """Return energies (n,), and the signal of all events, (events, …, n) or of a stack (…, n)."""
    signals = [_signal(point, instrument) for point in points]
    shapes = {signal.shape for signal in signals}
    if len(shapes) > 1:
        raise ImageError(f"the events hold arrays of {sorted(shapes)}; expected one shape")
    if _is_stack(points, instrument):
        energy = np.array([_number(point, instrument.roles.energy or "") for point in points])
        if signals[0].size < 2:
            raise ImageError("each event holds one number: a step scan of one spectrum, no map")
        return energy, np.moveaxis(np.stack([np.squeeze(s) for s in signals]), 0, -1)
    energy = _energies(points, instrument, size=signals[0].shape[-1] if signals[0].ndim else 0)
    turned = [_along(signal, len(energy)) for signal in signals]
    flipped = _flipped(points, instrument)
    data = [one[..., ::-1] if turn else one for one, turn in zip(turned, flipped, strict=True)]
    return energy, np.stack(data)


def _signal(point: Point, instrument: Instrument) -> Array:
    if instrument.signal not in _ROLES:
        raise ImageError(
            f"the signal {instrument.signal} of a map is not supported: expected one of "
            f"{', '.join(_ROLES)} (instrument.signal)"
        )
    found = []
    for role in _ROLES[instrument.signal]:
        key = getattr(instrument.roles, role)
        if not key or key not in point.values:
            raise ImageError(
                f"an event lacks {role}: expected the data key {key or 'that you name in'} "
                f"(instrument.roles.{role})"
            )
        found.append(point.values[key])
    if len(found) == 1:
        return np.asarray(found[0], np.float64)
    above, below = (np.where(part > 0, part, np.nan) for part in found)
    return np.asarray(np.log(above / below))


def _along(signal: Array, count: int) -> Array:
    """Return the signal with its energies last, without axes of one."""
    squeezed = np.squeeze(signal)
    fits = [k for k, size in enumerate(squeezed.shape) if size == count]
    if not fits:
        raise ImageError(f"events of {signal.shape} hold no axis of {count} energies")
    return np.moveaxis(squeezed, fits[-1], -1)


def _energies(points: Sequence[Point], instrument: Instrument, *, size: int) -> Array:
    key = instrument.roles.energy or ""
    held = [np.squeeze(p.values[key]) for p in points if key in p.values]
    if held and held[0].ndim == 1 and held[0].size >= _LEAST:
        return np.asarray(held[0], np.float64)
    told = (instrument.roles.offset, instrument.roles.dispersion)
    offset, dispersion = (
        one if isinstance(one, float) else _number(points[0], one or "") for one in told
    )
    if not np.isfinite(offset) or not np.isfinite(dispersion) or size < _LEAST:
        raise ImageError(
            f"no axis of at least {_LEAST} energies: name the data key that holds it "
            "(instrument.roles.energy), or offset and dispersion"
        )
    return np.asarray(offset + dispersion * np.arange(size))


def _flipped(points: Sequence[Point], instrument: Instrument) -> list[bool]:
    """Tell which events ran over the energies the other way round than the first.

    Raises
    ------
    ImageError
        If one has other energies.
    """
    key = instrument.roles.energy or ""
    axes = [np.squeeze(point.values[key]) for point in points if key in point.values]
    if len(axes) < len(points):
        return [False] * len(points)
    first = axes[0]
    close = _ALIKE * float(np.median(np.abs(np.diff(first))))
    turned = []
    for axis in axes:
        same, other = (
            axis.shape == first.shape and np.abs(one - first).max() <= close
            for one in (axis, axis[::-1])
        )
        if not same and not other:
            raise ImageError(
                "the events have energies of their own: they are no map on one axis; make each a "
                "spectrum (instrument.finish.when: event) and replay the run"
            )
        turned.append(bool(other and not same))
    return turned
