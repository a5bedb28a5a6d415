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
from nearedge.callbacks.frames import cube, inner_axes, is_stack, number
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.pixel_signal import ImageError
from nearedge.callbacks.plain import plain
from nearedge.callbacks.plan import Plan, is_energy, plan_of
from nearedge.callbacks.readings import MAX_BLOCK, Readings
from nearedge.callbacks.recognise import Kind, recognise
from nearedge.callbacks.scalars import Scalars
from nearedge.callbacks.signal import EV
from nearedge.callbacks.streams import Streams
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis, SpectrumImage


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
        energy, data = cube(points, self._instrument)
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
        about, first = stream.descriptors[0], int(len(points) > 1)
        if is_stack(points, self._instrument):
            return inner_axes(about, self._instrument, data.shape[:-1]), data
        inner = inner_axes(about, self._instrument, data.shape[1:-1], first=first)
        if len(points) == 1:
            return inner, data[0]
        outer, place = self._outer(stream, points)
        shape = tuple(len(axis.positions) for axis in outer)
        full = np.full((int(np.prod(shape)), *data.shape[1:]), np.nan)
        full[place] = data
        return (*outer, *inner), full.reshape(*shape, *data.shape[1:])

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
            roles=data_keys_of(self._instrument.roles.model_copy(update={"context": ()})),
        )
        axis = next((one for one in known if self._plan.axis_of(one.names) == at), None)
        if axis is None:  # nothing tells where it was: the order of the events does
            shape = self._plan.shape or ()
            order = np.arange(len(points)) // int(np.prod(shape[at + 1 :])) % count
            name = (self._plan.axes or ())[at][0]
            positions = np.arange(count, dtype=np.float64)
            return ScanAxis(name=name, unit="", positions=positions), order
        told, read = (
            np.array([number(point, key) for point in points]) for key in (axis.told_by, axis.key)
        )
        label = levels(np.where(np.isfinite(told), told, read), count=count)
        found = np.array([np.mean(read[label == k]) for k in range(int(label.max()) + 1)])
        positions = np.pad(found, (0, max(count - len(found), 0)), constant_values=np.nan)
        unit = stream.unit(axis.key) or ""
        return ScanAxis(name=axis.key, unit=unit, positions=positions), label
