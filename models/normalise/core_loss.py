"""A core-loss edge on its background, and taken off it."""

from dataclasses import dataclass

from nearedge.models.normalise import evidence
from nearedge.models.normalise.background import MIN_WIDTH, PowerLaw, fit_background
from nearedge.models.normalise.e0 import find_threshold
from nearedge.models.normalise.evidence import Expected
from nearedge.models.normalise.windows import FOOT
from nearedge.models.spectrum import Array, Rejected, freeze_arrays

CLEAR = -20.0  # eV; the table may place an edge this far above its real onset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoreLoss:
    """Core-loss counts without their background.

    Attributes
    ----------
    counts
        (n,) what is left of the measured counts.
    background, window
        What was subtracted, and the eV between which it was fitted.
    """

    counts: Array
    background: PowerLaw
    window: tuple[float, float]

    def __post_init__(self) -> None:
        freeze_arrays(self)


def subtract_background(
    energy: Array,
    counts: Array,
    expected: Expected,
    *,
    window: tuple[float, float],
    e0: float | None,
) -> CoreLoss | Rejected:
    """Subtract the background, its window ended before the onset wherever that really is.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    counts
        (n,) as measured.
    expected
        The edge that should be there.
    window
        The window of the fit, eV from the edge's table energy.
    e0
        Onset, eV; None: found.
    """
    onset = _onset(energy, counts, expected, window) if e0 is None else e0
    refusal = evidence.check_cover(energy, onset, expected)
    if refusal is not None:
        return refusal
    first = expected.energy + window[0]
    last = min(expected.energy, onset) + window[1]
    measured = ((energy >= first) & (energy <= last)).any()
    if not measured or last - max(first, energy[0]) < MIN_WIDTH:  # the data begin too late for it
        first, last = energy[0], onset - FOOT * (onset - energy[0])
    first, last = float(max(first, energy[0])), float(last)
    background = fit_background(energy, counts, window=(first, last))
    return CoreLoss(counts=counts - background(energy), background=background, window=(first, last))


def _onset(energy: Array, counts: Array, expected: Expected, window: tuple[float, float]) -> float:
    """Estimate the onset on top of a background whose window keeps well clear of the edge."""
    safe = (expected.energy + window[0], expected.energy + min(window[1], CLEAR))
    if ((energy >= safe[0]) & (energy <= safe[1])).any():
        counts = counts - fit_background(energy, counts, window=safe)(energy)
    return find_onset(energy, counts, expected)


def find_onset(energy: Array, counts: Array, expected: Expected) -> float:
    """Return the onset in eV of an edge without background."""
    near = (expected.energy - expected.tolerance, expected.energy + expected.tolerance)
    return find_threshold(energy, counts, near=near)
