"""From a spectrum to the atoms: normalisation, the diffusion model and its estimates.

Pure numpy and torch. What needs torch is imported from its own module
(``nearedge.models.answering.inverter``), so that normalising a spectrum does not load it.
"""

from nearedge.models.inversion import Estimates, Interval, Inversion, Inverts, Quality, Samples
from nearedge.models.spectrum import (
    Array,
    NormalisedSpectrum,
    Reason,
    Rejected,
    Spectrum,
    Technique,
)

__all__ = [
    "Array",
    "Estimates",
    "Interval",
    "Inversion",
    "Inverts",
    "NormalisedSpectrum",
    "Quality",
    "Reason",
    "Rejected",
    "Samples",
    "Spectrum",
    "Technique",
]
