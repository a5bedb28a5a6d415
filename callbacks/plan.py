"""What a plan says it moves: read from the start document, which may say anything."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ENERGY_WORDS = ("energ", "mono", "dcm", "pgm", "bragg")
"""A motor that is so called moves the energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a plan moves, as far as its start document says so.

    Attributes
    ----------
    name
        ``scan``, ``count`` …; empty where it is not said.
    axes
        For each axis of the scan, the outermost first, what moves along it: data keys, or names of
        motors. A count has one axis, ``time``. None where nothing is said.
    shape
        How many points each axis has, as far as known for all.
    spans
        Between which ends each axis runs, last less first; NaN where an axis has no numbers.
    """

    name: str = ""
    axes: tuple[tuple[str, ...], ...] | None = None
    shape: tuple[int, ...] | None = None
    spans: tuple[float, ...] | None = None

    @property
    def moved(self) -> tuple[str, ...]:
        """Everything that moves, the outermost first."""
        return tuple(name for axis in self.axes or () for name in axis if name != "time")

    def axis_of(self, names: frozenset[str]) -> int | None:
        """Return which axis one of the names moves along, or None."""
        found = (k for k, axis in enumerate(self.axes or ()) if names.intersection(axis))
        return next(found, None)

    def seems_energy(self) -> bool:
        """Tell whether something that moves is called like a monochromator."""
        return any(map(is_energy, self.moved))


def is_energy(name: str) -> bool:
    """Tell whether something is called like a monochromator."""
    return any(word in name.casefold() for word in ENERGY_WORDS)


def plan_of(start: Mapping[str, Any]) -> Plan:
    """Return what a start document, in JSON's own types, says of its plan."""
    name = start.get("plan_name")
    axes = _dimensions(start) or _motors(start)
    shape, spans = _whole(start.get("shape")), _spans(start.get("extents"))
    return Plan(
        name=name if isinstance(name, str) else "",
        axes=axes,
        shape=shape if axes and shape and len(shape) == len(axes) else None,
        spans=spans if axes and spans and len(spans) == len(axes) else None,
    )


def _dimensions(start: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
    """Return the data keys of ``hints.dimensions``, [[[field, …], stream], …]."""
    hints = start.get("hints")
    found = hints.get("dimensions") if isinstance(hints, Mapping) else None
    if not isinstance(found, list):
        return None
    firsts = [one[0] if isinstance(one, list) and one else [] for one in found]
    axes = tuple(tuple(_names(first)) for first in firsts)
    return axes if axes and all(axes) else None


def _motors(start: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
    names = tuple(_names(start.get("motors")))
    return tuple((name,) for name in names) or None


def _names(found: Any) -> Iterator[str]:
    listed = found if isinstance(found, list) else []
    return (name for name in listed if isinstance(name, str) and name)


def _whole(found: Any) -> tuple[int, ...] | None:
    if not isinstance(found, list) or not all(type(n) is int and n > 0 for n in found):
        return None
    return tuple(found)


def _spans(found: Any) -> tuple[float, ...] | None:
    return tuple(map(_span, found)) if isinstance(found, list) else None


def _span(ends: Any) -> float:
    try:
        lo, hi = ends
        return abs(float(hi) - float(lo))
    except (TypeError, ValueError):
        return math.nan
