"""The streams and files of one run: what has come of them, and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nearedge.callbacks.axes import Axis, axes_of
from nearedge.callbacks.columns import Point, data_keys_of
from nearedge.callbacks.documents import (
    Datum,
    Descriptor,
    Document,
    Event,
    Resource,
    StreamDatum,
    StreamResource,
)
from nearedge.callbacks.energy_stream import EnergyStream, holds_energies
from nearedge.callbacks.external import dataset_of, dataset_of_resource
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.parts import Part
from nearedge.callbacks.plan import Plan
from nearedge.callbacks.readings import MAX_READINGS, Files, Readings
from nearedge.callbacks.scalars import MAX_NAME, Scalars

BASELINE = "baseline"
MAX_ELSEWHERE = 64
"""As many data keys of streams that nobody reads are remembered."""
MAX_BASELINE = 1_000
"""As many readings of the baseline are held; it is read before a run and after it."""


class Came(NamedTuple):
    """What a document has brought."""

    refused: str | None = None
    """Why some or all of it is not used."""
    readings: tuple[tuple[Readings, Sequence[int]], ...] = ()
    """The ``seq_num`` of the readings that it belongs to, by stream."""


MALFORMED = Came("malformed")
DUPLICATE = Came("duplicate")


class Streams:
    """The streams and files of one run, whose documents may come in any order.

    Parameters
    ----------
    instrument
        What the profile says.
    scalars
        Where the descriptor of the baseline is shown.
    """

    def __init__(self, instrument: Instrument, scalars: Scalars) -> None:
        self.files = Files()
        self.plan: Plan | None = None
        self._instrument, self._scalars = instrument, scalars
        self._streams: dict[str, Readings] = {}
        self._names: dict[str, str] = {}
        self._key_of_file: dict[str, str] = {}
        self._elsewhere: set[str] = set()
        self._energies: EnergyStream | None = None
        roles = instrument.roles.model_copy(update={"context": ()})
        self._signal_keys = data_keys_of(roles)

    def __getitem__(self, name: str) -> Readings:
        return self._streams[name]

    # documents

    def take(self, doc: Document) -> Came:
        """Take any document between start and stop."""
        match doc:
            case Descriptor():
                return Came(self._describe(doc))
            case Event():
                return self._event(doc)
            case StreamDatum():
                return self._stream_datum(doc)
            case StreamResource() | Resource():
                return self._file(doc)
            case Datum():
                return self._datum(doc)
        return MALFORMED

    def knows(self, uid: str) -> bool:
        """Tell whether a descriptor or a file's document has come."""
        return uid in self._names or uid in self.files.datasets

    def _describe(self, doc: Descriptor) -> str | None:
        if doc.uid in self._names:
            return "duplicate"
        self._names[doc.uid] = doc.name
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
        """Remember what other streams have, to say where a role may be found."""
        if doc.name not in (*self._instrument.streams, BASELINE):
            named = [f"{key[:MAX_NAME]} (stream {doc.name[:MAX_NAME]})" for key in doc.data_keys]
            self._elsewhere.update(named[: MAX_ELSEWHERE - len(self._elsewhere)])

    def _holds_energies(self, doc: Descriptor) -> bool:
        energy = self._instrument.roles.energy
        return holds_energies(doc, energy=energy, signals=self._signal_keys - {energy})

    def _axes_in(self, doc: Descriptor) -> list[Axis]:
        return axes_of(
            doc, self.plan, declared=self._instrument.split.axes, roles=self._signal_keys
        )

    def _stream(self, name: str) -> Readings:
        if name not in self._streams:
            roles, roots = self._instrument.roles, self._instrument.readable_roots
            measured = name != BASELINE or name in self._instrument.streams
            wanted = data_keys_of(roles) if measured else frozenset(roles.context)
            limit = MAX_READINGS if measured else MAX_BASELINE
            self._streams[name] = Readings(name, wanted=wanted, roots=roots, limit=limit)
        return self._streams[name]

    def _event(self, doc: Event) -> Came:
        name = self._names.get(doc.descriptor)
        if name is None:
            return MALFORMED
        stream = self._streams.get(name)
        if stream is None:
            return Came()
        refused = stream.add(doc)
        return Came(refused, ((stream, [doc.seq_num]),))

    def _stream_datum(self, doc: StreamDatum) -> Came:
        name = self._names.get(doc.descriptor)
        key = self._key_of_file.get(doc.stream_resource)
        if name is None or key is None:
            return MALFORMED
        stream = self._streams.get(name)
        if stream is None:
            return Came()
        seqs, refused = stream.locate(doc, key)
        return Came(refused, ((stream, seqs),))

    def _datum(self, doc: Datum) -> Came:
        if doc.resource not in self.files.datasets:
            return MALFORMED
        if len(self.files.datums) >= MAX_READINGS:
            return Came("too-many-readings")
        self.files.datums[doc.datum_id] = doc
        named = ((stream, stream.of_datum(doc.datum_id)) for stream in self._streams.values())
        return Came(readings=tuple(named))

    def _file(self, doc: StreamResource | Resource) -> Came:
        if doc.uid in self.files.datasets:
            return DUPLICATE
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
        self.files.datasets[doc.uid] = dataset
        return Came()

    # what there is

    @property
    def baseline(self) -> Readings | None:
        """The readings of the baseline, if any came."""
        return self._streams.get(BASELINE)

    def listed(self) -> list[Readings]:
        """Return the streams that the profile names, as far as they have come."""
        names = self._instrument.streams
        return [self._streams[name] for name in names if name in self._streams]

    def spectral(self) -> list[Readings]:
        """Return the streams that measure the signal."""
        return [stream for stream in self.listed() if self.is_spectral(stream)]

    def is_spectral(self, stream: Readings) -> bool:
        """Tell whether a stream measures the signal, rather than only the energies."""
        return bool(stream.measures & self._signal_keys) and not self.gives_energies(stream)

    def gives_energies(self, stream: Readings) -> bool:
        """Tell whether a stream holds the energies of sweeps of another."""
        return self._energies is not None and stream is self._energies.readings

    def waiting(self) -> dict[str, list[int]]:
        """Return the readings that are part of no finished spectrum, of streams that have any."""
        waiting = {stream.name: stream.waiting() for stream in self.spectral()}
        return {name: seqs for name, seqs in waiting.items() if seqs}

    def axes(self, part: Part) -> list[Axis]:
        """Return what may have been moved in the streams of a part, each data key once."""
        docs = (doc for name in part.seqs for doc in self._streams[name].descriptors)
        return list({axis.key: axis for doc in docs for axis in self._axes_in(doc)}.values())

    def arrays(self) -> list[str]:
        """Return the data keys of the listed streams that hold arrays."""
        docs = [doc for stream in self.listed() for doc in stream.descriptors]
        return [k for doc in docs for k, told in doc.data_keys.items() if _holds_array(told)]

    def keys(self) -> tuple[str, ...]:
        """Return every data key of the run: those of other streams with the stream's name."""
        return tuple(sorted(self._elsewhere.union(*(s.keys for s in self.listed()))))

    # readings

    def finished(self, name: str, seqs: Sequence[int]) -> list[Point] | None:
        """Return readings with all that belongs to them, or None while some of it is to come.

        A file that is not written yet is to come: it is tried again when the run ends.
        """
        stream = self._streams[name]
        if not self.is_spectral(stream) or not stream.are_ready(seqs, self.files):
            return None
        points = stream.points(seqs, self.files)
        if energies := self._energies_for(stream):
            if not energies.are_ready(seqs, points):
                return None
            points = energies.attach(points, seqs, self.files)
        return None if any(point.problems for point in points) else points

    def ready(self, name: str, seqs: Sequence[int]) -> list[int]:
        """Return those of the readings of which everything has come, each by itself.

        A reading that lies wholly in files needs no event: fly scans publish none.
        """
        stream = self._streams[name]
        found = [seq for seq in seqs if stream.is_here(seq, self.files)]
        energies = self._energies_for(stream)
        if energies is None or not found:
            return found
        points = [Point(values={}, time=stream.time_of(seq)) for seq in found]
        return found if energies.are_ready(found, points) else []

    def points(self, parts: Sequence[Part]) -> dict[tuple[str, str], list[Point]]:
        """Return the readings of several spectra; what lies together in a file is read at once."""
        asked: dict[str, list[int]] = {}
        for part in parts:
            for name, seqs in part.seqs.items():
                asked.setdefault(name, []).extend(seqs)
        read: dict[tuple[str, int], Point] = {}
        for name, seqs in asked.items():
            points = self.with_energies(self._streams[name], seqs)
            read |= {(name, seq): point for seq, point in zip(seqs, points, strict=True)}
        return {
            (part.name, part.stream): [read[member] for member in part.members] for part in parts
        }

    def with_energies(self, stream: Readings, seqs: Sequence[int]) -> list[Point]:
        """Return readings of one stream, with the energies that another stream gives them."""
        points, energies = stream.points(seqs, self.files), self._energies_for(stream)
        return energies.attach(points, seqs, self.files) if energies else points

    def _energies_for(self, stream: Readings) -> EnergyStream | None:
        """Return the energies of a stream if they come in another one."""
        return None if self._instrument.roles.energy in stream.keys else self._energies

    def let_go(self, part: Part) -> None:
        """Let go of readings that are part of a finished spectrum."""
        for name, seqs in part.seqs.items():
            self._streams[name].take(seqs)

    # what is missing

    def unlocated(self) -> set[tuple[str, int]]:
        """Return the readings, by stream and ``seq_num``, whose place in a file never came."""
        return {
            (stream.name, seq)
            for stream in self.listed()
            for seqs in stream.lacking(self.files).values()
            for seq in seqs
        }

    def gaps(self, num_events: Mapping[str, int]) -> Iterator[str]:
        """Yield sentences on what should have come and did not.

        Parameters
        ----------
        num_events
            How many events each stream has, as far as the stop document says so.
        """
        energies = [] if self._energies is None else [self._energies.readings.name]
        for name in dict.fromkeys((*self._instrument.streams, *energies)):
            count = num_events.get(name, 0)
            if name in self._streams:
                yield from self._gaps_of(self._streams[name], count)
            elif count:
                yield f"stream {name}: its descriptor and {count} events never came"

    def _gaps_of(self, stream: Readings, count: int) -> Iterator[str]:
        if lost := max(count, stream.seen.greatest) - len(stream.seen):
            missing = _some(stream.seen.missing(count))
            yield f"stream {stream.name}: {lost} events never came ({missing})"
        for key, seqs in stream.lacking(self.files).items():
            yield f"stream {stream.name}: no place of {key} came ({_some(iter(seqs))})"


def _holds_array(told: Mapping[str, Any]) -> bool:
    return told.get("dtype") == "array" or bool(told.get("shape")) or "external" in told


def _some(seqs: Iterator[int]) -> str:
    first = list(islice(seqs, 6))
    return "seq_num " + ", ".join(map(str, first[:5])) + (" …" if len(first) > 5 else "")
