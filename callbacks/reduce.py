"""From the columns of a measurement to a spectrum: absorption of an edge, not yet normalised."""

import numpy as np

from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.recognise import Kind, recognise
from nearedge.callbacks.signal import (
    Columns,
    RefusedError,
    channel_energies,
    energies_of,
    log_ratio,
    signal_of,
)
from nearedge.models import Array, Reason, Rejected, Spectrum

MOST_BAD = 0.5
"""With a larger fraction of its points bad, a spectrum is rejected."""
PLATEAU = 0.05
"""With a larger fraction of its points at exactly the greatest reading, it may be saturated."""


def reduce(measurement: Measurement, instrument: Instrument) -> Spectrum | Rejected:
    """Return the absorption that a measurement shows, or why it shows none.

    Parameters
    ----------
    measurement
        Columns by role, its darks not yet subtracted.
    instrument
        Which roles make the signal, as in `nearedge.callbacks.signal.signal_of`.

    Returns
    -------
    Spectrum
        Energies in eV. Points whose intensities are not positive are NaN and flagged
        ``bad-points``; a scan with ``ir`` carries ln(it/ir) as its reference.
    Rejected
        If the run is no sample, roles were not measured, files are unreadable, or more than half of
        the points are bad.
    """
    try:
        return _reduce(measurement, instrument)
    except RefusedError as refusal:
        return refusal.rejected


def _reduce(measurement: Measurement, instrument: Instrument) -> Spectrum:
    _refuse_unless_sample(measurement, instrument)
    columns = Columns(measurement, instrument)
    signal, dead = signal_of(columns, instrument)
    energy = energies_of(columns, instrument, size=len(signal))
    flags = set(measurement.flags) | dead | _saturation(columns, instrument)
    flags |= _bad(signal, instrument)
    _refuse_unlike(measurement, instrument)
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


def _refuse_unless_sample(measurement: Measurement, instrument: Instrument) -> None:
    kind = recognise(measurement.run.start, instrument.recognise)
    if kind is not Kind.SAMPLE:
        raise RefusedError(Reason.NOT_A_SAMPLE, f"a {kind.value} run, told from its metadata")
    if not measurement.columns and "empty" in measurement.flags and not measurement.problems:
        known = {key for key in _named(instrument.roles) if key in measurement.keys}
        if known:
            raise RefusedError(Reason.NO_DATA, "the run ended without a single reading")


def _refuse_unlike(measurement: Measurement, instrument: Instrument) -> None:
    if measurement.unlike and instrument.split.unlike == "reject":
        raise RefusedError(Reason.UNLIKE, measurement.unlike)


def _named(roles: Roles) -> set[str]:
    values = roles.model_dump(exclude={"context"}).values()
    flat = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return {value for value in flat if isinstance(value, str)}


def _low_loss_energy(columns: Columns, size: int) -> Array | None:
    offset, dispersion = columns.raw("low_loss_offset"), columns.raw("dispersion")
    if offset is None or dispersion is None:
        return None
    return channel_energies(offset, dispersion, size)


def _reference(columns: Columns, instrument: Instrument, *, size: int) -> Array | None:
    it, ir = columns.get("it"), columns.get("ir")
    if instrument.signal == "reference" or it is None or ir is None or len(it) != size:
        return None
    return log_ratio(it, ir)


def _bad(signal: Array, instrument: Instrument) -> set[str]:
    bad = int(np.count_nonzero(~np.isfinite(signal)))
    if bad > MOST_BAD * len(signal):
        raise RefusedError(
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


def _saturation(columns: Columns, instrument: Instrument) -> set[str]:
    found = [columns.raw(role) for role in _DETECTORS[instrument.signal]]
    # of negative currents the size counts
    readings = [np.abs(column) for column in found if column is not None]
    if instrument.saturation is None:
        return {"maybe-saturated"} if any(map(_has_plateau, readings)) else set()
    for column in readings:
        above = int(np.count_nonzero(column >= instrument.saturation))
        if above:
            raise RefusedError(
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
