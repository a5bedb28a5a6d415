"""Correct fluorescence for self-absorption where the sample is known, or flag it."""

import re
from dataclasses import replace
from functools import lru_cache
from math import radians, sin

import numpy as np

from nearedge.callbacks.instrument import Instrument, SelfAbsorptionSettings, XanesSettings
from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum, Technique
from nearedge.models.composition import CompositionError, amounts_in
from nearedge.models.normalise.self_absorption import damping, undamped

CORRECTED, MAYBE = "self-absorption-corrected", "maybe-self-absorbed"
#: Damping of a thick sample from which it is worth a flag.
LEAST_DAMPING = 0.1
#: The line that is detected, by edge, as XrayDB names it.
LINES = {"K": "Ka", "L1": "Lb3", "L2": "Lb1", "L3": "La"}
_BESIDE = 10.0  # eV from the edge, where its absorption has not begun or is complete


def with_self_absorption(
    spectrum: NormalisedSpectrum, instrument: Instrument, formula: str
) -> NormalisedSpectrum:
    """Return the spectrum corrected for self-absorption, or flagged, or as it is.

    A sample that the profile calls thick is corrected; one of which nothing is said is flagged
    ``maybe-self-absorbed`` where its formula says that it would be damped by a tenth if it were
    thick.

    Parameters
    ----------
    spectrum
        Normalised.
    instrument
        Says whether it is fluorescence, of what sample and at which angles.
    formula
        The formula of the sample; empty where it is not known.
    """
    about = instrument.self_absorption
    fluorescence = instrument.signal == "fluorescence"
    if not fluorescence or spectrum.technique is not Technique.XANES or about.sample == "thin":
        return spectrum
    alpha = alpha_of(spectrum.absorber, spectrum.edge, formula, about)
    if about.sample == "thick":
        corrected = None if alpha is None else _corrected(spectrum, instrument, alpha)
        return corrected or replace(spectrum, flags=(*spectrum.flags, MAYBE))
    if alpha is not None and damping(alpha) >= LEAST_DAMPING:
        return replace(spectrum, flags=(*spectrum.flags, MAYBE))
    return spectrum


def alpha_of(absorber: str, edge: str, formula: str, about: SelfAbsorptionSettings) -> float | None:
    """Return the absorption of all else over that of the edge, counted over both ways.

    None where the formula is not known or is a list of elements without amounts, where it lacks the
    absorber, and for an edge whose line is not known.
    """
    if edge not in LINES or re.search(r"[\s,;]", formula.strip()):
        return None
    try:
        amounts = amounts_in(formula)
    except CompositionError:
        return None
    if absorber not in amounts:
        return None
    written = "".join(f"{symbol}{amount:.6f}" for symbol, amount in amounts.items())
    return _alpha(absorber, edge, written, about.incidence_deg, about.exit_deg)


@lru_cache(maxsize=256)
def _alpha(absorber: str, edge: str, formula: str, incidence: float, leaving: float) -> float:
    from xraydb import material_mu, xray_edge, xray_line  # takes a second to import

    at = xray_edge(absorber, edge).energy
    line = xray_line(absorber, LINES[edge]).energy
    out, below, above = material_mu(formula, np.array([line, at - _BESIDE, at + _BESIDE]), 1.0)
    return float((out * sin(radians(incidence)) / sin(radians(leaving)) + below) / (above - below))


def _corrected(
    spectrum: NormalisedSpectrum, instrument: Instrument, alpha: float
) -> NormalisedSpectrum | None:
    """Normalise the corrected absorption anew, as Larch does; None where it cannot be."""
    absorption = undamped(spectrum.norm, alpha)
    settings = instrument.normalise
    if absorption is None or not isinstance(settings, XanesSettings):
        return None
    anew = normalise(
        Spectrum(
            energy=spectrum.energy,
            mu=absorption,
            technique=spectrum.technique,
            absorber=spectrum.absorber,
            edge=spectrum.edge,
            complete=spectrum.complete,
        ),
        settings.model_copy(update={"energy_shift": 0.0, "step": None}),
    )
    if isinstance(anew, Rejected):
        return None
    return replace(
        anew,
        mu=spectrum.mu,
        edge_step=spectrum.edge_step,
        energy_shift=spectrum.energy_shift,
        parameters=spectrum.parameters | anew.parameters | {"self_absorption_alpha": alpha},
        flags=tuple(dict.fromkeys((*spectrum.flags, *anew.flags, CORRECTED))),
    )
