"""Normalise a spectrum as the profile says."""

from typing import Any

from nearedge.callbacks.instrument import EelsNormalisation, XanesNormalisation
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum, Technique
from nearedge.models.normalise.eels import normalise_eels
from nearedge.models.normalise.xanes import normalise_xanes


def normalise(
    spectrum: Spectrum, normalisation: XanesNormalisation | EelsNormalisation
) -> NormalisedSpectrum | Rejected:
    """Normalise with the parameters of one section of the profile.

    A file may hold the other technique than the profile is for; its spectrum is normalised with
    that technique's defaults.
    """
    if spectrum.technique is Technique.EELS:
        eels = normalisation if isinstance(normalisation, EelsNormalisation) else None
        return normalise_eels(spectrum, **_settings(eels or EelsNormalisation.model_validate({})))
    xanes = normalisation if isinstance(normalisation, XanesNormalisation) else None
    return normalise_xanes(spectrum, **_settings(xanes or XanesNormalisation.model_validate({})))


def _settings(section: XanesNormalisation | EelsNormalisation) -> dict[str, Any]:
    return section.model_dump(exclude={"technique"})
