"""Normalise a spectrum as the profile says."""

from nearedge.callbacks.instrument import EelsNormalisation, XanesNormalisation
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum
from nearedge.models.eels import normalise_eels
from nearedge.models.xanes import normalise_xanes


def normalise(
    spectrum: Spectrum, normalisation: XanesNormalisation | EelsNormalisation
) -> NormalisedSpectrum | Rejected:
    """Normalise with the parameters of one section of the profile."""
    settings = normalisation.model_dump(exclude={"technique"})
    if isinstance(normalisation, EelsNormalisation):
        return normalise_eels(spectrum, **settings)
    return normalise_xanes(spectrum, **settings)
