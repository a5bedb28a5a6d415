"""From the columns of a measurement to a spectrum: absorption of an edge, not yet normalised."""

from collections.abc import Callable

import numpy as np

from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.recognise import Kind, recognise
from nearedge.models import Array, Reason, Rejected, Spectrum

EV = {"eV": 1.0, "keV": 1000.0}
MOST_BAD = 0.5
"""With a larger fraction of its points bad, a spectrum is rejected."""
PLATEAU = 0.05
"""With a larger fraction of its points at exactly the greatest reading, it may be saturated."""


class _RefusedError(Exception):
    """Ends a reduction; never leaves this module."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejected = Rejected(reason=reason, detail=detail)


def reduce(measurement: Measurement, instrument: Instrument) -> Spectrum | Rejected:
    """Return the absorption that a measurement shows, or why it shows none.

    Parameters
    ----------
    measurement
        Columns by role, its darks not yet subtracted.
    instrument
        Which roles make the signal. ``transmission``: ln(i0/it). ``fluorescence``: the sum over
        elements of if_ · icr/ocr, over i0. ``reference``: ln(it/ir). ``mu`` and ``spectrum``: as
        they are.

    Returns
    -------
    Spectrum
        Energies in eV. Points whose intensities are not positive are NaN and flagged
        ``bad-points``; a scan with ``ir`` carries ln(it/ir) as its reference.
    Rejected
        For a run that is no sample, for roles that were not measured, for unreadable files, and
        where more than half of the points are bad.
    """
    try:
        return _reduce(measurement, instrument)
    except _RefusedError as refusal:
        return refusal.rejected


def _reduce(measurement: Measurement, instrument: Instrument) -> Spectrum:
    _refuse_unless_sample(measurement, instrument)
    columns = _Columns(measurement, instrument)
    signal = _SIGNALS[instrument.signal](columns, instrument)
    energy = _energy(columns, instrument, size=len(signal))
    flags = set(measurement.flags) | _saturation(columns, instrument) | _bad(signal, instrument)
    if measurement.dark_runs:
        flags.add("dark-subtracted")
    low_loss = columns.get("low_loss")
    low_loss_energy = None if low_loss is None else _low_loss_energy(columns, len(low_loss))
    if low_loss_energy is None and low_loss is not None:
        flags.add("low-loss-without-axis")
    return Spectrum(
        energy=energy,
        mu=signal,
        technique=instrument.technique,
        absorber=instrument.absorber,
        edge=instrument.edge,
        reference=_reference(columns, instrument, size=len(signal)),
        low_loss_energy=low_loss_energy,
        low_loss=None if low_loss_energy is None else low_loss,
        complete=measurement.complete,
        flags=tuple(sorted(flags)),
    )


class _Columns:
    """The columns of a measurement, their darks subtracted."""

    def __init__(self, measurement: Measurement, instrument: Instrument) -> None:
        self._measurement = measurement
        self._instrument = instrument

    def raw(self, role: str) -> Array | None:
        return self._measurement.columns.get(role)

    def get(self, role: str) -> Array | None:
        column, dark = self.raw(role), self._measurement.dark.get(role)
        return column if column is None or dark is None else column - dark

    def need(self, role: str) -> Array:
        column = self.get(role)
        if column is None:
            raise self._missing(role)
        return column

    def _missing(self, role: str) -> _RefusedError:
        if self._measurement.problems:
            return _RefusedError(Reason.UNREADABLE, self._measurement.problems[0])
        key = getattr(self._instrument.roles, role)
        if not key:
            wanted = f"the profile names no data key for it: set instrument.roles.{role}"
            return _RefusedError(Reason.MISSING_SIGNAL, f"{role} is needed and {wanted}")
        named = key if isinstance(key, str) else ", ".join(map(str, key))
        found = ", ".join(self._measurement.keys) or "none"
        return _RefusedError(
            Reason.MISSING_SIGNAL,
            f"found data keys {found}; expected {named} as {role} (instrument.roles.{role})",
        )


def _refuse_unless_sample(measurement: Measurement, instrument: Instrument) -> None:
    kind = recognise(measurement.run.start, instrument.recognise)
    if kind is not Kind.SAMPLE:
        raise _RefusedError(Reason.NOT_A_SAMPLE, f"a {kind.value} run, told from its metadata")
    if not measurement.columns and "empty" in measurement.flags and not measurement.problems:
        known = {key for key in _named(instrument.roles) if key in measurement.keys}
        if known:
            raise _RefusedError(Reason.NO_DATA, "the run ended without a single reading")


def _named(roles: Roles) -> set[str]:
    values = roles.model_dump(exclude={"context"}).values()
    flat = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return {value for value in flat if isinstance(value, str)}


def _transmission(columns: _Columns, instrument: Instrument) -> Array:
    return _log_ratio(columns.need("i0"), columns.need("it"))


def _reference_signal(columns: _Columns, instrument: Instrument) -> Array:
    return _log_ratio(columns.need("it"), columns.need("ir"))


def _mu(columns: _Columns, instrument: Instrument) -> Array:
    return columns.need("mu")


def _spectrum(columns: _Columns, instrument: Instrument) -> Array:
    return columns.need("spectrum")


def _fluorescence(columns: _Columns, instrument: Instrument) -> Array:
    counts = _kept(columns.need("if_"), instrument)
    if instrument.roles.icr or instrument.roles.ocr:
        counts = counts * _dead_time(columns, instrument, shape=counts.shape)
    return _over(counts.sum(axis=1), columns.need("i0"))


_SIGNALS: dict[str, Callable[[_Columns, Instrument], Array]] = {
    "transmission": _transmission,
    "fluorescence": _fluorescence,
    "reference": _reference_signal,
    "mu": _mu,
    "spectrum": _spectrum,
}


def _kept(elements: Array, instrument: Instrument) -> Array:
    keep = [k for k in range(elements.shape[1]) if k not in instrument.omit_elements]
    if not keep:
        raise _RefusedError(
            Reason.MISSING_SIGNAL,
            f"all {elements.shape[1]} elements are left out: shorten instrument.omit_elements",
        )
    return elements[:, keep]


def _dead_time(columns: _Columns, instrument: Instrument, *, shape: tuple[int, ...]) -> Array:
    """Return what each element's counts are multiplied by: rate in over rate counted."""
    icr, ocr = (_kept(columns.need(role), instrument) for role in ("icr", "ocr"))
    if not icr.shape == ocr.shape == shape:
        raise _RefusedError(
            Reason.MISSING_SIGNAL,
            f"found if_ {shape}, icr {icr.shape} and ocr {ocr.shape}: expected one of each per "
            "element",
        )
    return _over(icr, ocr)


def _positive(values: Array) -> Array:
    return np.where(values > 0, values, np.nan)


def _over(above: Array, below: Array) -> Array:
    _refuse_unequal(above, below)
    return np.asarray(above / _positive(below))


def _log_ratio(above: Array, below: Array) -> Array:
    _refuse_unequal(above, below)
    return np.asarray(np.log(_positive(above) / _positive(below)))


def _refuse_unequal(one: Array, other: Array) -> None:
    if len(one) != len(other) and 1 not in (len(one), len(other)):
        raise _RefusedError(
            Reason.MISSING_SIGNAL, f"found columns of {len(one)} and {len(other)} points"
        )


def _energy(columns: _Columns, instrument: Instrument, *, size: int) -> Array:
    energy = columns.raw("energy")
    if energy is not None:
        if len(energy) != size:
            raise _RefusedError(
                Reason.BAD_ENERGIES, f"found {len(energy)} energies for {size} points"
            )
        return energy * EV[instrument.units]
    if instrument.roles.offset is None and instrument.roles.dispersion is None:
        return columns.need("energy")
    return _axis(columns.need("offset"), columns.need("dispersion"), size)


def _low_loss_energy(columns: _Columns, size: int) -> Array | None:
    offset, dispersion = columns.raw("low_loss_offset"), columns.raw("dispersion")
    if offset is None or dispersion is None:
        return None
    return _axis(offset, dispersion, size)


def _axis(offset: Array, dispersion: Array, size: int) -> Array:
    return np.asarray(offset[0] + dispersion[0] * np.arange(size))


def _reference(columns: _Columns, instrument: Instrument, *, size: int) -> Array | None:
    it, ir = columns.get("it"), columns.get("ir")
    if instrument.signal == "reference" or it is None or ir is None or len(it) != size:
        return None
    return _log_ratio(it, ir)


def _bad(signal: Array, instrument: Instrument) -> set[str]:
    bad = int(np.count_nonzero(~np.isfinite(signal)))
    if bad > MOST_BAD * len(signal):
        raise _RefusedError(
            Reason.NOT_FINITE,
            f"found {bad} of {len(signal)} points without a positive intensity: expected light on "
            f"the detectors of {instrument.signal} and no more dark than signal",
        )
    return {"bad-points"} if bad else set()


_DETECTORS = {
    "transmission": ("i0", "it"),
    "fluorescence": ("i0", "if_"),
    "reference": ("it", "ir"),
    "mu": (),
    "spectrum": ("spectrum",),
}


def _saturation(columns: _Columns, instrument: Instrument) -> set[str]:
    found = [columns.raw(role) for role in _DETECTORS[instrument.signal]]
    readings = [column for column in found if column is not None]
    if instrument.saturation is None:
        return {"maybe-saturated"} if any(map(_has_plateau, readings)) else set()
    for column in readings:
        above = int(np.count_nonzero(column >= instrument.saturation))
        if above:
            raise _RefusedError(
                Reason.SATURATED,
                f"found {above} of {column.size} readings at or above {instrument.saturation:g} "
                "(instrument.saturation): expected all below",
            )
    return set()


def _has_plateau(column: Array) -> bool:
    """Tell whether a reading stays at its greatest value, as a clipped one does.

    Noise keeps large counts from repeating; what never changes at all is a constant, not a clip.
    """
    top = np.nanmax(column, initial=0.0)
    at_top = np.count_nonzero(column == top)
    return bool(top > 1000 and max(4, PLATEAU * column.size) < at_top < column.size)
