"""Normalise a spectrum as the profile says."""

from nearedge.callbacks.instrument import EelsNormalisation, XanesNormalisation
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum
from nearedge.models.xanes import normalise_xanes


def normalise(
    spectrum: Spectrum, normalisation: XanesNormalisation | EelsNormalisation
) -> NormalisedSpectrum | Rejected:
    """Normalise with the parameters of one section of the profile."""
    settings = normalisation.model_dump(exclude={"technique"})
    return normalise_xanes(spectrum, **settings)
