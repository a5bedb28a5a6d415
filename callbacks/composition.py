"""What is known of the sample's composition: the profile's word, the run's, or the file's."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nearedge.callbacks.recognise import entry
from nearedge.models import NormalisedSpectrum
from nearedge.models.composition import CompositionError, elements_in

logger = logging.getLogger(__name__)

#: Where a run's start document may say it; the first that does counts.
ENTRIES = (
    *("sample.formula", "sample.chemical_formula", "sample.composition", "sample.stoichiometry"),
    *("sample.elements", "chemical_formula", "sample_formula", "formula", "composition"),
)
UNREADABLE = "unreadable-formula"
LACKS_ABSORBER = "formula-without-absorber"


def formula_of(start: Mapping[str, Any]) -> str:
    """Return what a start document says of the sample's composition; empty where nothing."""
    for name in ENTRIES:
        if text := as_text(entry(start, name)):
            return text
    return ""


def as_text(found: Any) -> str:
    """Return a formula, a list of symbols or a mapping of symbols to amounts as one text."""
    if isinstance(found, Mapping):
        found = list(found)
    if isinstance(found, list | tuple):
        return " ".join(map(str, found))
    return found.strip() if isinstance(found, str) else ""


def with_elements(spectrum: NormalisedSpectrum, formula: str) -> NormalisedSpectrum:
    """Return the spectrum with the elements that its sample holds.

    A formula that cannot be read, or that lacks the absorber, is not used: the spectrum is flagged
    ``unreadable-formula`` or ``formula-without-absorber``.
    """
    if not formula:
        return spectrum
    try:
        elements = elements_in(formula)
    except CompositionError as error:
        logger.info("composition not used: %s", error)
        return replace(spectrum, flags=(*spectrum.flags, UNREADABLE))
    if spectrum.absorber not in elements:
        return replace(spectrum, flags=(*spectrum.flags, LACKS_ABSORBER))
    return replace(spectrum, elements=elements)
