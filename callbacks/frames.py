"""The spectra in the readings of a map: signal, energies and the axes of their arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.columns import Point
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.pixel_signal import ROLES, Dark, ImageError, signal
from nearedge.callbacks.plan import is_energy
from nearedge.callbacks.sweeps import sweeps_of
from nearedge.models import Array
from nearedge.models.maps.image import ScanAxis

LEAST = 10
"""Energies of a spectrum, at least."""
ALIKE = 0.5
"""Part of a step by which two axes of energies may differ."""


def number(point: Point, key: str) -> float:
    """Return the mean of one key of a reading; NaN where it has none."""
    value = point.values.get(key)
    return float(np.mean(value)) if value is not None and value.size else np.nan


def is_stack(points: Sequence[Point], instrument: Instrument) -> bool:
    """Tell whether each event is an image at an energy of its own."""
    key = instrument.roles.energy or ""
    return len(points) > 1 and all(key in p.values and p.values[key].size == 1 for p in points)


def along(values: Array, count: int) -> Array:
    """Return the signal of a reading with its energies last, without axes of one.

    Raises
    ------
    ImageError
        If no axis is so long.
    """
    squeezed = np.squeeze(values)
    fits = [k for k, size in enumerate(squeezed.shape) if size == count]
    if not fits:
        raise ImageError(f"events of {values.shape} hold no axis of {count} energies")
    return np.moveaxis(squeezed, fits[-1], -1)


def energies(points: Sequence[Point], instrument: Instrument, *, size: int) -> Array:
    """Return the energies of the first reading, in the instrument's unit.

    Parameters
    ----------
    points, instrument
        Readings of whole spectra, and what plays which role.
    size
        Channels, where offset and dispersion give the energies.

    Raises
    ------
    ImageError
        If nothing tells them.
    """
    key = instrument.roles.energy or ""
    held = [np.squeeze(p.values[key]) for p in points if key in p.values]
    if held and held[0].ndim == 1 and held[0].size >= LEAST:
        return np.asarray(held[0], np.float64)
    told = (instrument.roles.offset, instrument.roles.dispersion)
    offset, dispersion = (
        one if isinstance(one, float) else number(points[0], one or "") for one in told
    )
    if not np.isfinite(offset) or not np.isfinite(dispersion) or size < LEAST:
        raise ImageError(
            f"no axis of at least {LEAST} energies: name the data key that holds it "
            "(instrument.roles.energy), or offset and dispersion"
        )
    return np.asarray(offset + dispersion * np.arange(size))


def turned(axis: Array, first: Array) -> bool | None:
    """Tell whether energies run the other way round than the first; None: they are others."""
    close = ALIKE * float(np.median(np.abs(np.diff(first))))
    same, other = (
        axis.shape == first.shape and np.abs(one - first).max() <= close
        for one in (axis, axis[::-1])
    )
    return None if not same and not other else bool(other and not same)


def inner_axes(
    descriptor: Descriptor, instrument: Instrument, shape: Sequence[int], *, first: int = 0
) -> tuple[ScanAxis, ...]:
    """Return the axes of the arrays of an event, named as their descriptor names them.

    Parameters
    ----------
    descriptor, instrument
        Where the names are, and which data key holds the signal.
    shape
        Of the arrays, energies left out.
    first
        The number of the first axis, for those without a name.
    """
    keys = getattr(instrument.roles, ROLES[instrument.signal][-1])
    key = keys if isinstance(keys, str) else next(iter(keys or ()), "")
    dims = descriptor.data_keys.get(key, {}).get("dims")
    told = [d for d in dims or () if isinstance(d, str) and not is_energy(d)]
    names = told if len(told) == len(shape) else [f"axis {first + k}" for k in range(len(shape))]
    return tuple(
        ScanAxis(name=name, unit="", positions=np.arange(size, dtype=np.float64))
        for name, size in zip(names, shape, strict=True)
    )


def cube(points: Sequence[Point], instrument: Instrument) -> tuple[Array, NDArray[np.floating]]:
    """Return energies (n,), and the signal of all events, (events, …, n) or of a stack (…, n).

    Raises
    ------
    ImageError
        If the readings are no map on one axis of energies.
    """
    if is_stack(points, instrument):
        found = stacks(points, instrument)
        if len(found) > 1:
            raise ImageError(
                f"the run holds {len(found)} stacks one after the other: map it with "
                "instrument.finish.when: pixel, live or by `nearedge replay`"
            )
        return found[0].energy, found[0].data
    signals = _alike([signal(point, instrument) for point in points])
    energy = energies(points, instrument, size=signals[0].shape[-1] if signals[0].ndim else 0)
    whole = [along(one, len(energy)) for one in signals]
    flipped = _flipped(points, instrument)
    data = [one[..., ::-1] if turn else one for one, turn in zip(whole, flipped, strict=True)]
    return energy, np.stack(data)


def _alike(signals: list[Array]) -> list[Array]:
    shapes = {one.shape for one in signals}
    if len(shapes) > 1:
        raise ImageError(f"the events hold arrays of {sorted(shapes)}; expected one shape")
    return signals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Images, each at an energy of its own, of one run over the energies.

    Attributes
    ----------
    rows
        Which readings made it.
    energy, data
        (n,) in the instrument's unit, and (…, n).
    """

    rows: NDArray[np.intp]
    energy: Array
    data: NDArray[np.floating]


def stacks(
    points: Sequence[Point],
    instrument: Instrument,
    *,
    dark: Dark | None = None,
    labels: NDArray[np.int64] | None = None,
) -> list[Stack]:
    """Return the stacks of images: one for each time that the readings ran over the energies.

    Parameters
    ----------
    points, instrument, dark
        As for `nearedge.callbacks.pixel_signal.signal`.
    labels
        (k,) numbers of the readings, alike for those of one stack; None: the energies tell.

    Raises
    ------
    ImageError
        If the readings hold no images of one shape.
    """
    signals = _alike([np.squeeze(signal(point, instrument, dark=dark)) for point in points])
    if signals[0].size < 2:
        raise ImageError("each event holds one number: a step scan of one spectrum, no map")
    energy = np.array([number(point, instrument.roles.energy or "") for point in points])
    return [
        Stack(rows=rows, energy=energy[rows], data=np.stack([signals[k] for k in rows], axis=-1))
        for rows in (sweeps_of(energy) if labels is None else _groups(labels))
    ]


def _groups(labels: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return which readings have each number, those of the least first."""
    return [np.flatnonzero(labels == one) for one in np.unique(labels)]


def _flipped(points: Sequence[Point], instrument: Instrument) -> list[bool]:
    """Tell which events ran over the energies the other way round than the first."""
    key = instrument.roles.energy or ""
    axes = [np.squeeze(point.values[key]) for point in points if key in point.values]
    if len(axes) < len(points):
        return [False] * len(points)
    found = [turned(axis, axes[0]) for axis in axes]
    if None in found:
        raise ImageError(
            "the events have energies of their own: they are no map on one axis; make each a "
            "spectrum (instrument.finish.when: event) and replay the run"
        )
    return [bool(one) for one in found]
