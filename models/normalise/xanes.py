"""Normalise a XANES spectrum, or say why it cannot be."""

from dataclasses import asdict, replace
from typing import Literal

from nearedge.models.normalise import evidence
from nearedge.models.normalise.e0 import find_e0, find_threshold
from nearedge.models.normalise.edges import SHIFT, edge_energy, xanes_tolerance
from nearedge.models.normalise.energies import CleanSpectrum
from nearedge.models.normalise.evidence import Expected
from nearedge.models.normalise.normalised import normalised
from nearedge.models.normalise.pre_edge import EdgeFit, pre_edge
from nearedge.models.normalise.windows import SHORT_POST, Windows, choose_windows
from nearedge.models.normalise.xanes_e0 import EdgePlace, locate
from nearedge.models.spectrum import Array, NormalisedSpectrum, Reason, Rejected, Spectrum

__all__ = ["find_e0", "find_threshold", "normalise_xanes", "pre_edge"]


def normalise_xanes(
    spectrum: Spectrum,
    *,
    e0: float | None = None,
    step: float | None = None,
    pre1: float | None = None,
    pre2: float | None = None,
    norm1: float | None = None,
    norm2: float | None = None,
    nnorm: int | None = None,
    nvict: int = 0,
    energy_shift: float | Literal["reference"] = 0.0,
    reference_edge: str | None = None,
) -> NormalisedSpectrum | Rejected:
    """Normalise as Larch does, on windows that also suit near-edge scans, and judge the result.

    Parameters
    ----------
    spectrum
        The spectrum as measured; its energies may be in any order, repeated or NaN.
    e0
        Edge energy in eV on the shifted axis; None: found by `locate`.
    step, pre1, pre2, norm1, norm2, nnorm, nvict
        As in `pre_edge`; None: chosen by `choose_windows`, which are Larch's defaults where the
        scan is long enough for them.
    energy_shift
        eV added to the energies; ``"reference"``: what brings the edge of the reference foil to
        its table energy.
    reference_edge
        Edge of the foil, such as ``"Si K"``; None: the edge of the spectrum itself.
    """
    expected = evidence.expect(spectrum.absorber, spectrum.edge, tolerance=xanes_tolerance)
    if isinstance(expected, Rejected):
        return expected
    shift = _shift(spectrum, energy_shift, reference_edge)
    if isinstance(shift, Rejected):
        return shift
    cleaned = evidence.clean_signal(spectrum.energy + shift, spectrum.mu, expected)
    if isinstance(cleaned, Rejected):
        return cleaned
    wanted = Windows(pre1=pre1, pre2=pre2, norm1=norm1, norm2=norm2, nnorm=nnorm, nvict=nvict)
    energy, mu = cleaned.energy, cleaned.columns[:, 0]
    fit = _fit(energy, mu, expected, e0=e0, step=step, wanted=wanted)
    if isinstance(fit, Rejected):
        return fit
    return _normalised(spectrum, cleaned, fit, shift=shift)


def _fit(
    energy: Array,
    mu: Array,
    expected: Expected,
    *,
    e0: float | None,
    step: float | None,
    wanted: Windows,
) -> EdgeFit | Rejected:
    """Fit the spectrum; refuse one without an edge, at another place, or upside down.

    In a spectrum that is upside down the white line ends in a rise, so both ways up may show an
    edge: the one that comes first is the edge.
    """
    fit = _fit_upright(energy, mu, expected, e0=e0, step=step, wanted=wanted)
    turned = _fit_upright(energy, -mu, expected, e0=e0, step=None, wanted=wanted)
    if isinstance(turned, EdgeFit) and (isinstance(fit, Rejected) or turned.e0 < fit.e0):
        return evidence.negative_step(turned.e0, -turned.edge_step)
    if isinstance(fit, Rejected):
        return fit
    return evidence.check_position(fit.e0, expected) or fit


def _fit_upright(
    energy: Array,
    mu: Array,
    expected: Expected,
    *,
    e0: float | None,
    step: float | None,
    wanted: Windows,
) -> EdgeFit | Rejected:
    place = locate(energy, mu, expected) if e0 is None else EdgePlace(e0=e0, onset=e0)
    refusal = evidence.check_cover(energy, place.e0, expected)
    if refusal is not None:
        return refusal
    chosen = choose_windows(energy, place.e0, wanted, onset=place.onset)
    # noise may leave no line through a short pre-edge that could be carried past the edge
    level = [replace(chosen, npre=0)] if chosen.pre1 != wanted.pre1 and chosen.npre else []
    for windows in (chosen, *level):
        fit = pre_edge(energy, mu, e0=place.e0, step=step, **asdict(windows))
        if evidence.shows_edge(energy, mu, fit):
            return fit
    return evidence.no_edge(energy, expected)


def _shift(
    spectrum: Spectrum, energy_shift: float | Literal["reference"], reference_edge: str | None
) -> float | Rejected:
    """Return the energy shift in eV, fixed or from the foil: its table energy less its e0."""
    if not isinstance(energy_shift, str):
        return float(energy_shift)
    if spectrum.reference is None:
        return Rejected(
            reason=Reason.MISSING_SIGNAL,
            detail="energy_shift is 'reference' but the measurement has no reference signal; "
            "name its data key (role ir) in the profile, or set energy_shift to a number",
        )
    absorber, _, edge = (reference_edge or f"{spectrum.absorber} {spectrum.edge}").partition(" ")
    expected = evidence.expect(absorber, edge, tolerance=xanes_tolerance)
    if isinstance(expected, Rejected):
        return expected
    found = _reference_e0(spectrum.energy, spectrum.reference, expected)
    return found if isinstance(found, Rejected) else float(expected.energy - found)


def _reference_e0(energy: Array, reference: Array, expected: Expected) -> float | Rejected:
    cleaned = evidence.clean_signal(energy, reference, expected)
    if isinstance(cleaned, CleanSpectrum):
        mu = cleaned.columns[:, 0]
        fit = _fit(cleaned.energy, mu, expected, e0=None, step=None, wanted=Windows())
        if isinstance(fit, EdgeFit):
            return fit.e0
        cleaned = fit
    return Rejected(reason=cleaned.reason, detail=f"reference foil: {cleaned.detail}")


def _normalised(
    spectrum: Spectrum, cleaned: CleanSpectrum, fit: EdgeFit, *, shift: float
) -> NormalisedSpectrum:
    flags = []
    if not spectrum.complete:
        flags.append("partial")
    if cleaned.energy[-1] - fit.e0 < SHORT_POST:
        flags.append("short-post-edge")
    if evidence.is_coarse(cleaned.energy, fit.e0):
        flags.append("coarse-edge")
    if abs(fit.e0 - edge_energy(spectrum.absorber, spectrum.edge)) > SHIFT:
        flags.append("maybe-uncalibrated")
    error = evidence.edge_step_error(cleaned.energy, cleaned.columns[:, 0], fit)
    if error > evidence.NOISY * fit.edge_step:
        flags.append("noisy")
    parameters = asdict(fit.ranges) | {"edge_step_error": error}
    return normalised(spectrum, cleaned, fit, shift=shift, parameters=parameters, flags=flags)
