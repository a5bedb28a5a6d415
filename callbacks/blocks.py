"""The pixels of a run that is a map, in blocks, while it runs (``finish.when: pixel``)."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.block import Block, MapEnd, MapLayout
from nearedge.callbacks.columns import Point
from nearedge.callbacks.composition import formula_of
from nearedge.callbacks.frames import (
    Stack,
    along,
    energies,
    inner_axes,
    is_stack,
    number,
    stacks,
    turned,
)
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Run
from nearedge.callbacks.parts import Part
from nearedge.callbacks.pixel_signal import (
    ImageError,
    low_loss,
    readings_of,
    signal,
    signal_flags,
)
from nearedge.callbacks.plan import Plan
from nearedge.callbacks.raster import Positions, Raster, raster_of, repeats_of
from nearedge.callbacks.readings import MAX_BLOCK, Readings
from nearedge.callbacks.recognise import Darks
from nearedge.callbacks.scalars import Named
from nearedge.callbacks.signal import EV
from nearedge.callbacks.streams import Streams
from nearedge.models import Array, Reason, Rejected
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis

logger = logging.getLogger(__name__)

MOST = 2048
"""Pixels of a block, at most; a frame of more makes several blocks."""
WAIT_S = 1.0
"""A pixel waits so long for others, so that quick scans are answered while they run."""


@dataclass(slots=True, eq=False)
class _Held:
    """What is known of one stream."""

    pending: set[int] = field(default_factory=set)
    since: float | None = None
    inner: tuple[int, ...] | None = None
    energy: Array | None = None
    raster: Raster | None = None
    positions: Positions | None = None
    flags: tuple[str, ...] = ()
    times: dict[int, float] = field(default_factory=dict)
    stack: bool = False
    outer: tuple[ScanAxis, ...] = ()
    """Over what stacks of images lie, if there are several."""
    context: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """What was read of each scalar of the profile, by the place over the outer axes."""
    looked: bool = False
    hopeless: bool = False
    """No block can be cut while the run lasts: something that all of its events need is missing."""

    @property
    def per_event(self) -> int:
        return int(np.prod(self.inner or (1,), dtype=int))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """The spectra of one event, (inner…, n), rising or falling as the first, and low losses."""

    seq: int
    energy: Array
    data: Array
    flags: tuple[str, ...]
    low_loss_energy: Array | None = None
    low_loss: Array | None = None


class Blocks:
    """Cuts the readings of one run into blocks.

    Parameters
    ----------
    run, plan
        The run, and what its start document says of the plan.
    instrument
        What the profile says.
    streams
        What has come of the run.
    darks
        The dark runs seen so far.

    Attributes
    ----------
    sent
        How many blocks have gone on.
    problem
        Why the run is no map, or None.
    """

    def __init__(
        self, run: Run, plan: Plan, *, instrument: Instrument, streams: Streams, darks: Darks
    ) -> None:
        self._run, self._plan = run, plan
        self._instrument, self._streams, self._darks = instrument, streams, darks
        self._held: dict[str, _Held] = {}
        self._formula = instrument.composition or formula_of(run.start)
        self.sent = 0
        self.problem: str | None = None

    def touch(self, stream: Readings, seqs: Sequence[int], *, now: float) -> None:
        """Note readings of which some has come."""
        if self._streams.gives_energies(stream):
            for other in self._streams.spectral():
                self.touch(other, other.waiting(), now=now)
        elif stream.name in self._instrument.streams and self._streams.is_spectral(stream):
            held = self._held.setdefault(stream.name, _Held())
            held.pending.update(seqs)
            held.since = now if held.since is None else held.since

    def ready(self, now: float) -> Iterator[Block]:
        """Yield the blocks that are full, or whose first pixel has waited long enough."""
        for name, held in self._held.items():
            while self._is_due(held, now):
                most = max(1, MOST // held.per_event)
                asked = sorted(held.pending)[:most]
                before = len(held.pending)
                yield from self._cut_ready(name, held, asked)
                held.since = now if held.pending else None
                if len(held.pending) == before:  # they are not whole yet
                    break

    def _is_due(self, held: _Held, now: float) -> bool:
        if held.stack or held.hopeless or not held.pending or held.since is None:
            return False
        return len(held.pending) * held.per_event >= MOST or now - held.since >= WAIT_S

    def _cut_ready(self, name: str, held: _Held, asked: Sequence[int]) -> Iterator[Block]:
        """Yield blocks of those readings that are whole."""
        stream = self._streams[name]
        seqs = self._streams.ready(name, asked)
        points = self._streams.with_energies(stream, seqs) if seqs else []
        good = [(s, p) for s, p in zip(seqs, points, strict=True) if not p.problems]
        if good and not held.looked:
            held.looked, held.stack = True, _is_image(good[0][1], self._instrument)
        if not good or held.stack:
            return
        try:
            yield from self._cut(name, held, [s for s, _ in good], [p for _, p in good])
        except ImageError as error:
            logger.warning("run %s: no map so far: %s", self._run.uid, error)
            held.hopeless = True

    def rest(self) -> Iterator[Block]:
        """Yield what is left when the run has ended, what cannot be read as a refusal."""
        for name, seqs in self._streams.waiting().items():
            held = self._held.setdefault(name, _Held())
            stream = self._streams[name]
            waiting, points = iter(seqs), []
            while some := list(islice(waiting, MAX_BLOCK)):
                read = self._streams.with_energies(stream, some)
                if held.stack or is_stack(
                    [p for p in read if not p.problems][:2], self._instrument
                ):
                    held.stack = True
                    points += read
                else:
                    yield from self._last(name, held, some, read)
            if held.stack:
                yield from self._stack(name, held, seqs, points)
                if held.inner is not None:
                    self._streams.let_go(Part(name="0", seqs={name: seqs}))

    def _last(
        self, name: str, held: _Held, seqs: Sequence[int], points: Sequence[Point]
    ) -> Iterator[Block]:
        good = [(s, p) for s, p in zip(seqs, points, strict=True) if not p.problems]
        try:
            yield from self._cut(name, held, [s for s, _ in good], [p for _, p in good])
        except ImageError as error:
            self._no_map(error)
            return
        for seq, point in zip(seqs, points, strict=True):
            if point.problems:
                yield from self._refused(name, held, seq, Reason.UNREADABLE, point.problems[0])
        self._streams.let_go(Part(name="0", seqs={name: list(seqs)}))

    def ends(
        self, *, ended: float | None, flags: Sequence[str], scalars: Named = ({}, {})
    ) -> Iterator[MapEnd]:
        """Yield what each stream's map has become.

        Parameters
        ----------
        ended
            When the run ended, seconds since the epoch; None: no stop document came.
        flags
            What is wrong with it.
        scalars
            Values and units of what was measured besides.
        """
        for name, held in self._held.items():
            layout = self._whole(held)
            if held.inner is None or layout is None:
                continue
            outer = layout.shape[: len(layout.shape) - len(held.inner)]
            along = {key: _over(outer, read) for key, read in held.context.items()}
            yield MapEnd(
                run=self._run,
                stream=name,
                layout=layout,
                pixels=int(np.prod(layout.shape)),
                time=max(held.times.values(), default=ended or self._run.time),
                flags=tuple(sorted(flags)),
                along={key: values for key, values in along.items() if outer},
                context={
                    **scalars[0],
                    **({} if outer else {k: float(v) for k, v in along.items()}),
                },
                units={**scalars[1], **self._units(name, along)},
            )

    def _units(self, name: str, keys: Iterable[str]) -> dict[str, str]:
        found = {key: self._streams[name].unit(key) for key in keys}
        return {key: unit for key, unit in found.items() if unit}

    def _note_context(self, held: _Held, places: Sequence[int], points: Sequence[Point]) -> None:
        """Remember the scalars of the profile, by the place over the outer axes."""
        for key in self._instrument.roles.context:
            read = [number(point, key) for point in points]
            for place, value in zip(places, read, strict=True):
                if np.isfinite(value):
                    held.context.setdefault(key, {}).setdefault(int(place), []).append(value)

    # from readings to blocks

    def _cut(
        self, name: str, held: _Held, seqs: Sequence[int], points: Sequence[Point]
    ) -> Iterator[Block]:
        """Yield blocks of whole readings, and let go of them."""
        if not seqs:
            return
        self._learn(name, held, seqs, points)
        run: list[_Frame] = []
        for seq, point in zip(seqs, points, strict=True):
            try:
                frame = self._frame(held, seq, point)
            except ImageError as error:
                yield from self._flush(name, held, run)
                run = []
                yield from self._refused(name, held, seq, Reason.UNREADABLE, str(error))
                continue
            full = len(run) * held.per_event >= MOST
            if run and (full or not _continues(run[-1], frame)):
                yield from self._flush(name, held, run)
                run = []
            run.append(frame)
        yield from self._flush(name, held, run)
        held.pending.difference_update(seqs)
        self._streams.let_go(Part(name="0", seqs={name: list(seqs)}))

    def _learn(self, name: str, held: _Held, seqs: Sequence[int], points: Sequence[Point]) -> None:
        """Find out over what the events lie, from the first of them, and where these were."""
        stream = self._streams[name]
        if held.inner is None:
            first = signal(points[0], self._instrument)
            size = first.shape[-1] if first.ndim else 0
            held.flags = signal_flags(points[0], self._instrument)
            held.energy = energies(points, self._instrument, size=size)
            held.inner = along(first, len(held.energy)).shape[:-1]
            held.raster = raster_of(self._run.start, self._plan, stream, self._instrument)
            held.positions = None if held.raster is None else Positions(held.raster)
        held.times.update(
            {s: p.time for s, p in zip(seqs, points, strict=True) if p.time is not None}
        )
        if held.raster is not None and held.positions is not None:
            inside = [(s, p) for s, p in zip(seqs, points, strict=True) if s <= held.raster.events]
            held.positions.add([s for s, _ in inside], [p for _, p in inside])
            where = held.raster.places([s for s, _ in inside])
            self._note_context(held, where.tolist(), [p for _, p in inside])
        else:
            places = [0 if self._is_one_event else s - 1 for s in seqs]
            self._note_context(held, places, points)

    def _frame(self, held: _Held, seq: int, point: Point) -> _Frame:
        first = held.energy
        if first is None or held.inner is None:
            raise ImageError("no event has come that tells the energies")
        axis = first
        if held.raster is not None and seq > held.raster.events:
            raise ImageError(
                f"event {seq} of a plan that announced {held.raster.events}: it lies nowhere"
            )
        key = self._instrument.roles.energy or ""
        if key in point.values:
            axis = np.asarray(np.squeeze(point.values[key]), np.float64)
        flips = turned(axis, first) if axis is not first else False
        dark, own = self._dark(point)
        flags = (*held.flags, *own)
        data = along(signal(point, self._instrument, dark=dark), len(axis))
        if data.shape[:-1] != held.inner:
            raise ImageError(
                f"event {seq} holds {data.shape[:-1]} spectra; expected {held.inner} as in the "
                "first one"
            )
        low, low_axis = low_loss(point, self._instrument, held.inner, dark=dark) or (None, None)
        if low is not None and low_axis is None:
            flags, low = (*flags, "low-loss-without-axis"), None
        return _Frame(
            seq=seq,
            energy=axis if flips is None else first,  # energies of its own: normalised on them
            data=data[..., ::-1] if flips else data,
            flags=flags,
            low_loss_energy=low_axis,
            low_loss=low,
        )

    def _dark(
        self, point: Point, *, image: bool = False
    ) -> tuple[Mapping[str, np.ndarray], tuple[str, ...]]:
        """Return what dark runs say of a reading; of an image only what they say of all pixels."""
        read = readings_of(point, self._instrument)
        if image:
            read = {r: v.reshape(-1, v.shape[-1] if r == "if_" else 1)[:1] for r, v in read.items()}
            read = {r: v if r == "if_" else v[:, 0] for r, v in read.items()}
        dark, _ = self._darks.before(self._run.time, read)
        return dark, ("dark-subtracted",) if dark else ()

    def _no_map(self, error: ImageError) -> None:
        logger.warning("run %s: no map: %s", self._run.uid, error)
        self.problem = str(error)

    def _flush(self, name: str, held: _Held, frames: Sequence[_Frame]) -> Iterator[Block]:
        if not frames:
            return
        first = frames[0]
        spectra = self._spectra(
            first.energy, _flat([frame.data for frame in frames]), flags=first.flags
        )
        low = [frame.low_loss for frame in frames if frame.low_loss is not None]
        if low:
            spectra = replace(
                spectra,
                low_loss=np.asarray(_flat(low), np.float32),
                low_loss_energy=first.low_loss_energy,
            )
        whole = self._block(name, held, [frame.seq for frame in frames], spectra)
        yield from self._in_pieces(whole)

    def _in_pieces(self, whole: Block) -> Iterator[Block]:
        for begin in range(whole.first, whole.last + 1, MOST):
            self.sent += 1
            yield whole.some(begin, min(begin + MOST - 1, whole.last))

    def _refused(
        self, name: str, held: _Held, seq: int, reason: Reason, detail: str
    ) -> Iterator[Block]:
        """Yield the pixels of a reading that is none; nothing where nobody knows how many."""
        held.pending.discard(seq)
        if held.inner is None or (held.raster is not None and seq > held.raster.events):
            logger.warning("run %s, event %d: %s", self._run.uid, seq, detail)
            return
        refused = Rejected(reason=reason, detail=detail)
        yield from self._in_pieces(self._block(name, held, [seq], None, refused=refused))

    def _block(
        self,
        name: str,
        held: _Held,
        seqs: Sequence[int],
        spectra: Spectra | None,
        *,
        refused: Rejected | None = None,
    ) -> Block:
        return Block(
            run=self._run,
            stream=name,
            first=(seqs[0] - 1) * held.per_event,
            places=self._places(held, seqs),
            spectra=spectra,
            refused=refused,
            layout=self._layout(held, seqs),
            time=max((held.times[s] for s in seqs if s in held.times), default=self._run.time),
        )

    def _spectra(
        self, energy: Array, mu: NDArray[np.floating], *, flags: tuple[str, ...]
    ) -> Spectra:
        return Spectra(
            energy=energy * EV[self._instrument.units],
            mu=np.asarray(mu, np.float32),  # half the room, and more digits than a detector has
            technique=self._instrument.technique,
            absorber=self._instrument.absorber,
            edge=self._instrument.edge,
            formula=self._formula,
            flags=flags,
        )

    # where they lie

    @property
    def _is_one_event(self) -> bool:
        """Whether the plan announced one event: then its frame is the map, without an axis more."""
        return self._run.start.get("num_points") == 1 and any(h.inner for h in self._held.values())

    def _places(self, held: _Held, seqs: Sequence[int]) -> NDArray[np.int64]:
        outer = np.asarray(seqs, np.int64) - 1 if held.raster is None else held.raster.places(seqs)
        return np.asarray(
            (outer[:, None] * held.per_event + np.arange(held.per_event)).ravel(), np.int64
        )

    def _layout(self, held: _Held, seqs: Sequence[int]) -> MapLayout:
        """Return the map of some events: of one that grows, with their positions alone."""
        if held.raster is not None:
            return MapLayout(axes=(*held.raster.axes, *self._inner(held)))
        if self._is_one_event:
            return MapLayout(axes=self._inner(held))
        return MapLayout(axes=(*self._outer(held, seqs), *self._inner(held)), grows=True)

    def _whole(self, held: _Held) -> MapLayout | None:
        if held.stack or (self._is_one_event and held.raster is None):
            return MapLayout(axes=(*held.outer, *self._inner(held))) if held.inner else None
        if held.raster is not None and held.positions is not None:
            return MapLayout(axes=(*held.positions.axes(), *self._inner(held)))
        last = max((*held.times, self._greatest(held)), default=0)
        outer = self._outer(held, range(1, last + 1))
        return MapLayout(axes=(*outer, *self._inner(held)), grows=True) if last else None

    def _greatest(self, held: _Held) -> int:
        name = next(name for name, one in self._held.items() if one is held)
        return self._streams[name].seen.greatest

    def _outer(self, held: _Held, seqs: Sequence[int]) -> tuple[ScanAxis, ...]:
        times = np.array([held.times.get(seq, np.nan) for seq in seqs])
        if not np.isfinite(times).any() and not held.times:
            positions = np.asarray(seqs, np.float64)
            return (ScanAxis(name="event", unit="", positions=positions),)
        return (ScanAxis(name="time", unit="s", positions=times - self._run.time),)

    def _inner(self, held: _Held) -> tuple[ScanAxis, ...]:
        name = next(name for name, one in self._held.items() if one is held)
        if held.stack or (held.raster is None and self._is_one_event):
            first = len(held.outer)
        else:
            first = 1 if held.raster is None else len(held.raster.shape)
        about = self._streams[name].descriptors[0]
        return inner_axes(about, self._instrument, held.inner or (), first=first)

    # a stack of images

    def _stack(
        self, name: str, held: _Held, seqs: Sequence[int], points: Sequence[Point]
    ) -> Iterator[Block]:
        """Yield the pixels of images, each at an energy of its own."""
        whole = [(s, p) for s, p in zip(seqs, points, strict=True) if not p.problems]
        good = [point for _, point in whole]
        try:
            if not good:
                raise ImageError("none of its images can be read")
            found, places = self._repeats(held, name, [s for s, _ in whole], good)
        except ImageError as error:
            self._no_map(error)
            return
        held.inner = found[0].data.shape[:-1]
        held.times |= {k: p.time for k, p in enumerate(good) if p.time is not None}
        for stack, place in zip(found, places, strict=True):
            self._note_context(held, [int(place)] * len(stack.rows), [good[k] for k in stack.rows])
        layout = MapLayout(axes=(*held.outer, *self._inner(held)))
        for stack, place in zip(found, places, strict=True):
            flat = stack.data.reshape(-1, stack.data.shape[-1])
            times = [good[row].time for row in stack.rows]
            for begin in range(0, len(flat), MOST):
                some = flat[begin : begin + MOST]
                self.sent += 1
                yield Block(
                    run=self._run,
                    stream=name,
                    first=int(place) * held.per_event + begin,
                    places=place * held.per_event + np.arange(begin, begin + len(some)),
                    spectra=self._spectra(stack.energy, some, flags=held.flags),
                    layout=layout,
                    time=max((t for t in times if t is not None), default=self._run.time),
                )

    def _repeats(
        self, held: _Held, name: str, seqs: Sequence[int], points: Sequence[Point]
    ) -> tuple[list[Stack], NDArray[np.int64]]:
        """Return the stacks of a run, and where each lies over the axes of its repeats."""
        dark, own = self._dark(points[0], image=True)
        held.flags = (*signal_flags(points[0], self._instrument), *own)
        told = repeats_of(self._run.start, self._plan, self._streams[name], self._instrument, seqs)
        if told is None:
            found = stacks(points, self._instrument, dark=dark)
            places = np.arange(len(found))
            if len(found) > 1:
                axis = ScanAxis(name="repeat", unit="", positions=places.astype(np.float64))
                held.outer = (axis,)
            return found, places
        raster, labels = told
        positions = Positions(raster)
        positions.add((labels + 1).tolist(), points)
        held.outer = positions.axes()
        return stacks(points, self._instrument, dark=dark, labels=labels), np.unique(labels)


def _over(shape: tuple[int, ...], read: Mapping[int, Sequence[float]]) -> Array:
    """Return the means of what was read at places of a shape; NaN where nothing was."""
    found = np.full(int(np.prod(shape, dtype=int)), np.nan)
    for place, values in read.items():
        if place < len(found):
            found[place] = np.mean(values)
    return found.reshape(shape)


def _is_image(point: Point, instrument: Instrument) -> bool:
    """Tell whether a reading has one energy for all that it holds."""
    key = instrument.roles.energy or ""
    return key in point.values and point.values[key].size == 1


def _flat(arrays: Sequence[Array]) -> Array:
    """Return the arrays of some events, (inner…, n), as rows."""
    return np.stack(arrays).reshape(-1, arrays[0].shape[-1])


def _continues(before: _Frame, frame: _Frame) -> bool:
    """Tell whether a frame goes into the block of the one before."""
    same = frame.energy is before.energy and frame.flags == before.flags
    one, other = before.low_loss_energy, frame.low_loss_energy
    alike = np.array_equal(one, other) if one is not None and other is not None else one is other
    return same and alike and frame.seq == before.seq + 1
