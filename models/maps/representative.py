"""The spectrum that stands for a group of pixels."""

from dataclasses import dataclass

from nearedge.models.inversion import Inversion
from nearedge.models.spectrum import NormalisedSpectrum, Rejected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Representative:
    """The spectrum that stands for a group of pixels, and its answer.

    Attributes
    ----------
    pixels
        How many the group has.
    spectrum
        The mean of their raw spectra, normalised; None where it was rejected.
    answer
        The answer with clusters, or why there is none.
    """

    pixels: int
    spectrum: NormalisedSpectrum | None
    answer: Inversion | Rejected
