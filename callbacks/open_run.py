"""A run that has begun and not ended: its readings, and the spectra that they finish."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

import numpy as np

from nearedge.callbacks.axes import Axis, axes_of
from nearedge.callbacks.columns import (
    Point,
    columns_of,
    data_keys_of,
    have_own_energies,
    is_whole,
)
from nearedge.callbacks.documents import (
    Datum,
    Descriptor,
    Document,
    Event,
    Resource,
    Start,
    StreamDatum,
    StreamResource,
)
from nearedge.callbacks.energy_stream import EnergyStream, holds_energies
from nearedge.callbacks.external import dataset_of, dataset_of_resource
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.parts import Part, Piece, finish_by, group_of, is_sweep, pieces
from nearedge.callbacks.plain import plain, scan_id_of
from nearedge.callbacks.plan import Plan, plan_of
from nearedge.callbacks.readings import MAX_BLOCK, MAX_READINGS, Files, Readings
from nearedge.callbacks.recognise import DARK_ROLES, Dark, Darks, Kind, recognise
from nearedge.callbacks.repeats import examine
from nearedge.callbacks.scalars import MAX_NAME, Scalars
from nearedge.callbacks.scanned import lacks_scan

BASELINE = "baseline"
MAX_ELSEWHERE = 64
"""As many data keys of streams that nobody reads are remembered."""
UNLIKE = "unlike-averaged"
"""Flag of a mean of readings that are no repeats of one spectrum."""
MAX_BASELINE = 1_000
"""As many readings of the baseline are held; it is read before a run and after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    time
        Of its stop document; None where none came.
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
        Of the run.
    instrument
        What the profile says.
    darks
        Where dark runs leave their means, and others find them.
    """

    def __init__(self, uid: str, *, instrument: Instrument, darks: Darks) -> None:
        self.uid = uid
        self.run: Run | None = None
        self.kind = Kind.SAMPLE
        self._instrument = instrument
        self._darks = darks
        self._streams: dict[str, Readings] = {}
        self._stream_names: dict[str, str] = {}
        self._files = Files()
        self._key_of_file: dict[str, str] = {}
        self._touched: set[tuple[str, int]] = set()
        roles = instrument.roles.model_copy(update={"context": ()})
        self._signal_keys = data_keys_of(roles)
        self._elsewhere: set[str] = set()
        self._plan = Plan()
        self._finish = instrument.finish
        self._energies: EnergyStream | None = None
        self._scalars = Scalars(uid, instrument.roles.context)
        self.sent = 0
        self.left_out = False

    # documents

    def begin(self, doc: Start, *, raw: Mapping[str, Any]) -> str | None:
        """Take the start document, ``raw`` being all of it; return why some or all is not used."""
        if self.run is not None:
            return "duplicate"
        try:
            start = plain(raw)
        except (TypeError, ValueError, RecursionError):
            return "malformed"
        self.run = Run(uid=doc.uid, scan_id=scan_id_of(doc.scan_id), time=doc.time, start=start)
        self.kind = recognise(start, self._instrument.recognise)
        self._plan = plan_of(start)
        if self.kind is Kind.SAMPLE:
            self._finish = finish_by(self._plan, self._instrument)
        return self._scalars.begin(start)

    def take(self, doc: Document) -> str | None:
        """Take any document between start and stop; return why some or all is not used."""
        match doc:
            case Descriptor():
                return self._describe(doc)
            case Event():
                return self._event(doc)
            case StreamDatum():
                return self._stream_datum(doc)
            case StreamResource() | Resource():
                return self._file(doc)
            case Datum():
                return self._datum(doc)
        return "malformed"

    def knows(self, uid: str) -> bool:
        """Tell whether a descriptor or a file's document has come."""
        return uid in self._stream_names or uid in self._files.datasets

    def _describe(self, doc: Descriptor) -> str | None:
        if doc.uid in self._stream_names:
            return "duplicate"
        self._stream_names[doc.uid] = doc.name
        self._note_elsewhere(doc)
        listed, energies = doc.name in self._instrument.streams, self._holds_energies(doc)
        if not (listed or energies) and doc.name != BASELINE:
            return None
        stream = self._stream(doc.name)
        stream.describe(doc)
        if energies:
            self._energies = EnergyStream(stream, self._instrument.roles.energy or "")
        elif listed:
            stream.want(key for axis in self._axes_in(doc) for key in (axis.key, axis.told_by))
        else:
            return self._scalars.describe(doc, stream)
        return None

    def _note_elsewhere(self, doc: Descriptor) -> None:
        """Remember what other streams have, for telling where a role may be found."""
        if doc.name not in (*self._instrument.streams, BASELINE):
            named = [f"{key[:MAX_NAME]} (stream {doc.name[:MAX_NAME]})" for key in doc.data_keys]
            self._elsewhere.update(named[: MAX_ELSEWHERE - len(self._elsewhere)])

    def _holds_energies(self, doc: Descriptor) -> bool:
        energy = self._instrument.roles.energy
        return holds_energies(doc, energy=energy, signals=self._signal_keys - {energy})

    def _axes_in(self, doc: Descriptor) -> list[Axis]:
        return axes_of(
            doc,
            None if self.run is None else self._plan,
            declared=self._instrument.split.axes,
            roles=self._signal_keys,
        )

    def _stream(self, name: str) -> Readings:
        if name not in self._streams:
            roles, roots = self._instrument.roles, self._instrument.readable_roots
            measured = name != BASELINE or name in self._instrument.streams
            wanted = data_keys_of(roles) if measured else frozenset(roles.context)
            limit = MAX_READINGS if measured else MAX_BASELINE
            self._streams[name] = Readings(name, wanted=wanted, roots=roots, limit=limit)
        return self._streams[name]

    def _event(self, doc: Event) -> str | None:
        name = self._stream_names.get(doc.descriptor)
        if name is None:
            return "malformed"
        stream = self._streams.get(name)
        if stream is None:
            return None
        refused = stream.add(doc)
        self._touch(stream, [doc.seq_num])
        return refused

    def _stream_datum(self, doc: StreamDatum) -> str | None:
        name = self._stream_names.get(doc.descriptor)
        key = self._key_of_file.get(doc.stream_resource)
        if name is None or key is None:
            return "malformed"
        stream = self._streams.get(name)
        if stream is None:
            return None
        seqs, refused = stream.locate(doc, key)
        self._touch(stream, seqs)
        return refused

    def _datum(self, doc: Datum) -> str | None:
        if doc.resource not in self._files.datasets:
            return "malformed"
        if len(self._files.datums) >= MAX_READINGS:
            return "too-many-readings"
        self._files.datums[doc.datum_id] = doc
        if self._is_grouped:
            for stream in self._streams.values():
                self._touch(stream, stream.of_datum(doc.datum_id))
        return None

    def _file(self, doc: StreamResource | Resource) -> str | None:
        if doc.uid in self._files.datasets:
            return "duplicate"
        if isinstance(doc, StreamResource):
            self._key_of_file[doc.uid] = doc.data_key
        if isinstance(doc, StreamResource) and doc.uri:
            dataset = dataset_of(uri=doc.uri, mimetype=doc.mimetype, parameters=doc.parameters)
        else:
            dataset = dataset_of_resource(
                spec=doc.spec,
                root=doc.root,
                resource_path=doc.resource_path,
                parameters=doc.resource_kwargs,
            )
        self._files.datasets[doc.uid] = dataset
        return None

    def _touch(self, stream: Readings, seqs: Sequence[int]) -> None:
        if self._energies is not None and stream is self._energies.readings:
            for other in self._spectral():  # which may have waited for their energies
                self._touch(other, other.waiting() if self._is_grouped else ())
        elif stream.name in self._instrument.streams:
            groups = {group_of(seq, self._finish) for seq in seqs}
            self._touched.update((stream.name, group) for group in groups if group)

    # spectra

    def finished(self) -> Iterator[Measurement]:
        """Yield the spectra that what came lately has finished."""
        if self.run is None or self.kind is not Kind.SAMPLE:
            return
        touched, self._touched = self._touched, set()
        for name, group in sorted(touched):
            stream, seqs = self._streams[name], self._members(group)
            if not self._is_spectral(stream) or not stream.are_ready(seqs, self._files):
                continue
            points = stream.points(seqs, self._files)
            if not self._have_energies(stream, seqs, points):
                continue
            points = self._with_energies(stream, seqs, points)
            # a file that is not written yet is tried again when the run ends
            if any(point.problems for point in points):
                continue
            if not self._keeps_to_plan(points):
                self._finish = self._instrument.finish
                return
            part = Part(name=str(group), seqs={name: seqs}, expected=len(seqs))
            for piece in self._pieces(part, points):
                yield self._measurement(piece)
            self._let_go(part)

    def _keeps_to_plan(self, points: Sequence[Point]) -> bool:
        """Tell whether the first sweep is one; those after it are taken to be so too."""
        energy = self._instrument.roles.energy or ""
        return not self._is_by_plan or bool(self.sent) or is_sweep(points, self._plan, energy)

    @property
    def _is_by_plan(self) -> bool:
        """Whether the plan, not the profile, says when a spectrum is finished."""
        return self._finish is not self._instrument.finish

    def partial(self) -> Measurement | None:
        """Return the step scan as far as it has come, or None where nothing can be shown of it.

        Of several places, that of the last reading. Scans whose numbers lie in files are not shown:
        reading them all again and again would hold up the documents behind them.
        """
        if self.run is None or self.kind is not Kind.SAMPLE:
            return None
        part = next(reversed(list(self._remaining())), None)
        if part is None or any(self._streams[name].has_files for name in part.seqs):
            return None
        points = self._points([part])[part.name, part.stream]
        if is_whole(points[:1], self._instrument.roles) or self._lacks_scan(points):
            return None
        newest = (p for p in self._pieces(part, points) if any(q is points[-1] for q in p.points))
        return self._measurement(next(newest), flags={"partial"}, final=False)

    def end(self, ending: Ending) -> Iterator[Measurement]:
        """Yield what is left when the run ends; of a dark run, keep the means."""
        if self.run is None:
            return
        flags, unlocated = self._troubles(ending), self._unlocated()
        parts = self._remaining()
        while block := list(islice(parts, MAX_BLOCK)):
            points = self._points(block)
            for part in block:
                for piece in self._pieces(part, points[part.name, part.stream]):
                    lacking = piece.part.lacks(unlocated) or (flags and not self._is_grouped)
                    found = {"partial", *flags} if lacking else set()
                    measurement = self._measurement(piece, flags=found, ended=ending.time)
                    self._keep_dark(measurement, piece.points, ending)
                    yield measurement
                self._let_go(part)
        if not (self.sent or self.left_out) and self._listed() and not self._is_left_out([]):
            empty = Piece(part=Part(name="0", seqs={}), points=[])
            yield self._measurement(empty, flags={"partial", "empty", *flags})

    def _pieces(self, part: Part, points: Sequence[Point]) -> Iterator[Piece]:
        """Yield the spectra in a part; none where the energy was not scanned."""
        if self.kind is not Kind.SAMPLE:
            yield Piece(part=part, points=points)
        elif not self._is_left_out(points):
            axes = [] if self._is_grouped else self._axes(part)
            found = pieces(part, points, axes=axes, plan=self._plan, instrument=self._instrument)
            along = tuple(axis.key for axis in self._axes(part)) if self._is_by_plan else ()
            yield from (replace(piece, axes=along) if along else piece for piece in found)

    def _axes(self, part: Part) -> list[Axis]:
        """Return what may have been moved in the streams of a part, each data key once."""
        docs = (doc for name in part.seqs for doc in self._streams[name].descriptors)
        return list({axis.key: axis for doc in docs for axis in self._axes_in(doc)}.values())

    def _is_left_out(self, points: Sequence[Point]) -> bool:
        """Tell whether readings belong to no scan of the energy, and note that they do not."""
        lacks = self.kind is Kind.SAMPLE and self._lacks_scan(points)
        self.left_out |= lacks
        return lacks

    def _lacks_scan(self, points: Sequence[Point]) -> bool:
        docs = [doc for stream in self._listed() for doc in stream.descriptors]
        arrays = [k for doc in docs for k, told in doc.data_keys.items() if _holds_array(told)]
        return lacks_scan(points, self._plan, self._instrument, arrays=arrays)

    def gaps(self, ending: Ending) -> list[str]:
        """Return sentences on what should have come and did not."""
        if self.run is None:
            return ["its start document never came"]
        found = [] if ending.time is not None else ["its stop document never came"]
        energies = [] if self._energies is None else [self._energies.readings.name]
        for name in dict.fromkeys((*self._instrument.streams, *energies)):
            count = ending.num_events.get(name, 0)
            if name in self._streams:
                found += self._gaps_of(self._streams[name], count)
            elif count:
                found.append(f"stream {name}: its descriptor and {count} events never came")
        return found

    def _gaps_of(self, stream: Readings, count: int) -> Iterator[str]:
        if lost := max(count, stream.seen.greatest) - len(stream.seen):
            missing = _some(stream.seen.missing(count))
            yield f"stream {stream.name}: {lost} events never came ({missing})"
        for key, seqs in stream.lacking(self._files).items():
            yield f"stream {stream.name}: no place of {key} came ({_some(iter(seqs))})"

    def _troubles(self, ending: Ending) -> set[str]:
        """Return the flags of what went wrong with the whole run."""
        flags = {
            "no-stop": ending.time is None,
            "aborted": ending.time is not None and not ending.success,
            "gap": ending.time is not None and bool(self.gaps(ending)),
            "truncated": any(stream.truncated for stream in self._listed()),
        }
        return {flag for flag, holds in flags.items() if holds}

    @property
    def _is_grouped(self) -> bool:
        return self.kind is Kind.SAMPLE and self._finish.when in ("event", "events")

    def _members(self, group: int) -> list[int]:
        size = self._finish.n if self._finish.when == "events" else 1
        return list(range(group - size + 1, group + 1))

    def _listed(self) -> list[Readings]:
        names = self._instrument.streams
        return [self._streams[name] for name in names if name in self._streams]

    def _is_spectral(self, stream: Readings) -> bool:
        is_axis = self._energies is not None and stream is self._energies.readings
        return bool(stream.measures & self._signal_keys) and not is_axis

    def _spectral(self) -> list[Readings]:
        return [stream for stream in self._listed() if self._is_spectral(stream)]

    def _have_energies(
        self, stream: Readings, seqs: Sequence[int], points: Sequence[Point]
    ) -> bool:
        """Tell whether energies that come in a stream of their own are there."""
        if self._energies is None or self._instrument.roles.energy in stream.keys:
            return True
        return self._energies.are_ready(seqs, points)

    def _with_energies(
        self, stream: Readings, seqs: Sequence[int], points: list[Point]
    ) -> list[Point]:
        if self._energies is None or self._instrument.roles.energy in stream.keys:
            return points
        return self._energies.attach(points, seqs, self._files)

    def _remaining(self) -> Iterator[Part]:
        """Yield the spectra that are not finished, as far as they have come."""
        waiting = {stream.name: stream.waiting() for stream in self._spectral()}
        waiting = {name: seqs for name, seqs in waiting.items() if seqs}
        finish = self._finish
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

    def _unlocated(self) -> set[tuple[str, int]]:
        """Return the readings, by stream and ``seq_num``, whose place in a file never came."""
        return {
            (stream.name, seq)
            for stream in self._listed()
            for seqs in stream.lacking(self._files).values()
            for seq in seqs
        }

    def _points(self, parts: Sequence[Part]) -> dict[tuple[str, str], list[Point]]:
        """Return the readings of several spectra; what lies together in a file is read at once."""
        asked: dict[str, list[int]] = {}
        for part in parts:
            for name, seqs in part.seqs.items():
                asked.setdefault(name, []).extend(seqs)
        read: dict[tuple[str, int], Point] = {}
        for name, seqs in asked.items():
            stream = self._streams[name]
            points = self._with_energies(stream, seqs, stream.points(seqs, self._files))
            read |= {(name, seq): point for seq, point in zip(seqs, points, strict=True)}
        return {
            (part.name, part.stream): [
                read[name, seq] for name, seqs in part.seqs.items() for seq in seqs
            ]
            for part in parts
        }

    def _let_go(self, part: Part) -> None:
        for name, seqs in part.seqs.items():
            self._streams[name].take(seqs)

    def _measurement(
        self,
        piece: Piece,
        *,
        flags: set[str] | None = None,
        final: bool = True,
        ended: float | None = None,
    ) -> Measurement:
        run, part, points = self.run, piece.part, piece.points
        if run is None:
            raise ValueError(f"run {self.uid} has no start document: nothing can be measured of it")
        columns, odd = columns_of(points, self._instrument.roles)
        problems = sorted({text for point in points for text in point.problems})
        flags = (flags or set()) | odd | ({"partial", "unreadable"} if problems else set())
        times = [point.time for point in points if point.time is not None]
        when = max(times, default=run.time if ended is None else ended)
        sample = self.kind is Kind.SAMPLE
        dark, dark_runs = self._dark(run, points, columns) if sample else ({}, ())
        context, units = self._scalars.along(
            points,
            self._listed(),
            baseline=self._streams.get(BASELINE),
            files=self._files,
            until=when if self._is_grouped else float("inf"),
            axes=piece.axes,
        )
        self.sent += final
        measurement = Measurement(
            run=run,
            stream=part.stream or self._listed()[0].name,
            spectrum=part.name,
            columns=columns,
            complete="partial" not in flags,
            final=final,
            time=when,
            flags=tuple(sorted(flags)),
            context={**piece.where, **context},
            units=units,
            dark=dark,
            dark_runs=dark_runs,
            keys=tuple(sorted(self._elsewhere.union(*(s.keys for s in self._listed())))),
            problems=tuple(problems),
            unlike=piece.unlike,
        )
        return self._examined(measurement, points) if sample else measurement

    def _dark(
        self, run: Run, points: Sequence[Point], columns: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return the dark of a spectrum; of several one behind the other, that of the first."""
        roles = self._instrument.roles
        joined = have_own_energies(points, roles)
        return self._darks.before(run.time, columns_of(points[:1], roles)[0] if joined else columns)

    def _examined(self, measurement: Measurement, points: Sequence[Point]) -> Measurement:
        """Return a measurement with what its repeats tell."""
        found = examine(measurement, points, self._instrument)
        unlike = measurement.unlike or found.unlike
        flags = {*measurement.flags, *([UNLIKE] if unlike else [])}
        columns = measurement.columns
        if found.scatter is not None:
            columns = {**columns, "scatter": found.scatter}
        return replace(measurement, columns=columns, flags=tuple(sorted(flags)), unlike=unlike)

    def _keep_dark(self, measured: Measurement, points: Sequence[Point], ending: Ending) -> None:
        if self.kind is not Kind.DARK or not ending.success or ending.time is None:
            return
        whole = is_whole(points, self._instrument.roles)
        columns = {role: c for role, c in measured.columns.items() if role in DARK_ROLES}
        means = {role: c if whole else c.mean(axis=0) for role, c in columns.items()}
        finite = {role: np.asarray(m) for role, m in means.items() if np.isfinite(m).all()}
        self._darks.add(Dark(run_uid=self.uid, ended=ending.time, means=finite))


def _holds_array(told: Mapping[str, Any]) -> bool:
    return told.get("dtype") == "array" or bool(told.get("shape")) or "external" in told


def _some(seqs: Iterator[int]) -> str:
    first = list(islice(seqs, 6))
    return "seq_num " + ", ".join(map(str, first[:5])) + (" …" if len(first) > 5 else "")
