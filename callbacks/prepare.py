"""Make a spectrum ready for the model, or say why it is not: for live, replay and files alike."""

import logging
from collections.abc import Callable

from nearedge.callbacks.composition import formula_of, with_elements
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.normalise import normalise
from nearedge.callbacks.reduce import reduce
from nearedge.callbacks.self_absorption import with_self_absorption
from nearedge.models import NormalisedSpectrum, Reason, Rejected, Spectrum

logger = logging.getLogger(__name__)

Supports = Callable[[str, str], bool]


def prepare(
    raw: Measurement | Spectrum, instrument: Instrument, *, supports: Supports
) -> NormalisedSpectrum | Rejected:
    """Return the normalised spectrum, or why there is nothing to invert.

    Parameters
    ----------
    raw
        A measurement, or a spectrum that a file holds.
    instrument
        How to reduce and normalise it.
    supports
        Whether the model knows an absorber and edge.
    """
    try:
        spectrum = reduce(raw, instrument) if isinstance(raw, Measurement) else raw
        if isinstance(spectrum, Rejected):
            return spectrum
        outcome = normalise(spectrum, instrument.normalise)
        if isinstance(outcome, Rejected):
            return outcome
        if not supports(outcome.absorber, outcome.edge):
            return unsupported(outcome.absorber, outcome.edge)
        run = formula_of(raw.run.start) if isinstance(raw, Measurement) else ""
        formula = instrument.composition or spectrum.formula or run
        return with_elements(with_self_absorption(outcome, instrument, formula), formula)
    except Exception as e:  # a bug of ours must cost no measurement: it is recorded with its reason
        logger.exception("reading a spectrum raised")
        detail = f"nearedge itself failed on it, please report: {type(e).__name__}: {e}"
        return Rejected(reason=Reason.UNREADABLE, detail=detail)


def unsupported(absorber: str, edge: str) -> Rejected:
    """Return the refusal of a spectrum of an edge that the model does not know."""
    detail = (
        f"the model knows no {absorber} {edge} edge: set absorber and edge in "
        "the profile, or name another model in worker.model"
    )
    return Rejected(reason=Reason.UNSUPPORTED, detail=detail)
