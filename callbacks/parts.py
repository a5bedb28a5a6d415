"""Parts of a run: which readings make one spectrum."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nearedge.callbacks.axes import Axis, places, unread
from nearedge.callbacks.columns import Point, is_whole, means
from nearedge.callbacks.instrument import FinishSettings, Instrument
from nearedge.callbacks.pixels import by_pixel, pixels_of
from nearedge.callbacks.plan import Plan
from nearedge.models import Array

COVERED = 0.8
"""A sweep runs over at least this fraction of the energies that its plan announced."""


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

    @property
    def members(self) -> list[tuple[str, int]]:
        """Stream and ``seq_num`` of each reading."""
        return [(name, seq) for name, seqs in self.seqs.items() for seq in seqs]

    def lacks(self, unlocated: Collection[tuple[str, int]]) -> bool:
        """Tell whether readings are missing, or lie in files nobody knows where."""
        too_few = self.expected is not None and len(self.members) < self.expected
        return too_few or any(member in unlocated for member in self.members)

    def thinned(self, most: int) -> "Part":
        """Return the part with an even choice of so many of its readings, the last among them."""
        step = -(-len(self.members) // most)
        seqs = {name: list(reversed(of[::-1][::step])) for name, of in self.seqs.items()}
        return self if step < 2 else replace(self, seqs=seqs)

    def only(self, which: Sequence[int], *, number: int, expected: int) -> "Part":
        """Return the part with some of its readings, numbered among several."""
        members = self.members
        seqs: dict[str, list[int]] = {}
        for k in which:
            name, seq = members[k]
            seqs.setdefault(name, []).append(seq)
        return Part(name=f"{self.name}.{number}", seqs=seqs, expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """The readings of one spectrum.

    Attributes
    ----------
    part
        Which they are.
    points
        They themselves.
    axes
        Data keys that tell its place from that of the others.
    where
        Where its pixel lies in a map.
    unlike
        Why it is no single spectrum, a sentence; empty where it is.
    """

    part: Part
    points: Sequence[Point]
    axes: tuple[str, ...] = ()
    where: Mapping[str, float] = field(default_factory=dict)
    unlike: str = ""


def group_of(seq: int, finish: FinishSettings) -> int:
    """Return the number of the spectrum that an event belongs to, which is also its name.

    The ``seq_num`` of the event that finishes it, or 0 where the end of the run does.
    """
    size = {"event": 1, "events": finish.n}.get(finish.when)
    return 0 if size is None else -(-seq // size) * size


def finish_by(plan: Plan, instrument: Instrument) -> FinishSettings:
    """Return when spectra are finished: with each sweep, where the plan tells their length.

    A scan over a grid whose innermost axis is the energy's then gives a spectrum with each sweep,
    while it runs. `is_sweep` tells whether the readings keep to the plan.
    """
    asked, energy = instrument.finish, instrument.roles.energy
    shape, at = plan.shape, plan.axis_of(frozenset((energy or "",)))
    if asked.when != "stop" or shape is None or plan.spans is None or at != len(shape) - 1:
        return asked
    sweeps = int(np.prod(shape[:-1]))
    if not 1 < sweeps <= instrument.split.most or shape[-1] < 2:
        return asked
    return FinishSettings(when="events", n=shape[-1])


def is_sweep(points: Sequence[Point], plan: Plan, energy: str) -> bool:
    """Tell whether readings run over the energies that the innermost axis of a plan announces."""
    found = _energies(points, energy)
    found = found[np.isfinite(found)]
    planned = plan.spans[-1] if plan.spans else np.nan
    return bool(found.size and np.ptp(found) >= COVERED * planned)


def pieces(
    part: Part, points: Sequence[Point], *, axes: Sequence[Axis], plan: Plan, instrument: Instrument
) -> Iterator[Piece]:
    """Yield the spectra in a part: one for each place, and for each pixel of frames that are maps.

    Parameters
    ----------
    part, points
        Readings that nobody has told apart yet.
    axes
        What may have been moved among them; none where the profile says what makes a spectrum.
    plan
        How many places there are, as far as it says so.
    """
    energy = instrument.roles.energy or ""
    energies = np.empty(0) if is_whole(points, instrument.roles) else _energies(points, energy)
    seqs = [seq for _, seq in part.members] if len(part.seqs) == 1 else []
    others = [] if instrument.finish.when in ("event", "events") else unread(plan, axes, energy)
    found = places(points, seqs, axes, plan, energies, others=others)
    keys = tuple(axis.key for axis in axes)
    if len(found) == 1:
        yield from _pixels(part, points, axes=(), instrument=instrument)
    elif len(found) > instrument.split.most:
        text = f"readings at {len(found)} places on {', '.join(keys)}"
        yield Piece(part=part, points=points, unlike=_too_many(text, len(found), instrument))
    else:
        expected = max(-(-(part.expected or 0) // len(found)), *map(len, found))
        for number, which in enumerate(found, start=1):
            one = part.only(which, number=number, expected=expected)
            yield from _pixels(one, [points[k] for k in which], axes=keys, instrument=instrument)


def _pixels(
    part: Part, points: Sequence[Point], *, axes: tuple[str, ...], instrument: Instrument
) -> Iterator[Piece]:
    shape = pixels_of(points, instrument.roles)
    count = int(np.prod(shape, dtype=int))
    if not shape:
        yield Piece(part=part, points=points, axes=axes)
    elif count > instrument.split.most:
        text = f"frames of {' x '.join(map(str, shape))} spectra each"
        yield Piece(part=part, points=points, axes=axes, unlike=_too_many(text, count, instrument))
    else:
        for number, (where, some) in enumerate(by_pixel(points, shape), start=1):
            one = replace(part, name=f"{part.name}.{number}")
            yield Piece(part=one, points=some, axes=axes, where=where)


def _too_many(found: str, count: int, instrument: Instrument) -> str:
    return (
        f"found {found}, expected at most {instrument.split.most} (instrument.split.most): their "
        f"mean is no spectrum of one place. Set it to {count} to get a spectrum for each"
    )


def _energies(points: Sequence[Point], energy: str) -> Array:
    return means(point.values.get(energy) for point in points)
