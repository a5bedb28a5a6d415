"""The background under a core-loss edge: a power law of the energy loss."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.spectrum import Array

MIN_POINTS = 5
MIN_WIDTH = 8.0  # eV; a power law through less cannot be carried past an edge
#: Largest ln(A): a few counts of noise may fall so steeply that A is no number any more.
MOST_LOG_A = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """``A * energy**-r``; a constant where r is 0."""

    A: float
    r: float

    def __call__(self, energy: Array) -> Array:
        """Return the background (n,) at ``energy`` (n,) eV, in the units of the fitted counts."""
        return np.asarray(self.A * energy**-self.r, dtype=float)


def fit_background(energy: Array, counts: Array, *, window: tuple[float, float]) -> PowerLaw:
    """Fit a power law through the counts in a window, or their mean if none can be fitted.

    A line through log counts against log energy, each weighted with its counts, since the
    variance of a logarithm of Poisson counts is one over them (Egerton, Electron Energy-Loss
    Spectroscopy in the Electron Microscope, 3rd ed., section 4.4.2). The mean stands in where the
    window is narrow, holds counts that are zero or less than it, rises, or falls beyond measure.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    counts
        (n,) any scale.
    window
        First and last energy of the fit, eV.

    Raises
    ------
    ValueError
        No energy lies in the window.
    """
    inside = (energy >= window[0]) & (energy <= window[1])
    if not inside.any():
        raise ValueError(f"no energy between {window[0]:.6g} and {window[1]:.6g} eV")
    x, y = energy[inside], counts[inside]
    constant = PowerLaw(A=float(y.mean()), r=0.0)
    if len(x) < MIN_POINTS or np.ptp(x) < MIN_WIDTH or y.min() <= 0 or x[0] <= 0:
        return constant
    scale = float(np.exp(np.log(x).mean()))
    slope, height = np.polyfit(np.log(x / scale), np.log(y), 1, w=np.sqrt(y))
    if slope >= 0 or height - slope * np.log(scale) > MOST_LOG_A:
        return constant
    return PowerLaw(A=float(np.exp(height) * scale**-slope), r=float(-slope))
