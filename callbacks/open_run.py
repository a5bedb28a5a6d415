"""A run that has begun and not ended: its readings, and the spectra that they finish."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import event_model
import numpy as np

from nearedge.callbacks.columns import (
    Point,
    columns_of,
    data_keys_of,
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
from nearedge.callbacks.external import dataset_of, dataset_of_resource
from nearedge.callbacks.instrument import FinishSettings, Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.readings import MAX_BLOCK, MAX_READINGS, Files, Readings
from nearedge.callbacks.recognise import DARK_ROLES, Dark, Darks, Kind, recognise
from nearedge.callbacks.scalars import Scalars

BASELINE = "baseline"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which readings make one spectrum: those ``seqs`` of each of the streams."""

    name: str
    seqs: Mapping[str, Sequence[int]]
    expected: int | None = None
    """How many there should be, where that is known."""

    @property
    def stream(self) -> str:
        """The first of its streams."""
        return next(iter(self.seqs), "")

    def lacks(self, unlocated: Collection[tuple[str, int]]) -> bool:
        """Tell whether readings are missing, or lie in files nobody knows where."""
        members = [(name, seq) for name, seqs in self.seqs.items() for seq in seqs]
        too_few = self.expected is not None and len(members) < self.expected
        return too_few or any(member in unlocated for member in members)


def group_of(seq: int, finish: FinishSettings) -> int:
    """Return the number of the spectrum that an event belongs to, which is also its name.

    The ``seq_num`` of the event that finishes it, or 0 where the end of the run does.
    """
    size = {"event": 1, "events": finish.n}.get(finish.when)
    return 0 if size is None else -(-seq // size) * size


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
        self._scalars = Scalars(uid, instrument.roles.context)
        self.sent = 0

    # documents

    def begin(self, doc: Start, *, raw: Mapping[str, Any]) -> str | None:
        """Take the start document, ``raw`` being all of it; return why some or all is not used."""
        if self.run is not None:
            return "duplicate"
        try:
            start = _plain(raw)
        except (TypeError, ValueError, RecursionError):
            return "malformed"
        self.run = Run(uid=doc.uid, scan_id=_scan_id(doc.scan_id), time=doc.time, start=start)
        self.kind = recognise(start, self._instrument.recognise)
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
        listed = doc.name in self._instrument.streams
        if not listed and doc.name != BASELINE:
            return None
        stream = self._stream(doc.name)
        stream.describe(doc)
        return None if listed else self._scalars.describe(doc, stream)

    def _stream(self, name: str) -> Readings:
        if name not in self._streams:
            roles, roots = self._instrument.roles, self._instrument.readable_roots
            listed = name in self._instrument.streams
            wanted = data_keys_of(roles) if listed else frozenset(roles.context)
            limit = MAX_READINGS if listed else MAX_BASELINE
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
                self._touch(stream, stream.waiting())
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
        if stream.name in self._instrument.streams:
            groups = {group_of(seq, self._instrument.finish) for seq in seqs}
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
            # a file that is not written yet is tried again when the run ends
            if not any(point.problems for point in points):
                part = Part(name=str(group), seqs={name: seqs}, expected=len(seqs))
                yield self._measurement(part, points)
                self._let_go(part)

    def partial(self) -> Measurement | None:
        """Return the step scan as far as it has come, or None where nothing can be shown of it.

        Scans whose numbers lie in files are not shown: reading them all again and again would
        hold up the documents behind them.
        """
        if self.run is None or self.kind is not Kind.SAMPLE:
            return None
        part = next(reversed(list(self._remaining())), None)
        if part is None or any(self._streams[name].has_files for name in part.seqs):
            return None
        points = self._points([part])[part.name, part.stream]
        if is_whole(points[:1], self._instrument.roles):
            return None
        return self._measurement(part, points, flags={"partial"}, final=False)

    def end(self, ending: Ending) -> Iterator[Measurement]:
        """Yield what is left when the run ends; of a dark run, keep the means."""
        if self.run is None:
            return
        flags, unlocated = self._troubles(ending), self._unlocated()
        parts = self._remaining()
        while block := list(islice(parts, MAX_BLOCK)):
            points = self._points(block)
            for part in block:
                lacking = part.lacks(unlocated) or (flags and not self._is_grouped)
                found = {"partial", *flags} if lacking else set()
                measurement = self._measurement(
                    part, points[part.name, part.stream], flags=found, ended=ending.time
                )
                self._keep_dark(measurement, points[part.name, part.stream], ending)
                yield measurement
                self._let_go(part)
        if not self.sent and self._listed():
            yield self._measurement(Part(name="0", seqs={}), [], flags={"partial", "empty", *flags})

    def gaps(self, ending: Ending) -> list[str]:
        """Return sentences on what should have come and did not."""
        if self.run is None:
            return ["its start document never came"]
        found = [] if ending.time is not None else ["its stop document never came"]
        for name in self._instrument.streams:
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
        return self.kind is Kind.SAMPLE and self._instrument.finish.when in ("event", "events")

    def _members(self, group: int) -> list[int]:
        size = self._instrument.finish.n if self._instrument.finish.when == "events" else 1
        return list(range(group - size + 1, group + 1))

    def _listed(self) -> list[Readings]:
        names = self._instrument.streams
        return [self._streams[name] for name in names if name in self._streams]

    def _is_spectral(self, stream: Readings) -> bool:
        return bool(stream.measures & self._signal_keys)

    def _remaining(self) -> Iterator[Part]:
        """Yield the spectra that are not finished, as far as they have come."""
        waiting = {s.name: s.waiting() for s in self._listed() if self._is_spectral(s)}
        waiting = {name: seqs for name, seqs in waiting.items() if seqs}
        finish = self._instrument.finish
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
        read = {
            (name, seq): point
            for name, seqs in asked.items()
            for seq, point in zip(seqs, self._streams[name].points(seqs, self._files), strict=True)
        }
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
        part: Part,
        points: Sequence[Point],
        *,
        flags: set[str] | None = None,
        final: bool = True,
        ended: float | None = None,
    ) -> Measurement:
        run = self.run
        if run is None:
            raise ValueError(f"run {self.uid} has no start document: nothing can be measured of it")
        columns, odd = columns_of(points, self._instrument.roles)
        problems = sorted({text for point in points for text in point.problems})
        flags = (flags or set()) | odd | ({"partial", "unreadable"} if problems else set())
        times = [point.time for point in points if point.time is not None]
        when = max(times, default=run.time if ended is None else ended)
        sample = self.kind is Kind.SAMPLE
        dark, dark_runs = self._darks.before(run.time, columns) if sample else ({}, ())
        context, units = self._scalars.along(
            points,
            self._listed(),
            baseline=self._streams.get(BASELINE),
            files=self._files,
            until=when if self._is_grouped else float("inf"),
        )
        self.sent += final
        return Measurement(
            run=run,
            stream=part.stream or self._listed()[0].name,
            spectrum=part.name,
            columns=columns,
            complete="partial" not in flags,
            final=final,
            time=when,
            flags=tuple(sorted(flags)),
            context=context,
            units=units,
            dark=dark,
            dark_runs=dark_runs,
            keys=tuple(sorted(frozenset().union(*(s.keys for s in self._listed())))),
            problems=tuple(problems),
        )

    def _keep_dark(self, measured: Measurement, points: Sequence[Point], ending: Ending) -> None:
        if self.kind is not Kind.DARK or not ending.success or ending.time is None:
            return
        whole = is_whole(points, self._instrument.roles)
        columns = {role: c for role, c in measured.columns.items() if role in DARK_ROLES}
        means = {role: c if whole else c.mean(axis=0) for role, c in columns.items()}
        finite = {role: np.asarray(m) for role, m in means.items() if np.isfinite(m).all()}
        self._darks.add(Dark(run_uid=self.uid, ended=ending.time, means=finite))


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a start document in JSON's own types, the same from every source.

    The catalog keeps Tiled's own entries to itself, so they are left out everywhere.
    """
    kept = {key: value for key, value in raw.items() if not str(key).startswith("tiled_")}
    text = json.dumps(kept, cls=_Plain, skipkeys=True, ensure_ascii=False)
    # half a character (a lone surrogate) could not be stored, nor any name that holds one
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    plain: dict[str, Any] = json.loads(whole)
    return plain


def _scan_id(found: Any) -> int | None:
    """Return a number of scans that 64 bits hold; no scan counts further."""
    return found if isinstance(found, int) and abs(found) < 2**63 else None


class _Plain(event_model.NumpyEncoder):
    def default(self, o: Any) -> Any:
        try:
            return super().default(o)
        except TypeError:
            return str(o)


def _some(seqs: Iterator[int]) -> str:
    first = list(islice(seqs, 6))
    return "seq_num " + ", ".join(map(str, first[:5])) + (" …" if len(first) > 5 else "")
