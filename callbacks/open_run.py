"""A run that has begun and not ended, and the spectra that its readings finish."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.blocks import Blocks
from nearedge.callbacks.columns import Point, is_whole
from nearedge.callbacks.documents import Document, Start
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.measuring import Measuring
from nearedge.callbacks.parts import Part, Piece, finish_by, group_of, is_sweep, pieces
from nearedge.callbacks.plain import plain, scan_id_of
from nearedge.callbacks.plan import Plan, plan_of
from nearedge.callbacks.readings import MAX_BLOCK, Readings
from nearedge.callbacks.recognise import Darks, Kind, recognise
from nearedge.callbacks.scalars import Named, Scalars
from nearedge.callbacks.scanned import lacks_scan
from nearedge.callbacks.streams import Streams

MOST_LOOKED_AT = 5
"""Readings that tell whether a run that is to be a map scanned the energy."""
NO_MAP = "no-map"
"""Flag of the spectrum of a run that was to be a map, and is none."""
MOST_SHOWN = 5_000
"""Of a running scan with more readings an even choice of so many is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    time
        The time of its stop document; None if none came.
    success
        Whether the plan came to its end.
    num_events
        For each stream how many events there were, as far as the stop document says so.
    """

    time: float | None = None
    success: bool = False
    num_events: Mapping[str, int] = field(default_factory=dict)


class OpenRun:
    """The documents of one run, in whatever order they come.

    Parameters
    ----------
    uid
        The uid of the run.
    instrument
        What the profile says.
    darks
        Where dark runs leave their means, and others find them.
    """

    def __init__(self, uid: str, *, instrument: Instrument, darks: Darks) -> None:
        self.uid = uid
        self.run: Run | None = None
        self.kind = Kind.SAMPLE
        self.sent = 0
        self.left_out = False
        self._instrument = instrument
        self._scalars = Scalars(uid, instrument.roles.context)
        self._streams = Streams(instrument, self._scalars)
        self._darks = darks
        self._measuring = Measuring(
            instrument=instrument, streams=self._streams, scalars=self._scalars, darks=darks
        )
        self._blocks: Blocks | None = None
        self._touched: set[tuple[str, int]] = set()
        self._plan = Plan()
        self._finish = instrument.finish

    # documents

    def begin(self, doc: Start, *, raw: Mapping[str, Any], now: float = 0.0) -> str | None:
        """Take the start document, ``raw`` being all of it; return why some or all is not used."""
        if self.run is not None:
            return "duplicate"
        try:
            start = plain(raw)
        except (TypeError, ValueError, RecursionError):
            return "malformed"
        self.run = Run(uid=doc.uid, scan_id=scan_id_of(doc.scan_id), time=doc.time, start=start)
        self.kind = recognise(start, self._instrument.recognise)
        self._plan = self._streams.plan = plan_of(start)
        if self.kind is Kind.SAMPLE:
            self._finish = finish_by(self._plan, self._instrument)
            self._begin_blocks(self.run, now)
        return self._scalars.begin(start)

    def _begin_blocks(self, run: Run, now: float) -> None:
        """Have the readings cut into blocks, where the profile wants a map."""
        if self._instrument.finish.when != "pixel":
            return
        self._blocks = Blocks(
            run,
            self._plan,
            instrument=self._instrument,
            streams=self._streams,
            darks=self._darks,
        )
        for stream in self._streams.spectral():  # what came before the start document
            self._blocks.touch(stream, stream.waiting(), now=now)

    def take(self, doc: Document, *, now: float = 0.0) -> str | None:
        """Take any document between start and stop; return why some or all is not used."""
        came = self._streams.take(doc)
        for stream, seqs in came.readings:
            self._touch(stream, seqs)
            if self._blocks is not None:
                self._blocks.touch(stream, seqs, now=now)
        return came.refused

    def knows(self, uid: str) -> bool:
        """Tell whether a descriptor or a file's document has come."""
        return self._streams.knows(uid)

    def _touch(self, stream: Readings, seqs: Sequence[int]) -> None:
        """Note the spectra that readings belong to: they may be finished now."""
        if not self._is_grouped:
            return
        if self._streams.gives_energies(stream):
            for other in self._streams.spectral():  # which may have waited for their energies
                self._touch(other, other.waiting())
        elif stream.name in self._instrument.streams:
            self._touched.update((stream.name, group_of(seq, self._finish)) for seq in seqs)

    # spectra

    def blocks(self, now: float) -> Iterator[Block]:
        """Yield the pixels that are to go on now, of a run that is a map."""
        if self._blocks is not None:
            yield from self._blocks.ready(now)

    def _last_blocks(self, blocks: Blocks, ending: Ending) -> Iterator[Block | MapEnd]:
        """Yield the pixels that are left, and what the map has become."""
        if not blocks.sent and self._is_left_out(self._some_points()):
            return
        yield from blocks.rest()
        if blocks.sent:
            self.sent += 1
            yield from blocks.ends(
                ended=ending.time, flags=sorted(self._troubles(ending)), scalars=self._along_map()
            )

    def _along_map(self) -> Named:
        """Return the numbers of start document and baseline, and their units."""
        return self._scalars.along(
            [],
            self._streams.listed(),
            baseline=self._streams.baseline,
            files=self._streams.files,
            until=float("inf"),
        )

    def _some_points(self) -> list[Point]:
        """Return a few readings that nothing has used yet."""
        waiting = self._streams.waiting()
        name = next(iter(waiting), "")
        few = waiting.get(name, [])[:MOST_LOOKED_AT]
        return self._streams.with_energies(self._streams[name], few) if few else []

    def finished(self) -> Iterator[Measurement]:
        """Yield the spectra that what came lately has finished."""
        if self.run is None or self.kind is not Kind.SAMPLE:
            return
        touched, self._touched = self._touched, set()
        for name, group in sorted(touched):
            seqs = self._members(group)
            points = self._streams.finished(name, seqs)
            if points is None:
                continue
            if not self._keeps_to_plan(points):
                self._finish = self._instrument.finish
                return
            part = Part(name=str(group), seqs={name: seqs}, expected=len(seqs))
            for piece in self._pieces(part, points):
                yield self._measure(self.run, piece)
            self._streams.let_go(part)

    def partial(self) -> Measurement | None:
        """Return the step scan as far as it has come, or None where nothing can be shown of it.

        Of several places, that of the last reading. Scans whose numbers lie in files are not shown:
        reading them all again and again would hold up the documents behind them.
        """
        if self.run is None or self.kind is not Kind.SAMPLE or self._blocks is not None:
            return None
        part = next(reversed(list(self._remaining())), None)
        if part is None or any(self._streams[name].has_files for name in part.seqs):
            return None
        shown = part.thinned(MOST_SHOWN)
        points = self._streams.points([shown])[part.name, part.stream]
        if is_whole(points[:1], self._instrument.roles) or self._lacks_scan(points):
            return None
        newest = (p for p in self._pieces(part, points) if any(q is points[-1] for q in p.points))
        return self._measure(self.run, next(newest), flags={"partial"}, final=False)

    @property
    def is_long(self) -> bool:
        """Whether its end takes so long that other runs should not wait for it.

        Dark runs are wanted by those that follow, and are never long.
        """
        if self.kind is not Kind.SAMPLE:
            return False
        return any(one.has_files or one.held > MOST_SHOWN for one in self._streams.listed())

    def end(self, ending: Ending) -> Iterator[Measurement | Block | MapEnd]:
        """Yield what is left when the run ends; of a dark run, keep the means."""
        if self.run is None:
            return
        if self._blocks is not None:
            yield from self._last_blocks(self._blocks, ending)
            if self.sent or self.left_out:
                return
        flags, unlocated = self._troubles(ending), self._streams.unlocated()
        no_map = {NO_MAP} if self._blocks is not None and self._blocks.problem else set()
        parts = self._remaining()
        while block := list(islice(parts, MAX_BLOCK)):
            points = self._streams.points(block)
            for part in block:
                for piece in self._pieces(part, points[part.name, part.stream]):
                    lacking = piece.part.lacks(unlocated) or (flags and not self._is_grouped)
                    found = {"partial", *flags} if lacking else set()
                    measurement = self._measure(
                        self.run, piece, flags=found | no_map, ended=ending.time
                    )
                    self._keep_dark(measurement, piece.points, ending)
                    yield measurement
                self._streams.let_go(part)
        nothing = not (self.sent or self.left_out)
        if nothing and self._streams.listed() and not self._is_left_out([]):
            empty = Piece(part=Part(name="0", seqs={}), points=[])
            yield self._measure(self.run, empty, flags={"partial", "empty", *flags})

    def gaps(self, ending: Ending) -> list[str]:
        """Return sentences on what should have come and did not."""
        if self.run is None:
            return ["its start document never came"]
        found = [] if ending.time is not None else ["its stop document never came"]
        return [*found, *self._streams.gaps(ending.num_events)]

    # which readings make a spectrum

    @property
    def _is_grouped(self) -> bool:
        """Whether a number of events makes a spectrum, rather than the whole run."""
        return self.kind is Kind.SAMPLE and self._finish.when in ("event", "events")

    def _members(self, group: int) -> list[int]:
        size = self._finish.n if self._finish.when == "events" else 1
        return list(range(group - size + 1, group + 1))

    @property
    def _is_by_plan(self) -> bool:
        """Whether the plan, not the profile, says when a spectrum is finished."""
        return self._finish is not self._instrument.finish

    def _keeps_to_plan(self, points: Sequence[Point]) -> bool:
        """Tell whether the first sweep is one; those after it are taken to be so too."""
        energy = self._instrument.roles.energy or ""
        return not self._is_by_plan or bool(self.sent) or is_sweep(points, self._plan, energy)

    def _remaining(self) -> Iterator[Part]:
        """Yield the spectra that are not finished, as far as they have come."""
        waiting, finish = self._streams.waiting(), self._finish
        if self._is_grouped:
            for name, seqs in waiting.items():
                for group, members in groupby(seqs, key=lambda seq: group_of(seq, finish)):
                    expected = len(self._members(group))
                    yield Part(name=str(group), seqs={name: list(members)}, expected=expected)
        elif finish.when == "stream" and self.kind is Kind.SAMPLE:
            for name, seqs in waiting.items():
                yield Part(name="0", seqs={name: seqs})
        elif waiting:
            yield Part(name="0", seqs=waiting, expected=self._planned(waiting))

    def _planned(self, waiting: Mapping[str, Sequence[int]]) -> int | None:
        """Return how many points the plan announced: a plan that is stopped calls it success."""
        points = self.run.start.get("num_points") if self.run and len(waiting) == 1 else None
        return points if isinstance(points, int) else None

    def _pieces(self, part: Part, points: Sequence[Point]) -> Iterator[Piece]:
        """Yield the spectra in a part; none where the energy was not scanned."""
        if self.kind is not Kind.SAMPLE:
            yield Piece(part=part, points=points)
        elif not self._is_left_out(points):
            moved = self._streams.axes(part)
            axes = [] if self._is_grouped else moved
            found = pieces(part, points, axes=axes, plan=self._plan, instrument=self._instrument)
            along = tuple(axis.key for axis in moved) if self._is_by_plan else ()
            yield from (replace(piece, axes=along) if along else piece for piece in found)

    def _is_left_out(self, points: Sequence[Point]) -> bool:
        """Tell whether readings belong to no scan of the energy, and note that they do not."""
        lacks = self.kind is Kind.SAMPLE and self._lacks_scan(points)
        self.left_out |= lacks
        return lacks

    def _lacks_scan(self, points: Sequence[Point]) -> bool:
        return lacks_scan(points, self._plan, self._instrument, arrays=self._streams.arrays())

    # measurements

    def _measure(
        self,
        run: Run,
        piece: Piece,
        *,
        flags: Collection[str] = (),
        final: bool = True,
        ended: float | None = None,
    ) -> Measurement:
        self.sent += final
        return self._measuring.measure(
            piece,
            run,
            self.kind,
            flags=flags,
            final=final,
            ended=ended,
            whole_run=not self._is_grouped,
        )

    def _keep_dark(self, measured: Measurement, points: Sequence[Point], ending: Ending) -> None:
        if self.kind is Kind.DARK and ending.success and ending.time is not None:
            self._measuring.keep_dark(measured, points, ended=ending.time)

    def _troubles(self, ending: Ending) -> set[str]:
        """Return the flags of what went wrong with the whole run."""
        flags = {
            "no-stop": ending.time is None,
            "aborted": ending.time is not None and not ending.success,
            "gap": ending.time is not None and bool(self.gaps(ending)),
            "truncated": any(stream.truncated for stream in self._streams.listed()),
        }
        return {flag for flag, holds in flags.items() if holds}
