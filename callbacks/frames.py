"""The spectra in the readings of a map: signal, energies and the axes of their arrays."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.columns import Point
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.plan import is_energy
from nearedge.models import Array
from nearedge.models.maps.image import ScanAxis

ROLES = {"spectrum": ("spectrum",), "mu": ("mu",), "transmission": ("i0", "it")}
"""Signals that pixels may have, and the roles that make them."""
LEAST = 10
"""Energies of a spectrum, at least."""
ALIKE = 0.5
"""Part of a step by which two axes of energies may differ."""


class ImageError(ValueError):
    """A run that holds no map, or one that cannot be read."""


def number(point: Point, key: str) -> float:
    """Return the mean of one key of a reading; NaN where it has none."""
    value = point.values.get(key)
    return float(np.mean(value)) if value is not None and value.size else np.nan


def is_stack(points: Sequence[Point], instrument: Instrument) -> bool:
    """Tell whether each event is an image at an energy of its own."""
    key = instrument.roles.energy or ""
    return len(points) > 1 and all(key in p.values and p.values[key].size == 1 for p in points)


def signal(
    point: Point, instrument: Instrument, *, dark: Mapping[str, np.ndarray] | None = None
) -> Array:
    """Return the signal of one reading, in the shape of its arrays.

    Parameters
    ----------
    point, instrument
        The reading, and what plays which role.
    dark
        For each role what a dark run has measured, to be subtracted where its shape fits.

    Raises
    ------
    ImageError
        If the signal is none that a map may have, or the reading lacks it.
    """
    if instrument.signal not in ROLES:
        raise ImageError(
            f"the signal {instrument.signal} of a map is not supported: expected one of "
            f"{', '.join(ROLES)} (instrument.signal)"
        )
    found = []
    for role in ROLES[instrument.signal]:
        key = getattr(instrument.roles, role)
        if not key or key not in point.values:
            raise ImageError(
                f"an event lacks {role}: expected the data key {key or 'that you name in'} "
                f"(instrument.roles.{role})"
            )
        found.append(_without(point.values[key], (dark or {}).get(role)))
    if len(found) == 1:
        return np.asarray(found[0], np.float64)
    above, below = (np.where(part > 0, part, np.nan) for part in found)
    return np.asarray(np.log(above / below))


def _without(values: np.ndarray, dark: np.ndarray | None) -> np.ndarray:
    """Return readings without a dark, a number or one with the shape of their last axes."""
    if dark is None or dark.shape != values.shape[values.ndim - dark.ndim :]:
        return values
    return np.asarray(values - dark)


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
    key = getattr(instrument.roles, ROLES[instrument.signal][-1])
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
    signals = [signal(point, instrument) for point in points]
    shapes = {one.shape for one in signals}
    if len(shapes) > 1:
        raise ImageError(f"the events hold arrays of {sorted(shapes)}; expected one shape")
    if is_stack(points, instrument):
        energy = np.array([number(point, instrument.roles.energy or "") for point in points])
        if signals[0].size < 2:
            raise ImageError("each event holds one number: a step scan of one spectrum, no map")
        return energy, np.moveaxis(np.stack([np.squeeze(s) for s in signals]), 0, -1)
    energy = energies(points, instrument, size=signals[0].shape[-1] if signals[0].ndim else 0)
    whole = [along(one, len(energy)) for one in signals]
    flipped = _flipped(points, instrument)
    data = [one[..., ::-1] if turn else one for one, turn in zip(whole, flipped, strict=True)]
    return energy, np.stack(data)


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
