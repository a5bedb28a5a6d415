"""Do repeats of one spectrum agree? Only then may they be averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from nearedge.models import Array

UNLIKE = 0.03
"""Repeats that differ by more than this fraction of the edge step (rms, noise apart) are unlike."""
SIGNIFICANT = 5.0
"""They must do so beyond this many standard deviations of the noise."""
SCALES = (0.5, 2.0)
"""One repeat may be so many times another, for another thickness or beam; beyond, it is unlike."""
MOST_BINS = 160
"""Repeats are compared on at most so many energies: noise of neighbouring ones is independent."""
GLITCH = 20.0
"""A single point that lies so many times farther off its neighbours than usual is a glitch."""
FEWEST = 8
"""Repeats that share fewer energies than this cannot be compared."""

Sweep: TypeAlias = tuple[Array, Array]
"""Energies (n,) in any order and the signal (n,) at them; NaN where it is bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatAgreement:
    """How far the repeats of a spectrum agree.

    Attributes
    ----------
    difference
        The difference of the repeat that differs most from the others: rms as a fraction of the
        edge step, what noise explains left out.
    repeat
        Which that is, counted from 0.
    alike
        Whether the repeats may be averaged.
    """

    difference: float
    repeat: int
    alike: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How far one spectrum is like others.

    Attributes
    ----------
    difference
        Rms as a fraction of the edge step, what noise explains left out.
    alike
        Whether they may be averaged.
    """

    difference: float
    alike: bool


def agreement(sweeps: Sequence[Sweep], *, any_scale: bool = False) -> RepeatAgreement:
    """Compare each repeat with the mean of the others, and the first half of them with the second.

    The two may differ in scale, in offset and by a straight line, which a normalisation takes out.
    What is left of the difference is noise, independent from energy to energy, or else it has a
    shape. So the mean product of neighbouring differences is that of the shape alone, whatever the
    noise is and however it changes along the scan; how far it scatters by chance follows from the
    noise, which the second differences tell.

    Parameters
    ----------
    sweeps
        The repeats. Those that share too few energies with the others are passed over.
    any_scale
        Whether repeats may differ in scale by any factor, as the rows of a camera do.
    """
    found, count = _compared(sweeps, any_scale=any_scale)
    if not found:
        return RepeatAgreement(difference=0.0, repeat=0, alike=True)
    # the halves come last, and count as their first repeat
    worst = max(range(len(found)), key=lambda k: (not found[k].alike, found[k].difference))
    return RepeatAgreement(
        difference=found[worst].difference,
        repeat=worst % count,
        alike=found[worst].alike,
    )


def likenesses(sweeps: Sequence[Sweep]) -> list[Likeness]:
    """Return how far each repeat agrees with the mean of the others, as `agreement` does.

    Raises
    ------
    ValueError
        If they share too few energies to be compared.
    """
    found, count = _compared(sweeps, any_scale=False)
    if count < len(sweeps):
        raise ValueError(
            f"the {len(sweeps)} spectra share too few energies to compare them; expected at least "
            f"{FEWEST}"
        )
    return found[:count]


def _compared(sweeps: Sequence[Sweep], *, any_scale: bool) -> tuple[list[Likeness], int]:
    """Return the comparison of each repeat, then that of the halves; and how many repeats."""
    axis, table = _on_one_axis(sweeps)
    pairs = _contrasts(table)
    return [_compare(axis, *pair, any_scale=any_scale) for pair in pairs], len(table)


def _on_one_axis(sweeps: Sequence[Sweep]) -> tuple[Array, Array]:
    """Return common energies (bins,), and the repeats on them (repeats, bins)."""
    cleaned = [_cleaned(*sweep) for sweep in sweeps]
    usable = [(energy, signal) for energy, signal in cleaned if len(energy) >= FEWEST]
    none = np.empty(0), np.empty((0, 0))
    if len(usable) < 2:
        return none
    lo = max(energy[0] for energy, _ in usable)
    hi = min(energy[-1] for energy, _ in usable)
    axis = usable[0][0]
    axis = axis[(axis >= lo) & (axis <= hi)]
    if len(axis) < FEWEST:
        return none
    table = np.stack([axis, *(np.interp(axis, energy, signal) for energy, signal in usable)])
    starts = np.linspace(0, len(axis), min(len(axis), MOST_BINS) + 1).astype(int)[:-1]
    binned = np.add.reduceat(table, starts, axis=1) / np.diff(starts, append=len(axis))
    # in units of the largest, so that no power of it overflows
    return binned[0], binned[1:] / (np.abs(binned[1:]).max() or 1.0)


def _cleaned(energy: Array, signal: Array) -> Sweep:
    finite = np.isfinite(energy) & np.isfinite(signal)
    distinct, first = np.unique(energy[finite], return_index=True)
    return distinct, _without_glitches(signal[finite][first])


def _without_glitches(signal: Array) -> Array:
    """Return a signal whose single points far off both neighbours are set to the nearer one's."""
    if len(signal) < FEWEST:
        return signal
    usual = np.median(np.stack([signal[:-2], signal[1:-1], signal[2:]]), axis=0)
    off = np.abs(signal[1:-1] - usual)
    if not off.any():
        return signal
    far = max(GLITCH * float(np.median(off[off > 0])), float(np.ptp(usual)) / 10)
    inner = np.where(off > far, usual, signal[1:-1])
    return np.concatenate([signal[:1], inner, signal[-1:]])


def _contrasts(table: Array) -> list[tuple[Array, Array]]:
    count = len(table)
    if count < 2:
        return []
    total = table.sum(axis=0)
    pairs = [(one, (total - one) / (count - 1)) for one in table]
    half = count // 2
    # a slow change of many noisy repeats shows in no single one of them
    return [*pairs, (table[:half].mean(axis=0), table[half:].mean(axis=0))]


def _compare(axis: Array, one: Array, others: Array, *, any_scale: bool) -> Likeness:
    line = np.linspace(-1.0, 1.0, len(one))
    terms = np.column_stack([others, np.ones_like(line), line])
    fitted = np.linalg.lstsq(terms, one, rcond=None)[0]
    left = one - terms @ fitted
    shape = float(np.mean(left[1:] * left[:-1]))
    noise = (left[1:-1] - (left[:-2] + left[2:]) / 2) ** 2 / 1.5
    chance = float(np.sqrt(np.mean(noise[1:] * noise[:-1]) / len(left)))
    step = edge_step(axis, one)
    difference = float(np.sqrt(max(shape, 0.0))) / step if step else 0.0
    alike = difference < UNLIKE or shape < SIGNIFICANT * chance
    # noise that drowns the signal flattens the fitted scale
    told = not any_scale and step > 0 and float(noise.mean()) < step**2 / 100
    scaled = not told or SCALES[0] <= fitted[0] <= SCALES[1]
    return Likeness(difference=difference, alike=bool(alike and scaled))


def edge_step(axis: Array, signal: Array) -> float:
    """Return about how high the edge is, with no knowledge of where it lies.

    The end of a signal over its beginning, or a quarter of all that it spans, whichever is more:
    near a sharp white line the end alone may be low. From a signal that decays, as that of EELS
    does, the power law of its beginning is taken off first.
    """
    quarter = max(len(signal) // 4, 1)
    start, end = signal[:quarter], signal[-quarter:]
    if start.mean() > end.mean() and start.min() > 0 and axis[0] > 0:
        decay = np.polyfit(np.log(axis[:quarter]), np.log(start), 1)
        signal = signal - np.exp(np.polyval(decay, np.log(axis)))
    rise = signal[-quarter:].mean() - signal[:quarter].mean()
    return float(max(abs(rise), np.ptp(signal) / 4))
