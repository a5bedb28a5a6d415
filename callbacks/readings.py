"""The readings of one stream of one run, held until they are part of a finished spectrum."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nearedge.callbacks.columns import Point, Values, number
from nearedge.callbacks.documents import Datum, Descriptor, Event, StreamDatum
from nearedge.callbacks.external import DataSet, ReadingError, read_frames

MAX_READINGS = 200_000
"""As many readings of one stream are held; later ones are refused and the spectrum is flagged."""
MAX_NUMBERS = 2**26
"""As many embedded numbers (512 MB) of one stream are held."""
MAX_UNIT = 80
"""As many characters of a unit are kept."""
MAX_BLOCK = 1024
"""As many readings are read from a file at once."""


class FilePlace(NamedTuple):
    """Where a file-backed reading lies."""

    resource: str
    at: int
    descriptor: str
    channel: int | None = None
    """Of a detector that writes all of its channels side by side, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One event, reduced to the keys that somebody reads."""

    time: float
    descriptor: str
    values: Values
    datums: Mapping[str, str]
    """Data keys whose value is in a file of the older form, to the ``datum_id``."""


@dataclass(slots=True)
class Files:
    """The files that the documents of one run point to."""

    datasets: dict[str, DataSet] = field(default_factory=dict)
    datums: dict[str, Datum] = field(default_factory=dict)


class Seen:
    """The ``seq_num`` of a stream that have come, in little memory while they come in order."""

    def __init__(self) -> None:
        self._upto = 0
        self._beyond: set[int] = set()

    def add(self, seq: int) -> None:
        """Note one."""
        if seq > self._upto:
            self._beyond.add(seq)
        while self._upto + 1 in self._beyond:
            self._upto += 1
            self._beyond.remove(self._upto)

    def __contains__(self, seq: int) -> bool:
        return seq <= self._upto or seq in self._beyond

    def __len__(self) -> int:
        return self._upto + len(self._beyond)

    @property
    def greatest(self) -> int:
        """The greatest seen, 0 when none was."""
        return max(self._beyond, default=self._upto)

    def missing(self, last: int) -> Iterator[int]:
        """Yield those between 1 and ``last``, or the greatest seen, that have not come."""
        end = max(last, self.greatest)
        return (seq for seq in range(self._upto + 1, end + 1) if seq not in self)


class Readings:
    """What a stream has measured and no finished spectrum holds yet.

    Parameters
    ----------
    name
        The name of the stream.
    wanted
        The data keys that are kept; others are let go at once.
    roots
        Folders below which files may be opened.
    limit
        As many readings are held.
    """

    def __init__(
        self,
        name: str,
        *,
        wanted: frozenset[str],
        roots: Sequence[str],
        limit: int = MAX_READINGS,
    ) -> None:
        self.name = name
        self.seen = Seen()
        self.truncated = False
        self._wanted = wanted
        self._roots = roots
        self._limit = limit
        self._taken = Seen()
        self._descriptors: dict[str, Descriptor] = {}
        self._settings: dict[str, Values] = {}
        self._rows: dict[int, Reading] = {}
        self._places: dict[str, dict[int, FilePlace]] = {}
        self._datums: dict[str, int] = {}
        self._numbers = 0

    @property
    def keys(self) -> frozenset[str]:
        """The data keys of the stream, and its configuration keys that somebody reads."""
        data = {key for doc in self._descriptors.values() for key in doc.data_keys}
        return frozenset(data.union(*self._settings.values()))

    @property
    def measures(self) -> frozenset[str]:
        """The data keys of the stream that somebody reads."""
        return self._wanted & {key for doc in self._descriptors.values() for key in doc.data_keys}

    def unit(self, key: str) -> str | None:
        """Return the unit that the descriptors give a data key."""
        units = (doc.data_keys.get(key, {}).get("units") for doc in self._descriptors.values())
        return next((unit[:MAX_UNIT] for unit in units if isinstance(unit, str) and unit), None)

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """The descriptors of the stream, in the order in which they came."""
        return tuple(self._descriptors.values())

    @property
    def held(self) -> int:
        """How many readings are held."""
        return len(self._rows)

    @property
    def has_files(self) -> bool:
        """Whether some key that somebody reads lies in files."""
        return any(self._external(uid) for uid in self._descriptors)

    def want(self, keys: Iterable[str]) -> None:
        """Keep these data keys too, of what comes from now on."""
        self._wanted = self._wanted.union(keys)

    def describe(self, doc: Descriptor) -> None:
        """Take a descriptor of this stream; a later one changes the configuration."""
        self._descriptors[doc.uid] = doc
        self._settings[doc.uid] = _settings(doc, self._wanted)

    def add(self, doc: Event) -> str | None:
        """Take an event, and return why not when it is refused.

        An event whose ``seq_num`` came before takes its place: that is how a plan that was paused
        and rewound measures a point anew.
        """
        former = self._rows.get(doc.seq_num)
        if doc.seq_num in self._taken:
            return "duplicate"
        if former is None and self._is_full():
            self.truncated = True
            return "too-many-readings"
        self._rows[doc.seq_num] = row = self._row(doc)
        self._numbers += _size(row) - (_size(former) if former else 0)
        self._datums.update(dict.fromkeys(row.datums.values(), doc.seq_num))
        self.seen.add(doc.seq_num)
        return "duplicate" if former else None

    def locate(self, doc: StreamDatum, data_key: str) -> tuple[list[int], str | None]:
        """Take the places of file-backed readings.

        Returns
        -------
        list of int
            Their ``seq_num``.
        str or None
            Why some were refused.
        """
        places = self._places.setdefault(data_key, {})
        count = doc.indices.stop - doc.indices.start
        room = max(0, min(count, self._limit - len(places)))
        first = doc.seq_nums.start or doc.indices.start + 1
        new = [offset for offset in range(room) if first + offset not in self._taken]
        for offset in new:
            self.seen.add(first + offset)
            if data_key in self._wanted:
                index = doc.indices.start + offset
                places[first + offset] = FilePlace(doc.stream_resource, index, doc.descriptor)
        self.truncated |= room < count
        refused = "too-many-readings" if room < count else "duplicate" if len(new) < room else None
        return [first + offset for offset in new], refused

    def time_of(self, seq: int) -> float | None:
        """Return when a reading was made, seconds since the epoch, where an event tells it."""
        row = self._rows.get(seq)
        return None if row is None else row.time

    def of_datum(self, datum_id: str) -> list[int]:
        """Return the ``seq_num`` of the reading that names this datum, if it has come."""
        seq = self._datums.get(datum_id)
        return [] if seq is None else [seq]

    def waiting(self) -> list[int]:
        """Return the ``seq_num`` of all readings that are held, ascending."""
        located = itertools.chain.from_iterable(self._places.values())
        return sorted(set(self._rows).union(located))

    def are_ready(self, seqs: Sequence[int], files: Files) -> bool:
        """Tell whether events and everything in files that belongs to them have come."""
        # the last is what a running scan lacks: looked at first, each event costs one look
        return all(
            (row := self._rows.get(seq)) is not None and not self._lacking(seq, row, files)
            for seq in reversed(seqs)
        )

    def is_here(self, seq: int, files: Files) -> bool:
        """Tell whether everything of one reading has come, its event too unless all is in files."""
        row = self._rows.get(seq)
        if row is not None:
            return not self._lacking(seq, row, files)
        placed = [place[seq].descriptor for place in self._places.values() if seq in place]
        if not placed:
            return False
        external = self._external(placed[0])
        inside = self._wanted.intersection(self._descriptors[placed[0]].data_keys) - external
        return not inside and all(seq in self._places.get(key, {}) for key in external)

    def lacking(self, files: Files) -> dict[str, list[int]]:
        """Return the file-backed keys whose place never came, and of which events."""
        lacking: dict[str, list[int]] = {}
        if not self.has_files:
            return lacking
        for seq, row in sorted(self._rows.items()):
            for key in self._lacking(seq, row, files):
                lacking.setdefault(key, []).append(seq)
        return lacking

    def take(self, seqs: Iterable[int]) -> None:
        """Let go of readings that are part of a finished spectrum."""
        for seq in seqs:
            self._taken.add(seq)
            row = self._rows.pop(seq, None)
            self._numbers -= _size(row) if row else 0
            for datum in row.datums.values() if row else ():
                self._datums.pop(datum, None)
            for places in self._places.values():
                places.pop(seq, None)

    def points(self, seqs: Sequence[int], files: Files) -> list[Point]:
        """Return readings, their file-backed values read."""
        filed: dict[int, dict[str, np.ndarray]] = {seq: {} for seq in seqs}
        problems: dict[int, tuple[str, ...]] = dict.fromkeys(seqs, ())
        for key, placed in self._places_of(seqs, files).items():
            for block in _consecutive(placed):
                try:
                    frames = self._frames(key, placed[block[0]], len(block), files)
                except ReadingError as error:
                    for seq in block:
                        problems[seq] += (f"{key}: {error}",)
                else:
                    for seq, value in zip(block, frames, strict=True):
                        filed[seq][key] = value
        return [self._point(seq, filed[seq], problems[seq]) for seq in seqs]

    def _is_full(self) -> bool:
        return len(self._rows) >= self._limit or self._numbers >= MAX_NUMBERS

    def _row(self, doc: Event) -> Reading:
        keys = self._descriptors[doc.descriptor].data_keys
        external = self._external(doc.descriptor)
        read = {key: value for key, value in doc.data.items() if key in self._wanted}
        datums = {k: v for k, v in read.items() if k in external and isinstance(v, str)}
        values = {
            key: number(value, dtype=keys.get(key, {}).get("dtype_numpy"))
            for key, value in read.items()
            if key not in datums
        }
        return Reading(time=doc.time, descriptor=doc.descriptor, values=values, datums=datums)

    def _external(self, descriptor: str) -> frozenset[str]:
        keys = self._descriptors[descriptor].data_keys
        return frozenset(key for key in self._wanted if "external" in keys.get(key, {}))

    def _lacking(self, seq: int, row: Reading, files: Files) -> list[str]:
        streamed = self._external(row.descriptor) - set(row.values) - set(row.datums)
        lost = [key for key in streamed if seq not in self._places.get(key, {})]
        lost += [key for key, uid in row.datums.items() if uid not in files.datums]
        return sorted(lost)

    def _point(self, seq: int, filed: dict[str, np.ndarray], problems: tuple[str, ...]) -> Point:
        row = self._rows.get(seq)
        if row is not None:
            values = {**self._settings[row.descriptor], **row.values, **filed}
            return Point(values=values, time=row.time, problems=problems)
        placed = next(places[seq] for places in self._places.values() if seq in places)
        values = {**self._settings[placed.descriptor], **filed}
        return Point(values=values, time=None, problems=problems)

    def _places_of(self, seqs: Sequence[int], files: Files) -> dict[str, dict[int, FilePlace]]:
        found = {
            key: {seq: places[seq] for seq in seqs if seq in places}
            for key, places in sorted(self._places.items())
        }
        for seq, row in ((seq, self._rows[seq]) for seq in seqs if seq in self._rows):
            for key, uid in row.datums.items():
                if uid in files.datums:
                    place = _place(files.datums[uid], seq=seq, descriptor=row.descriptor)
                    found.setdefault(key, {})[seq] = place
        return found

    def _frames(self, key: str, first: FilePlace, count: int, files: Files) -> np.ndarray:
        shape = self._descriptors[first.descriptor].data_keys.get(key, {}).get("shape")
        dataset = files.datasets[first.resource]
        frames = read_frames(
            dataset if first.channel is None else dataset.of_channel(first.channel),
            start=first.at,
            stop=first.at + count,
            shape=shape if isinstance(shape, list | tuple) else (),
            roots=self._roots,
        )
        return number(frames)


def _settings(doc: Descriptor, wanted: frozenset[str]) -> Values:
    found: dict[str, np.ndarray] = {}
    for device in doc.configuration.values():
        data: Any = device.get("data") if isinstance(device, dict) else None
        for key in wanted.intersection(data or ()):
            found[key] = number(data[key])
    return found


def _size(row: Reading) -> int:
    return sum(value.size for value in row.values.values())


def _place(datum: Datum, *, seq: int, descriptor: str) -> FilePlace:
    index = datum.datum_kwargs.get("point_number", datum.datum_kwargs.get("frame"))
    channel = datum.datum_kwargs.get("channel")
    return FilePlace(
        datum.resource,
        index if isinstance(index, int) else seq - 1,
        descriptor,
        channel if isinstance(channel, int) else None,
    )


def _consecutive(placed: dict[int, FilePlace]) -> Iterator[list[int]]:
    """Yield runs of readings that lie one behind another in one file: each is read at once."""
    block: list[int] = []
    for seq in sorted(placed):
        if block and (len(block) == MAX_BLOCK or placed[seq] != _next(placed[block[-1]])):
            yield block
            block = []
        block.append(seq)
    if block:
        yield block


def _next(place: FilePlace) -> FilePlace:
    return place._replace(at=place.at + 1)
