"""The signal of an instrument out of its columns: which intensity is divided by which."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.models import Array, Reason, Rejected

EV = {"eV": 1.0, "keV": 1000.0}
COUNTS_THERE = 25.0
"""Where the other elements count so much at a point, one that counts nothing is dead there: by
chance, that happens to one point in 10¹⁰."""
MOST_SILENT = 0.02
"""An element that is silent at a larger fraction of such points is left out."""

Flagged: TypeAlias = tuple[Array, set[str]]
BoolArray: TypeAlias = NDArray[np.bool_]


class RefusedError(Exception):
    """Ends a reduction; it holds the rejection that takes the spectrum's place."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason=reason, detail=detail)


class Columns:
    """The columns of a measurement, their darks subtracted."""

    def __init__(self, measurement: Measurement, instrument: Instrument) -> None:
        self._measurement = measurement
        self._instrument = instrument

    def raw(self, role: str) -> Array | None:
        """Return a column as it was measured, or None."""
        return self._measurement.columns.get(role)

    def get(self, role: str) -> Array | None:
        """Return a column without its dark, or None."""
        column, dark = self.raw(role), self._measurement.dark.get(role)
        if column is None or dark is None:
            return column
        # whole spectra one behind the other have the dark of one
        return column - (np.resize(dark, column.shape) if dark.ndim == column.ndim else dark)

    def need(self, role: str) -> Array:
        """Return a column without its dark.

        Raises
        ------
        RefusedError
            When it was not measured: nothing else takes its place.
        """
        column = self.get(role)
        if column is None:
            raise self._missing(role)
        return column

    def _missing(self, role: str) -> RefusedError:
        if self._measurement.problems:
            return RefusedError(Reason.UNREADABLE, self._measurement.problems[0])
        key = getattr(self._instrument.roles, role)
        if not key:
            wanted = f"the profile names no data key for it: set instrument.roles.{role}"
            return RefusedError(Reason.MISSING_SIGNAL, f"{role} is needed and {wanted}")
        named = key if isinstance(key, str) else ", ".join(map(str, key))
        found = ", ".join(self._measurement.keys) or "none"
        return RefusedError(
            Reason.MISSING_SIGNAL,
            f"found data keys {found}; expected {named} as {role} (instrument.roles.{role})",
        )


def signal_of(columns: Columns, instrument: Instrument) -> Flagged:
    """Return the signal that the profile asks for, and flags.

    Returns
    -------
    Array
        (n,) of ``transmission``: ln(i0/it). ``fluorescence``: the sum over elements of
        if_ · icr/ocr, over i0. ``reference``: ln(it/ir). ``mu`` and ``spectrum``: as they are.
        Some beamlines record negative currents: where both of a ratio are so throughout, the
        ratio counts. Points whose intensities are not positive are NaN.
    set of str
        ``dead-element: 3`` for the third fluorescence element, when it was left out.

    Raises
    ------
    RefusedError
        When a column that the signal needs was not measured. No other signal takes its place.
    """
    return _SIGNALS[instrument.signal](columns, instrument)


def energies_of(columns: Columns, instrument: Instrument, *, size: int) -> Array:
    """Return the energies (n,) of a signal of so many points, eV.

    Raises
    ------
    RefusedError
        When they were not measured, or are not as many as the points.
    """
    energy = columns.raw("energy")
    if energy is not None:
        if len(energy) != size:
            raise RefusedError(
                Reason.BAD_ENERGIES, f"found {len(energy)} energies for {size} points"
            )
        return energy * EV[instrument.units]
    if instrument.roles.offset is None and instrument.roles.dispersion is None:
        return columns.need("energy")
    return channel_energies(columns.need("offset"), columns.need("dispersion"), size)


def channel_energies(offset: Array, dispersion: Array, size: int) -> Array:
    """Return the energies (n,) of so many channels, eV."""
    return np.asarray(offset[0] + dispersion[0] * np.arange(size))


def log_ratio(above: Array, below: Array) -> Array:
    """Return ln(above/below), (n,); NaN where not both are light.

    Raises
    ------
    RefusedError
        When they have not the same length.
    """
    above, below = _oriented(above, below)
    return np.asarray(np.log(_positive(above) / _positive(below)))


def _transmission(columns: Columns, instrument: Instrument) -> Flagged:
    return log_ratio(columns.need("i0"), columns.need("it")), set()


def _reference(columns: Columns, instrument: Instrument) -> Flagged:
    return log_ratio(columns.need("it"), columns.need("ir")), set()


def _mu(columns: Columns, instrument: Instrument) -> Flagged:
    return columns.need("mu"), set()


def _spectrum(columns: Columns, instrument: Instrument) -> Flagged:
    return columns.need("spectrum"), set()


def _fluorescence(columns: Columns, instrument: Instrument) -> Flagged:
    kept = _kept_elements(columns.need("if_"), instrument)
    counts = columns.need("if_")[:, kept]
    if instrument.roles.icr or instrument.roles.ocr:
        counts = counts * _dead_time(columns, kept, shape=counts.shape)
    dead = _dead(counts)
    flags = {f"dead-element: {kept[k] + 1}" for k in np.flatnonzero(dead)}
    alive = counts[:, ~dead] if dead.any() else counts
    above, below = _oriented(alive.sum(axis=1), columns.need("i0"))
    return np.asarray(above / _positive(below)), flags


_SIGNALS: dict[str, Callable[[Columns, Instrument], Flagged]] = {
    "transmission": _transmission,
    "fluorescence": _fluorescence,
    "reference": _reference,
    "mu": _mu,
    "spectrum": _spectrum,
}


def _kept_elements(elements: Array, instrument: Instrument) -> list[int]:
    kept = [k for k in range(elements.shape[1]) if k not in instrument.omit_elements]
    if not kept:
        raise RefusedError(
            Reason.MISSING_SIGNAL,
            f"all {elements.shape[1]} elements are left out: shorten instrument.omit_elements",
        )
    return kept


def _dead_time(columns: Columns, kept: list[int], *, shape: tuple[int, ...]) -> Array:
    """Return what each element's counts are multiplied by: rate in over rate counted."""
    rates = icr, ocr = columns.need("icr"), columns.need("ocr")
    if any(rate.shape[1] <= max(kept) or len(rate) != shape[0] for rate in rates):
        raise RefusedError(
            Reason.MISSING_SIGNAL,
            f"found if_ {shape}, icr {icr.shape} and ocr {ocr.shape}: expected one of each per "
            "element",
        )
    return np.asarray(icr[:, kept] / _positive(ocr[:, kept]))


def _dead(counts: Array) -> BoolArray:
    """Tell which elements count nothing while others do, (elements,).

    Parameters
    ----------
    counts
        (n, elements), corrected for dead time: NaN where the rates are 0.
    """
    silent: BoolArray = ~(counts > 0)
    dead = np.asarray(silent.all(axis=0))
    if dead.all() or dead.size == 1:
        return np.zeros_like(dead)
    lit = np.where(silent, 0.0, counts)
    together = np.median(lit[:, ~dead], axis=1)
    # an element may see less than others do
    shares = [_share(element, together) for element in lit.T]
    there = np.outer(together, shares) >= COUNTS_THERE
    missed = (silent & there).sum(axis=0)
    most = np.maximum(2.0, MOST_SILENT * there.sum(axis=0))
    return np.asarray(dead | (missed > most))


def _share(element: Array, together: Array) -> float:
    both = (element > 0) & (together > 0)
    return float(np.median(element[both] / together[both])) if both.any() else 0.0


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


def _oriented(above: Array, below: Array) -> tuple[Array, Array]:
    """Return the two of a ratio, turned round where both are negative throughout."""
    _refuse_unequal(above, below)
    return (-above, -below) if _is_negative(above) and _is_negative(below) else (above, below)


def _is_negative(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.median(finite) < 0)


def _refuse_unequal(one: Array, other: Array) -> None:
    if len(one) != len(other) and 1 not in (len(one), len(other)):
        raise RefusedError(
            Reason.MISSING_SIGNAL, f"found columns of {len(one)} and {len(other)} points"
        )
