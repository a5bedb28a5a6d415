"""Whether a spectrum looks like that of its own clusters, damped by self-absorption."""

import numpy as np

from nearedge.models.normalise.self_absorption import damped
from nearedge.models.spectrum import Array, NormalisedSpectrum, Technique

#: Strengths of damping that are tried: weaker ones are within what the model's clusters vary by.
ALPHAS = np.geomspace(0.4, 3.0, 8)
#: What must be left of the misfit, at most. On 40 spectra of held-out families (`val`) none fell
#: below, and of the same damped as bulk silica is (alpha 1) 37 did.
LEFT = 0.7
#: A misfit below this is no reason for anything, edge steps.
SMALL = 0.05


def looks_damped(spectrum: NormalisedSpectrum, measured: Array, implied: Array) -> bool:
    """Tell whether damping explains most of what the clusters do not.

    A model answers a damped spectrum with longer bonds, and with clusters whose own white line is
    still much higher than the measured one. That is told of whole XANES spectra: part of a scan is
    normalised by what there is of it.

    Parameters
    ----------
    spectrum
        The spectrum that was inverted.
    measured, implied
        (g,) normalised, NaN where nothing was measured, and as the clusters imply it.
    """
    if spectrum.technique is not Technique.XANES or not spectrum.complete:
        return False
    seen = np.isfinite(measured) & np.isfinite(implied)
    found, wanted = measured[seen], np.maximum(implied[seen], 0.0)
    misfit = _rms(found - wanted)
    least = min(_rms(found - damped(wanted, float(alpha))) for alpha in ALPHAS)
    return misfit > SMALL and least < LEFT * misfit


def _rms(apart: Array) -> float:
    return float(np.sqrt(np.mean(apart**2))) if apart.size else 0.0
