"""Make many spectra on one energy axis ready for the model, each as `prepare` does."""

import logging
from dataclasses import replace
from functools import partial

import numpy as np

from nearedge.callbacks.composition import with_elements
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.normalise import normalise_many
from nearedge.callbacks.prepare import Supports, prepare, unsupported
from nearedge.callbacks.self_absorption import with_self_absorption
from nearedge.models import NormalisedSpectrum
from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise.many.batch import normalise_alone

logger = logging.getLogger(__name__)


def prepare_many(
    spectra: Spectra, instrument: Instrument, *, supports: Supports
) -> NormalisedSpectra:
    """Return the normalised spectra, and why the others cannot be inverted.

    Spectra that are to be corrected for self-absorption are prepared one by one.

    Parameters
    ----------
    spectra
        As a file holds them.
    instrument
        How to normalise them.
    supports
        Whether the model knows an absorber and edge.
    """
    alone = partial(prepare, instrument=instrument, supports=supports)
    about = _about(spectra, instrument)
    corrected = instrument.signal == "fluorescence" and instrument.self_absorption.sample == "thick"
    if corrected:
        return replace(normalise_alone(spectra, alone), elements=about.elements)
    try:
        found = normalise_many(spectra, instrument.normalise)
    except Exception:  # a bug of ours must cost no measurement: what raises alone is recorded
        logger.exception("normalising %d spectra together raised: one by one", len(spectra))
        return replace(normalise_alone(spectra, alone), elements=about.elements)
    if not supports(spectra.absorber, spectra.edge):
        refusal = unsupported(spectra.absorber, spectra.edge)
        refused = {int(k): refusal for k in np.flatnonzero(found.good)}
        return replace(found, rejected={**found.rejected, **refused})
    return replace(
        found,
        elements=about.elements,
        flags=tuple(
            own if k in found.rejected else tuple(dict.fromkeys((*own, *about.flags)))
            for k, own in enumerate(found.flags)
        ),
    )


def _about(spectra: Spectra, instrument: Instrument) -> NormalisedSpectrum:
    """Return a spectrum that has the elements and flags which the sample gives to all of them."""
    nothing = np.empty(0)
    one = NormalisedSpectrum(
        energy=nothing,
        mu=nothing,
        norm=nothing,
        flat=nothing,
        e0=0.0,
        edge_step=1.0,
        technique=spectra.technique,
        absorber=spectra.absorber,
        edge=spectra.edge,
    )
    formula = instrument.composition or spectra.formula
    thin = instrument.self_absorption.model_copy(update={"sample": "thin"})
    thick = instrument.self_absorption.sample == "thick"
    told = instrument.model_copy(update={"self_absorption": thin}) if thick else instrument
    return with_elements(with_self_absorption(one, told, formula), formula)
