"""The signal of one reading of a map, in the shape of its arrays."""

from collections.abc import Mapping, Sequence

import numpy as np

from nearedge.callbacks.columns import Point, in_line
from nearedge.callbacks.instrument import EelsSettings, Instrument
from nearedge.models import Array

ROLES = {
    "spectrum": ("spectrum",),
    "mu": ("mu",),
    "transmission": ("i0", "it"),
    "reference": ("it", "ir"),
    "fluorescence": ("i0", "if_"),
}
"""The roles that make each signal; the last has a number for each pixel."""

Dark = Mapping[str, np.ndarray]


class ImageError(ValueError):
    """A run that holds no map, or one that cannot be read."""


def signal(point: Point, instrument: Instrument, *, dark: Dark | None = None) -> Array:
    """Return the signal of one reading, in the shape of its arrays.

    As `nearedge.callbacks.signal.signal_of` makes it of a single spectrum, but for fluorescence
    elements that die during a run: they are not looked for.

    Parameters
    ----------
    point, instrument
        The reading, and what plays which role.
    dark
        For each role what a dark run has measured, to be subtracted where its shape fits.

    Raises
    ------
    ImageError
        If the reading lacks a part of it, or these do not fit each other.
    """
    told = {
        role: _without(values, (dark or {}).get(role)) for role, values in _read(point, instrument)
    }
    parts = tuple(told[role] for role in ROLES[instrument.signal] if role != "if_")
    try:
        if instrument.signal == "fluorescence":
            (i0,) = parts
            above, below = _oriented(_fluorescence(point, instrument, like=i0, dark=dark), i0)
            return np.asarray(above / _positive(below))
        if len(parts) == 1:
            return np.asarray(parts[0], np.float64)
        above, below = _oriented(*parts)
        return np.asarray(np.log(_positive(above) / _positive(below)))
    except ValueError as error:
        shapes = ", ".join(f"{role} {values.shape}" for role, values in told.items())
        raise ImageError(
            f"the arrays of an event do not fit each other: {shapes}: {error}"
        ) from error


def signal_flags(point: Point, instrument: Instrument) -> tuple[str, ...]:
    """Return what is to be known of how the signal of all readings like one is made."""
    flags: set[str] = set()
    if instrument.signal == "fluorescence":
        in_line([point], instrument.roles, flags)
    return tuple(sorted(flags))


def low_loss(
    point: Point, instrument: Instrument, inner: tuple[int, ...], *, dark: Dark | None = None
) -> tuple[Array, Array | None] | None:
    """Return the low loss of each pixel of a reading, (inner…, m), and its energies (m,).

    None where there is none, or none is used; energies are None where nothing tells them. A low
    loss that a reading has for all of its pixels is that of each.

    Raises
    ------
    ImageError
        If there are others than pixels.
    """
    settings, roles = instrument.normalise, instrument.roles
    used = isinstance(settings, EelsSettings) and (settings.align_zero_loss or settings.deconvolve)
    if not used or (roles.low_loss or "") not in point.values:
        return None
    read = _without(point.values[roles.low_loss or ""], (dark or {}).get("low_loss"))
    found = np.squeeze(read)
    if found.ndim != 1 and found.shape[:-1] != inner:
        raise ImageError(
            f"an event holds low losses of {found.shape[:-1]} and core losses of {inner}: "
            "expected one for each, or one for all (instrument.roles.low_loss)"
        )
    offset, step = (_number(point, one) for one in (roles.low_loss_offset, roles.dispersion))
    axis = np.asarray(offset + step * np.arange(found.shape[-1]))
    whole = np.broadcast_to(found, (*inner, found.shape[-1]))
    return whole, axis if np.isfinite(axis).all() else None


def _number(point: Point, told: float | str | None) -> float:
    if isinstance(told, float):
        return told
    value = point.values.get(told or "")
    return float(np.mean(value)) if value is not None and value.size else np.nan


def readings_of(point: Point, instrument: Instrument) -> dict[str, np.ndarray]:
    """Return what a reading has for the roles that may have a dark; errors as for `signal`."""
    read = dict(_read(point, instrument))
    if instrument.signal == "fluorescence":
        read["if_"] = np.stack(_elements(point, instrument, like=read["i0"]), axis=-1)
    if (key := instrument.roles.low_loss or "") in point.values:
        read["low_loss"] = point.values[key]
    return read


def _read(point: Point, instrument: Instrument) -> list[tuple[str, np.ndarray]]:
    """Return the readings of the roles of one data key each."""
    roles = [role for role in ROLES[instrument.signal] if role != "if_"]
    return [(role, _one(point, role, getattr(instrument.roles, role))) for role in roles]


def _one(point: Point, role: str, key: str | None) -> np.ndarray:
    if not key or key not in point.values:
        raise ImageError(
            f"an event lacks {role}: expected the data key {key or 'that you name in'} "
            f"(instrument.roles.{role})"
        )
    return point.values[key]


def _without(values: np.ndarray, dark: np.ndarray | None) -> np.ndarray:
    """Return readings without a dark, a number or one with the shape of their last axes."""
    if dark is None or dark.shape != values.shape[values.ndim - dark.ndim :]:
        return values
    return np.asarray(values - dark)


def _fluorescence(
    point: Point, instrument: Instrument, *, like: np.ndarray, dark: Dark | None
) -> Array:
    """Return the counts of all elements together, corrected for their dead time."""
    roles = instrument.roles
    counts = _elements(point, instrument, like=like)
    offsets = (dark or {}).get("if_")
    if offsets is not None and offsets.shape[-1:] == (len(counts),):
        counts = [_without(one, offsets[..., k]) for k, one in enumerate(counts)]
    kept = [k for k in range(len(counts)) if k not in instrument.omit_elements]
    if not kept:
        raise ImageError(
            f"all {len(counts)} elements are left out: shorten instrument.omit_elements"
        )
    if roles.icr or roles.ocr:
        icr, ocr = (_rates(point, name, keys, len(counts)) for name, keys in _rate_keys(instrument))
        counts = [one * a / _positive(b) for one, a, b in zip(counts, icr, ocr, strict=True)]
    # an element that counted nothing has no rates, and adds nothing
    lit = [np.zeros_like(one) if not (one > 0).any() else one for one in (counts[k] for k in kept)]
    return np.asarray(np.sum(np.broadcast_arrays(*lit), axis=0), np.float64)


def _rate_keys(instrument: Instrument) -> list[tuple[str, Sequence[str]]]:
    return [("icr", instrument.roles.icr), ("ocr", instrument.roles.ocr)]


def _rates(point: Point, role: str, keys: Sequence[str], count: int) -> list[np.ndarray]:
    """Return the rates of each element."""
    found = [_one(point, role, key) for key in keys or ("",)]
    if len(found) == 1 and count > 1 and np.squeeze(found[0]).shape[:1] == (count,):
        found = list(np.squeeze(found[0]))
    if len(found) != count:
        raise ImageError(
            f"found {role} of {len(found)} elements and counts of {count}: name one data key for "
            f"each element (instrument.roles.{role})"
        )
    return [np.squeeze(one) for one in found]


def _elements(point: Point, instrument: Instrument, *, like: np.ndarray) -> list[np.ndarray]:
    """Return the counts of each element, in the shape of i0 where that has one."""
    roles = instrument.roles
    (summed,) = in_line([point], roles, set())
    found = [np.squeeze(_one(summed, "if_", key)) for key in roles.if_ or ("",)]
    if len(found) > 1:
        return found
    only, i0 = found[0], np.squeeze(like)
    if i0.ndim and only.ndim == i0.ndim + 1 and only.shape[1:] == i0.shape:
        return list(only)
    energy = point.values.get(roles.energy or "")
    most = 2 if energy is not None and energy.size == 1 else 1
    if not i0.ndim and only.ndim > most:
        raise ImageError(
            f"found one data key with counts of {only.shape} and one number for i0: it is not "
            "known whether its first axis is that of the detector's elements; name one data key "
            "for each element (instrument.roles.if_)"
        )
    return [only]


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _oriented(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two of a ratio, turned round where both are negative throughout."""
    return (-above, -below) if _is_negative(above) and _is_negative(below) else (above, below)


def _is_negative(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.median(finite) < 0)
