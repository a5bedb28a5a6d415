"""Clean an energy axis: finite, in eV, strictly increasing."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.normalise.rebinning import mean_of_groups, rebin
from nearedge.models.spectrum import Array, Reason, Rejected, freeze_arrays

#: Energies closer than this, eV, are one energy. Larch nudges such points apart by the same
#: amount, so on a cleaned axis it has nothing left to nudge.
TINY_ENERGY = 0.0005
MIN_POINTS = 10
MAX_SPAN = 20_000.0  # eV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CleanSpectrum:
    """Signals on a strictly increasing energy axis.

    Attributes
    ----------
    energy
        (n,) eV, strictly increasing.
    columns
        (n, k) finite; the signals that were cleaned along.
    dropped, merged
        How many rows held a NaN or an infinity, and how many were merged into another.
    rebinned, glitches
        How many rows were averaged into bins, and how many were left out as glitches.
    """

    energy: Array
    columns: Array
    dropped: int
    merged: int
    rebinned: int = 0
    glitches: int = 0

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader should know of the cleaning."""
        named = (
            ("dropped-rows", self.dropped),
            ("merged-energies", self.merged),
            ("rebinned", self.rebinned),
            ("glitches", self.glitches),
        )
        return tuple(name for name, count in named if count)


def clean(energy: Array, *columns: Array) -> CleanSpectrum | Rejected:
    """Drop rows that are not finite, sort by energy, average rows of one energy, rebin long scans.

    A descending scan is turned round, and points to which a scan stepped back are sorted in, as
    Larch sorts them. Rows closer than `TINY_ENERGY` become one row, their mean: unlike Larch's
    nudging, a point that was recorded twice then counts once. So neither order, nor repeated
    rows, nor rows with NaN change what comes out.

    Parameters
    ----------
    energy
        (n,) eV, any order.
    columns
        Each (n,), signals at those energies.
    """
    signals = [np.asarray(column, dtype=float) for column in (energy, *columns)]
    refusal = _misshapen(signals)
    if refusal is not None:
        return refusal
    rows = np.column_stack(signals)
    finite = np.isfinite(rows).all(axis=1)
    kept = rows[finite]
    if not len(kept):
        return Rejected(
            reason=Reason.NOT_FINITE,
            detail=f"all {len(rows)} rows hold NaN or infinity; expected finite energies and "
            "signals: check the detectors (a dead i0 or it gives infinite absorption)",
        )
    ordered = kept[np.lexsort(kept.T[::-1])]
    merged = _merge(ordered)
    binned = rebin(merged)
    return CleanSpectrum(
        energy=binned[:, 0],
        columns=binned[:, 1:],
        dropped=int((~finite).sum()),
        merged=len(ordered) - len(merged),
        rebinned=len(merged) - len(binned),
    )


def _misshapen(signals: list[Array]) -> Rejected | None:
    shapes = ", ".join(str(signal.shape) for signal in signals)
    if any(signal.ndim != 1 or signal.shape != signals[0].shape for signal in signals):
        return Rejected(
            reason=Reason.BAD_ENERGIES,
            detail=f"energies and signals have shapes {shapes}; expected one value of each signal "
            "for every energy: check the data keys in the profile",
        )
    if not signals[0].size:
        return Rejected(reason=Reason.NO_DATA, detail="no points; expected a scan over the edge")
    return None


def _merge(rows: Array) -> Array:
    """Average each group of rows whose energies follow each other closer than `TINY_ENERGY`."""
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-np.inf) > TINY_ENERGY)
    if len(starts) == len(rows):
        return rows
    return mean_of_groups(rows, starts)


def check_axis(energy: Array, *, expected: float, tolerance: float) -> Rejected | None:
    """Reject an axis that is too sparse or in another unit than eV.

    Parameters
    ----------
    energy
        (n,) strictly increasing.
    expected
        Table energy of the edge, eV.
    tolerance
        How far from it the edge may lie, eV.
    """
    if len(energy) < MIN_POINTS:
        return Rejected(
            reason=Reason.TOO_FEW_POINTS,
            detail=f"{len(energy)} usable energies; expected at least {MIN_POINTS}",
        )
    refusal = _wrong_unit(energy, expected, tolerance)
    if refusal is not None:
        return refusal
    span = energy[-1] - energy[0]
    if energy[0] < -MAX_SPAN or span > MAX_SPAN:
        return Rejected(
            reason=Reason.BAD_ENERGIES,
            detail=f"energies run from {energy[0]:.6g} to {energy[-1]:.6g}; expected at most "
            f"{MAX_SPAN:g} eV around one edge: check units and the energy's data key",
        )
    return None


def _wrong_unit(energy: Array, expected: float, tolerance: float) -> Rejected | None:
    lo, hi = energy[0], energy[-1]
    found = f"energies run from {lo:.6g} to {hi:.6g}"
    if covers(lo, hi, expected, tolerance):
        return None
    if lo < 0 < hi and covers(lo + expected, hi + expected, expected, tolerance):
        text = (
            f"{found}: those are relative to an edge; expected absolute energies near "
            f"{expected:.6g} eV: add what they are relative to with normalise.energy_shift"
        )
        return Rejected(reason=Reason.WRONG_UNITS, detail=text)
    if covers(lo * 1e3, hi * 1e3, expected, tolerance):
        text = f"{found}: that looks like keV; set units: keV in the instrument's profile"
        return Rejected(reason=Reason.WRONG_UNITS, detail=text)
    if covers(lo / 1e3, hi / 1e3, expected, tolerance):
        text = f"{found}, 1000 times too large: the instrument reports eV; set units: eV"
        return Rejected(reason=Reason.WRONG_UNITS, detail=text)
    if hi < 90.0 and expected > 1000.0:
        text = (
            f"{found}: those are no energies in eV near {expected:.6g}; are they angles, or k of "
            "chi(k)?"
        )
        return Rejected(reason=Reason.WRONG_UNITS, detail=text)
    return None


def covers(lo: float, hi: float, expected: float, tolerance: float) -> bool:
    """Tell whether the range from ``lo`` to ``hi`` comes within ``tolerance`` of ``expected``."""
    return lo <= expected + tolerance and hi >= expected - tolerance
