"""How far the energy axis has moved between two scans of one edge."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.normalise.e0 import smoothing_width, vertex
from nearedge.models.normalise.point_noise import point_noise
from nearedge.models.spectrum import Array, NormalisedSpectrum, Technique

#: A calibrated monochromator drifts less between repeats, eV; farther off is another material.
XANES_DRIFT = 0.5
#: What the offset of an electron spectrometer does, eV.
EELS_DRIFT = 3.0
#: Standard errors that a shift must exceed to count: below, it would only blur the spectrum.
SIGNIFICANT = 3.0
#: eV around e0 that tell the shift: before, nothing bends; far past it, little does.
_BEFORE, _PAST = 15.0, 60.0
_STEP = 0.05  # eV


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What brings one scan onto another.

    Attributes
    ----------
    shift
        eV to add to its energies; 0 where it is not significant.
    error
        The standard error of the shift, from the noise of both, eV.
    at_limit
        Whether the best shift lies at the end of the range that was looked through.
    """

    shift: float
    error: float
    at_limit: bool = False


def most_drift(technique: Technique) -> float:
    """Return how far the axis may have moved between repeats of a technique, eV."""
    return EELS_DRIFT if technique is Technique.EELS else XANES_DRIFT


def drift(one: NormalisedSpectrum, onto: NormalisedSpectrum, *, most: float) -> Drift:
    """Find the shift with which ``one`` fits ``onto`` best, by least squares.

    Both are smoothed as for e0, so that interpolated noise favours no shift over another; scale
    and offset are left free. Every shift up to ``most`` is tried, in steps of 0.05 eV, and the
    best is refined by a parabola. e0 is not asked: in noise it jumps from one inflection of an
    edge to the next, the whole edge does not.

    Parameters
    ----------
    one, onto
        Two spectra of one edge, each on its own axis.
    most
        The largest shift, eV; 0: none is looked for.
    """
    lo = max(one.energy[0] + most, onto.energy[0], onto.e0 - _BEFORE)
    hi = min(one.energy[-1] - most, onto.energy[-1], onto.e0 + _PAST)
    count = round(most / _STEP)
    if count < 1 or hi - lo < _BEFORE:
        return Drift(shift=0.0, error=0.0)
    fixed = _smooth(onto, np.arange(lo, hi, _STEP))
    moving = _smooth(one, np.arange(-count, len(fixed) + count) * _STEP + lo)
    # a shift of +k steps brings the point k steps before to here
    shifts = np.arange(-count, count + 1)
    left = np.array([_left(moving[count - k :][: len(fixed)], fixed) for k in shifts])
    best = int(left.argmin())
    near = left[max(0, best - 1) : best + 2]
    shift = float((shifts[best] + vertex(-near)) * _STEP)
    error = _error(one, onto, fixed, span=(lo, hi))
    if abs(shift) < SIGNIFICANT * error:
        shift = 0.0
    return Drift(shift=shift, error=error, at_limit=best in (0, len(shifts) - 1))


def _smooth(spectrum: NormalisedSpectrum, grid: Array) -> Array:
    """Return a spectrum on a grid, convolved with the Gaussian that e0 is sought with."""
    width = smoothing_width(spectrum.energy) / _STEP
    x = np.arange(-int(4 * width), int(4 * width) + 1)
    kernel = np.exp(-0.5 * (x / width) ** 2)
    signal = np.interp(grid, spectrum.energy, spectrum.norm)
    padded = np.pad(signal, len(kernel) // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _left(moved: Array, fixed: Array) -> float:
    """Return the mean square that is left of ``fixed`` after scale and offset of ``moved``."""
    centred, target = moved - moved.mean(), fixed - fixed.mean()
    scale = float(centred @ target) / max(float(centred @ centred), 1e-300)
    return float(np.mean((target - scale * centred) ** 2))


def _error(
    one: NormalisedSpectrum,
    onto: NormalisedSpectrum,
    fixed: Array,
    *,
    span: tuple[float, float],
) -> float:
    """Return the standard error of a shift: the noise over how steeply the curve crosses it."""
    grid = span[0] + _STEP * np.arange(len(fixed))
    points = one.energy[(one.energy >= span[0]) & (one.energy <= span[1])]
    slope = np.interp(points, grid, np.gradient(fixed, _STEP))
    both = np.hypot(point_noise(one.energy, one.norm), point_noise(onto.energy, onto.norm))
    return float(both / max(np.sqrt(np.sum(slope**2)), 1e-12))
