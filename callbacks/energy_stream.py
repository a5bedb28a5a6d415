"""Energies that a fly scan publishes in a stream of their own, for the sweeps of another."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
        Of the stream.
    key
        The data key of the energies.
    """

    def __init__(self, readings: Readings, key: str) -> None:
        self.readings = readings
        self._key = key
        self._leads: bool | None = None

    def are_ready(self, seqs: Sequence[int], points: Sequence[Point], files: Files) -> bool:
        """Tell whether the energies of sweeps have come, while more may come."""
        held = self.readings.waiting()
        leads = self._lead(points, self.readings.points(held[:1], files))
        return bool(held) and (leads or set(seqs) <= set(held))

    def attach(self, points: Sequence[Point], seqs: Sequence[int], files: Files) -> list[Point]:
        """Return sweeps with their energies.

        One array serves all. Of several that are published before their sweeps, the last before a
        sweep is its own; else that of the same ``seq_num``.
        """
        held = self.readings.waiting()
        axes = dict(zip(held, self.readings.points(held, files), strict=True))
        times = [axis.time or 0.0 for axis in axes.values()]
        by_time = self._lead(points, list(axes.values())) and bool(np.all(np.diff(times) > 0))
        return [
            self._with(point, _axis_for(point, seq, axes, by_time=by_time))
            for point, seq in zip(points, seqs, strict=True)
        ]

    def _lead(self, points: Sequence[Point], axes: Sequence[Point]) -> bool:
        """Tell whether energies are published before their sweeps: the first ones tell it."""
        times = [point.time for point in points if point.time is not None]
        if self._leads is None and times and axes and axes[0].time is not None:
            self._leads = axes[0].time <= min(times)
        return bool(self._leads)

    def _with(self, point: Point, axis: Point | None) -> Point:
        if axis is None or self._key in point.values or self._key not in axis.values:
            return point
        values = {**point.values, self._key: axis.values[self._key]}
        return replace(point, values=values, problems=point.problems + axis.problems)


def _axis_for(point: Point, seq: int, axes: dict[int, Point], *, by_time: bool) -> Point | None:
    if len(axes) == 1:
        return next(iter(axes.values()))
    if not by_time or point.time is None:
        return axes.get(seq)
    before = [axis for axis in axes.values() if axis.time is None or axis.time <= point.time]
    return before[-1] if before else None
