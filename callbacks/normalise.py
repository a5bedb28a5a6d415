"""Normalise a spectrum as the profile says."""

from typing import Any

from nearedge.callbacks.instrument import EelsSettings, XanesSettings
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum, Technique
from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise.eels import normalise_eels
from nearedge.models.normalise.many.eels import normalise_many_eels
from nearedge.models.normalise.many.xanes import normalise_many_xanes
from nearedge.models.normalise.xanes import normalise_xanes


def normalise(
    spectrum: Spectrum, normalisation: XanesSettings | EelsSettings
) -> NormalisedSpectrum | Rejected:
    """Normalise with the parameters of one section of the profile.

    A file may hold the other technique than the profile is for; its spectrum is normalised with
    that technique's defaults.
    """
    if spectrum.technique is Technique.EELS:
        eels = normalisation if isinstance(normalisation, EelsSettings) else None
        return normalise_eels(spectrum, **_settings(eels or EelsSettings.model_validate({})))
    xanes = normalisation if isinstance(normalisation, XanesSettings) else None
    return normalise_xanes(spectrum, **_settings(xanes or XanesSettings.model_validate({})))


def normalise_many(
    spectra: Spectra, normalisation: XanesSettings | EelsSettings
) -> NormalisedSpectra:
    """Normalise many spectra on one energy axis, as `normalise` does each."""
    if spectra.technique is Technique.EELS:
        eels = normalisation if isinstance(normalisation, EelsSettings) else None
        return normalise_many_eels(spectra, **_settings(eels or EelsSettings.model_validate({})))
    xanes = normalisation if isinstance(normalisation, XanesSettings) else None
    return normalise_many_xanes(spectra, **_settings(xanes or XanesSettings.model_validate({})))


def _settings(section: XanesSettings | EelsSettings) -> dict[str, Any]:
    return section.model_dump(exclude={"technique"})
