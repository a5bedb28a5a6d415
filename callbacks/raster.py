"""Where the events of a running scan lie in its map, told by the plan before all of them came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.axes import Axis, axes_of
from nearedge.callbacks.columns import Point, data_keys_of
from nearedge.callbacks.frames import number
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.plan import Plan, is_energy
from nearedge.callbacks.readings import Readings
from nearedge.models import Array
from nearedge.models.maps.image import ScanAxis


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """The grid of a plan.

    Attributes
    ----------
    axes
        Its axes, the slowest first, with the positions that the plan announced.
    snaking
        For each whether it runs to and fro.
    keys
        For each the data key that tells where it was; empty where none does.
    """

    axes: tuple[ScanAxis, ...]
    snaking: tuple[bool, ...]
    keys: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Events along each axis."""
        return tuple(len(axis.positions) for axis in self.axes)

    @property
    def events(self) -> int:
        """How many events there are to be."""
        return int(np.prod(self.shape))

    def places(self, seqs: Sequence[int]) -> NDArray[np.int64]:
        """Return where events lie, (k,), by their ``seq_num``: the last axis runs fastest."""
        order = np.asarray(seqs, np.int64) - 1
        labels, rest = [], self.events
        for size, snakes in zip(self.shape, self.snaking, strict=True):
            passes, rest = order // rest, rest // size
            at = order // rest % size
            labels.append(np.where(snakes & (passes % 2 == 1), size - 1 - at, at))
        return np.asarray(np.ravel_multi_index(tuple(labels), self.shape), np.int64)


class Positions:
    """The positions that were read, along each axis of a raster."""

    def __init__(self, raster: Raster) -> None:
        self._raster = raster
        self._sums = [np.zeros(size) for size in raster.shape]
        self._counts = [np.zeros(size) for size in raster.shape]

    def add(self, seqs: Sequence[int], points: Sequence[Point]) -> None:
        """Take the readings of some events."""
        labels = np.unravel_index(self._raster.places(seqs), self._raster.shape)
        for axis, key in enumerate(self._raster.keys):
            read = np.array([number(point, key) for point in points])
            known = np.isfinite(read)
            np.add.at(self._sums[axis], labels[axis][known], read[known])
            np.add.at(self._counts[axis], labels[axis][known], 1)

    def axes(self) -> tuple[ScanAxis, ...]:
        """Return the axes with the means of what was read, as announced where nothing was."""
        return tuple(
            ScanAxis(
                name=axis.name,
                unit=axis.unit,
                positions=np.where(count > 0, total / np.maximum(count, 1), axis.positions),
            )
            for axis, total, count in zip(self._raster.axes, self._sums, self._counts, strict=True)
        )


def raster_of(
    start: Mapping[str, Any], plan: Plan, stream: Readings, instrument: Instrument
) -> Raster | None:
    """Return the grid over which a plan moves, or None where it announces none.

    Parameters
    ----------
    start, plan
        The start document, and what it says of the plan.
    stream
        The stream of the spectra, whose descriptor has come.
    instrument
        What the profile says.
    """
    names = plan.axes or ()
    if any(map(is_energy, plan.moved)) or ("time",) in names:
        return None
    return _raster(start, plan, stream, instrument, kept=range(len(names)))


def repeats_of(
    start: Mapping[str, Any],
    plan: Plan,
    stream: Readings,
    instrument: Instrument,
    seqs: Sequence[int],
) -> tuple[Raster, NDArray[np.int64]] | None:
    """Return the grid over which a plan repeats runs over the energies, and where events lie there.

    None where the plan announces none, or fewer events than there are. Other parameters as for
    `raster_of`.

    Parameters
    ----------
    seqs
        The ``seq_num`` of the events, in any order of the axes.
    """
    names = plan.axes or ()
    kept = [k for k, one in enumerate(names) if not any(map(is_energy, one)) and one != ("time",)]
    whole = _raster(start, plan, stream, instrument, kept=range(len(names)))
    outer = _raster(start, plan, stream, instrument, kept=kept) if len(kept) < len(names) else None
    if whole is None or outer is None or max(seqs) > whole.events:
        return None
    at = np.unravel_index(whole.places(seqs), whole.shape)
    places = np.ravel_multi_index(tuple(at[k] for k in kept), outer.shape)
    return replace(outer, snaking=(False,) * len(kept)), np.asarray(places, np.int64)


def _raster(
    start: Mapping[str, Any],
    plan: Plan,
    stream: Readings,
    instrument: Instrument,
    *,
    kept: Sequence[int],
) -> Raster | None:
    """Return the grid of some axes of a plan."""
    names, shape = plan.axes, plan.shape or _line(start, plan)
    if not names or not shape or not kept:
        return None
    roles = data_keys_of(instrument.roles.model_copy(update={"context": ()}))
    known = axes_of(stream.descriptors[0], plan, declared=instrument.split.axes, roles=roles)
    found = [next((one for one in known if plan.axis_of(one.names) == at), None) for at in kept]
    snaking = _snaking(start, names)
    return Raster(
        axes=tuple(
            ScanAxis(
                name=one.key if one else names[at][0],
                unit=(stream.unit(one.key) or "") if one else "",
                positions=_announced(start, at, shape),
            )
            for at, one in zip(kept, found, strict=True)
        ),
        snaking=tuple(snaking[at] for at in kept),
        keys=tuple(_key(one) for one in found),
    )


def _snaking(start: Mapping[str, Any], names: Sequence[Sequence[str]]) -> list[bool]:
    """Tell for each axis whether it runs to and fro.

    ``grid_scan`` says so in ``snaking``; ``list_grid_scan`` repeats what it was asked, as text:
    ``snake_axes`` is all of them but the slowest, none, or a list of motors.
    """
    told = start.get("snaking")
    if isinstance(told, list | tuple) and len(told) == len(names):
        return [one is True for one in told]
    asked = str(start.get("snake_axes", False))
    if asked in ("True", "False"):
        return [asked == "True" and k > 0 for k in range(len(names))]
    return [any(f"name='{name}'" in asked for name in own) for own in names]


def _line(start: Mapping[str, Any], plan: Plan) -> tuple[int, ...] | None:
    """Return the shape of a scan along one line, which tells its points alone."""
    points = start.get("num_points")
    told = isinstance(points, int) and points > 0 and len(plan.axes or ()) == 1
    return (points,) if told and isinstance(points, int) else None


def _key(axis: Axis | None) -> str:
    return axis.key if axis is not None else ""


def _announced(start: Mapping[str, Any], at: int, shape: Sequence[int]) -> Array:
    """Return the positions of an axis, evenly between the ends that the plan announces."""
    try:
        lo, hi = start["extents"][at]
        positions = np.linspace(float(lo), float(hi), shape[at])
    except (LookupError, TypeError, ValueError):
        return np.arange(shape[at], dtype=np.float64)
    return positions if np.isfinite(positions).all() else np.arange(shape[at], dtype=np.float64)
