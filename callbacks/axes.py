"""Which readings of a run belong together: those at one place on every axis but the energy's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.columns import Point
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.plan import Plan, is_energy
from nearedge.models import Array

SETPOINTS = ("_setpoint", "_user_setpoint", "-setpoint")
"""What is added to the data key of a positioner to name where it was sent."""
CLEAR = 3.0
"""Places lie farther apart than so many times the distance of readings at one place."""
BREAK = 10.0
"""The same, where no plan tells how many places there are."""
REGULAR = 0.8
"""So many of the positions were visited equally often."""
COVERED = 0.3
"""At a place, usually more than this fraction of the energies is measured."""
AGAIN = 0.05
"""More than this fraction of the energies is measured at several places."""

Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Something that was moved besides the energy.

    Attributes
    ----------
    key
        The data key that tells where it was.
    told_by
        The data key that tells places apart: the set point where there is one, since it does not
        jitter.
    names
        What a plan may call it.
    """

    key: str
    told_by: str
    names: frozenset[str]


def axes_of(
    doc: Descriptor, plan: Plan | None, *, declared: Sequence[str], roles: frozenset[str]
) -> list[Axis]:
    """Return what may have been moved in a stream.

    Parameters
    ----------
    doc
        A descriptor of the stream.
    plan
        What the plan says it moves. None where the start document has not come: then every single
        number may have been moved.
    declared
        Data keys that the profile names as axes.
    roles
        Data keys of the energy and of the signal, which are no axes.
    """
    found = [_axis(key, doc) for key, told in doc.data_keys.items() if _is_single(told)]
    return [
        axis
        for axis in found
        if axis.key not in roles
        and not any(axis.key == other.told_by != other.key for other in found)
        and (plan is None or _is_moved(axis, plan, doc, declared))
    ]


def _axis(key: str, doc: Descriptor) -> Axis:
    sent = (key + ending for ending in SETPOINTS)
    device = doc.data_keys[key].get("object_name")
    names = {key, device} if isinstance(device, str) else {key, *_devices(key, doc)}
    told_by = next((name for name in sent if name in doc.data_keys), key)
    return Axis(key=key, told_by=told_by, names=frozenset(names))


def _devices(key: str, doc: Descriptor) -> list[str]:
    return [
        name for name, keys in doc.object_keys.items() if isinstance(keys, list) and key in keys
    ]


def _is_moved(axis: Axis, plan: Plan, doc: Descriptor, declared: Sequence[str]) -> bool:
    named = {axis.key, axis.told_by}.intersection((*plan.moved, *declared))
    devices = axis.names.intersection(plan.moved)
    hinted = any(axis.key in _fields(doc, device) for device in devices)
    return bool(named) or hinted or axis.told_by != axis.key


def _fields(doc: Descriptor, device: str) -> list[str]:
    hints = doc.hints.get(device)
    fields = hints.get("fields") if isinstance(hints, dict) else None
    return fields if isinstance(fields, list) else []


def _is_single(told: Mapping[str, Any]) -> bool:
    return told.get("dtype") in ("number", "integer") and not told.get("shape")


def unread(plan: Plan, axes: Sequence[Axis], energy: str) -> list[int]:
    """Return the axes of a plan that no reading tells: words such as a polarisation, or unread."""
    told = frozenset((energy, "time", *(name for axis in axes for name in axis.names)))
    return [
        k
        for k, names in enumerate(plan.axes or ())
        if not told.intersection(names) and not any(map(is_energy, names))
    ]


def places(
    points: Sequence[Point],
    seqs: Sequence[int],
    axes: Sequence[Axis],
    plan: Plan,
    energy: Array,
    *,
    others: Sequence[int] = (),
) -> list[list[int]]:
    """Return the readings at each place, as indices, places in the order of their positions.

    Parameters
    ----------
    points, seqs
        The readings, and their ``seq_num``.
    axes
        What may have been moved.
    plan
        How many places there are, as far as it says so.
    energy
        (n,) of each reading; (0,) where each reading is a whole spectrum. An axis that moves along
        with the energy, so that no energy comes again at another place, tells no places apart.
    others
        Axes of the plan that no reading tells: there the order of the readings does.
    """
    told = [
        levels(_values(points, axis), count=_planned(plan.axis_of(axis.names), plan, seqs))
        for axis in axes
    ]
    told += [_by_order(at, plan, seqs) for at in others if _planned(at, plan, seqs)]
    labels = [
        found for found in told if found.any() and (not energy.size or _come_again(found, energy))
    ]
    if not labels:
        return [list(range(len(points)))]
    together = np.unique(np.column_stack(labels), axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(together == k).tolist() for k in range(int(together.max()) + 1)]


def levels(values: Array, *, count: int | None) -> Labels:
    """Return which of several positions each value is of, 0 for the lowest.

    Parameters
    ----------
    values
        (n,) as read, jitter and all.
    count
        How many positions there should be, where that is known. Else they are where the values
        leave gaps much wider than all others or, without any jitter, wherever values come again,
        each equally often.
    """
    distinct, inverse, often = np.unique(values, return_inverse=True, return_counts=True)
    widths = np.diff(distinct)
    ordered = np.sort(widths)[::-1]
    usual = np.bincount(often).argmax()
    repeated = usual > 1 and np.mean(often == usual) >= REGULAR
    cuts = _cuts(ordered, count, repeated=bool(repeated))
    if not cuts:
        return np.zeros(len(values), dtype=np.intp)
    new = np.concatenate([[False], widths >= ordered[cuts - 1]])
    return np.asarray(np.cumsum(new)[inverse.ravel()], dtype=np.intp)


def _cuts(ordered: Array, count: int | None, *, repeated: bool) -> int:
    """Return how many gaps, the widest, lie between positions."""
    if count == 1:
        return 0
    cuts = len(ordered) if count is None else min(count - 1, len(ordered))
    if count is not None and (cuts == len(ordered) or ordered[cuts - 1] > CLEAR * ordered[cuts]):
        return cuts
    steeper = ordered[:-1] / ordered[1:] if len(ordered) > 1 else np.empty(0)
    if steeper.size and steeper.max() >= BREAK:
        return int(steeper.argmax()) + 1
    return len(ordered) if repeated else 0


def _values(points: Sequence[Point], axis: Axis) -> Array:
    """Return where an axis was at each reading; where that is not told, where it was before."""
    found = np.array([_number(point, axis) for point in points])
    told = np.flatnonzero(np.isfinite(found))
    if not told.size:
        return np.zeros(len(found))
    before = np.maximum(np.searchsorted(told, np.arange(len(found)), side="right") - 1, 0)
    return found[told[before]]


def _number(point: Point, axis: Axis) -> float:
    values = [point.values[key] for key in (axis.told_by, axis.key) if key in point.values]
    return next((float(value.ravel()[0]) for value in values if np.isfinite(value).all()), math.nan)


def _planned(at: int | None, plan: Plan, seqs: Sequence[int]) -> int | None:
    """Return at how many positions an axis of the plan should have been in these readings."""
    if at is None or plan.shape is None or not seqs or max(seqs) > math.prod(plan.shape):
        return None
    return len(set(_by_order(at, plan, seqs).tolist()))


def _by_order(at: int, plan: Plan, seqs: Sequence[int]) -> Labels:
    """Return at which of its positions an axis of the plan was, as the order of readings tells."""
    shape = plan.shape or ()
    steps = (np.asarray(seqs, dtype=object) - 1) // math.prod(shape[at + 1 :]) % shape[at]
    return steps.astype(np.intp)


def _come_again(labels: Labels, energy: Array) -> bool:
    finite = np.isfinite(energy)
    labels, energy = labels[finite], energy[finite]
    if not energy.size:
        return False
    whole = float(np.ptp(energy))
    spans = [float(np.ptp(energy[labels == k])) for k in np.unique(labels)]
    return sum(spans) > (1 + AGAIN) * whole and float(np.median(spans)) >= COVERED * whole
