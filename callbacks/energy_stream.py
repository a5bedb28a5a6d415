"""Energies that a fly scan publishes in a stream of their own, for the sweeps of another."""

import bisect
import operator
from collections.abc import Sequence
from dataclasses import replace

from nearedge.callbacks.columns import Point
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.readings import Files, Readings


def holds_energies(doc: Descriptor, *, energy: str | None, signals: frozenset[str]) -> bool:
    """Tell whether a stream holds arrays of energies and nothing of the signal."""
    told = doc.data_keys.get(energy or "", {})
    many = told.get("dtype") == "array" or bool(told.get("shape"))
    return many and not signals.intersection(doc.data_keys)


class EnergyStream:
    """A stream of energies, one array for all sweeps or one for each.

    Parameters
    ----------
    readings
        The readings of the stream.
    key
        The data key of the energies.
    """

    def __init__(self, readings: Readings, key: str) -> None:
        self.readings = readings
        self._key = key
        self._leads: bool | None = None

    def are_ready(self, seqs: Sequence[int], points: Sequence[Point]) -> bool:
        """Tell whether the energies of sweeps have come, while more may come."""
        held = self.readings.waiting()
        leads = self._lead(points, held)
        return bool(held) and (leads or set(seqs) <= set(held))

    def attach(self, points: Sequence[Point], seqs: Sequence[int], files: Files) -> list[Point]:
        """Return sweeps with their energies.

        One array serves all. Of several that are published before their sweeps, the last before a
        sweep is its own; else that of the same ``seq_num``.
        """
        held = self.readings.waiting()
        times = [self.readings.time_of(seq) or 0.0 for seq in held]
        in_order = self._lead(points, held) and all(map(operator.lt, times, times[1:]))
        owner = [
            _owner(point, seq, held, times if in_order else [])
            for point, seq in zip(points, seqs, strict=True)
        ]
        wanted = sorted({seq for seq in owner if seq is not None})
        axes = dict(zip(wanted, self.readings.points(wanted, files), strict=True))
        return [
            point if seq is None else self._with(point, axes[seq])
            for point, seq in zip(points, owner, strict=True)
        ]

    def _lead(self, points: Sequence[Point], held: Sequence[int]) -> bool:
        """Tell whether energies are published before their sweeps: the first ones tell it."""
        times = [point.time for point in points if point.time is not None]
        first = self.readings.time_of(held[0]) if held else None
        if self._leads is None and times and first is not None:
            self._leads = first <= min(times)
        return bool(self._leads)

    def _with(self, point: Point, axis: Point) -> Point:
        if self._key in point.values or self._key not in axis.values:
            return point
        values = {**point.values, self._key: axis.values[self._key]}
        return replace(point, values=values, problems=point.problems + axis.problems)


def _owner(point: Point, seq: int, held: Sequence[int], times: Sequence[float]) -> int | None:
    """Return the ``seq_num`` of the energies of a sweep; without ``times`` they tell nothing."""
    if len(held) == 1:
        return held[0]
    if not times or point.time is None:
        return seq if seq in held else None
    before = bisect.bisect_right(times, point.time)
    return held[before - 1] if before else None
