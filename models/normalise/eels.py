"""Normalise a core-loss EELS spectrum, or say why it cannot be."""

from dataclasses import replace

import numpy as np

from nearedge.models.normalise import evidence
from nearedge.models.normalise.core_loss import CoreLoss, find_onset, subtract_background
from nearedge.models.normalise.deconvolution import fourier_ratio
from nearedge.models.normalise.edges import eels_tolerance
from nearedge.models.normalise.energies import MIN_POINTS, CleanSpectrum, clean
from nearedge.models.normalise.evidence import NOISY, Expected
from nearedge.models.normalise.normalised import normalised
from nearedge.models.normalise.pre_edge import EdgeFit, Ranges
from nearedge.models.normalise.windows import CALM_POST, SHORT_POST
from nearedge.models.normalise.zero_loss import zero_loss_centre
from nearedge.models.spectrum import Array, NormalisedSpectrum, Reason, Rejected, Spectrum

#: Window of the step, eV from e0: where near-edge XANES scans, from whose like the model learned,
#: take theirs. The mean of the O K edge of silica over 30 to 60 eV is a tenth lower.
STEP = (CALM_POST, 60.0)
MIN_STEP_WIDTH = 5.0  # eV of the step window that must have been measured
NOT_ALIGNED = "no-zero-loss"
"""The flag of a spectrum whose low loss shows no peak to align by."""


def energy_axis(offset: float, dispersion: float, n: int) -> Array:
    """Return energies (n,) in eV of a spectrometer's channels, the first at ``offset`` eV.

    Raises
    ------
    ValueError
        The dispersion is not positive.

    Examples
    --------
    >>> energy_axis(500.0, 0.5, 3)
    array([500. , 500.5, 501. ])
    """
    if not dispersion > 0:
        raise ValueError(f"dispersion is {dispersion} eV per channel; expected a positive number")
    return np.asarray(offset + dispersion * np.arange(n), dtype=float)


def normalise_eels(
    spectrum: Spectrum,
    *,
    e0: float | None = None,
    background: tuple[float, float] = (-50.0, -5.0),
    align_zero_loss: bool = True,
    deconvolve: bool = False,
    fwhm: float | None = None,
    step: tuple[float, float] = STEP,
    energy_shift: float = 0.0,
) -> NormalisedSpectrum | Rejected:
    """Subtract the background, divide by the mean of the step window and judge the result.

    Parameters
    ----------
    spectrum
        Core-loss counts as measured, with the low loss where there is one.
    e0
        Onset in eV on the shifted axis; None: found by `find_onset`.
    background
        Window of the power law, eV from the edge's table energy; where the edge begins earlier
        than the table says, the window ends as far before its onset.
    align_zero_loss
        Whether to move the axis so that the zero-loss peak lies at 0, where it was measured.
    deconvolve, fwhm
        Whether to take plural scattering out, see `fourier_ratio`.
    step
        Window whose mean becomes 1, eV from e0; of a spectrum that ends in it what there is, or
        where there is none of it the latter half of the post-edge.
    energy_shift
        eV added to the energies, beside the zero-loss alignment.
    """
    expected = evidence.expect(spectrum.absorber, spectrum.edge, tolerance=eels_tolerance)
    if isinstance(expected, Rejected):
        return expected
    low_loss = _low_loss(spectrum)
    centre = _zero_loss(low_loss) if align_zero_loss else None
    shift = energy_shift - (centre or 0.0)
    cleaned = evidence.clean_signal(spectrum.energy + shift, spectrum.mu, expected)
    if isinstance(cleaned, Rejected):
        return cleaned
    energy, counts = cleaned.energy, cleaned.columns[:, 0]
    signal = subtract_background(energy, counts, expected, window=background, e0=e0)
    if deconvolve and not isinstance(signal, Rejected):
        signal = _deconvolve(energy, signal, low_loss, fwhm=fwhm)
    if isinstance(signal, Rejected):
        return signal
    fit = _fit(energy, signal, expected, e0=e0, step=step)
    if isinstance(fit, Rejected):
        return fit
    found = _normalised(spectrum, cleaned, signal, fit, shift=shift, centre=centre)
    measured = spectrum.low_loss is not None and spectrum.low_loss_energy is not None
    if align_zero_loss and measured and centre is None:
        return replace(found, flags=(*found.flags, NOT_ALIGNED))
    return found


def _low_loss(spectrum: Spectrum) -> CleanSpectrum | None:
    if spectrum.low_loss is None or spectrum.low_loss_energy is None:
        return None
    cleaned = clean(spectrum.low_loss_energy, spectrum.low_loss)
    if isinstance(cleaned, Rejected) or len(cleaned.energy) < MIN_POINTS:
        return None
    return cleaned


def _zero_loss(low_loss: CleanSpectrum | None) -> float | None:
    if low_loss is None:
        return None
    return zero_loss_centre(low_loss.energy, low_loss.columns[:, 0])


def _deconvolve(
    energy: Array,
    signal: CoreLoss,
    low_loss: CleanSpectrum | None,
    *,
    fwhm: float | None,
) -> CoreLoss | Rejected:
    if low_loss is None or _zero_loss(low_loss) is None:
        return Rejected(
            reason=Reason.MISSING_SIGNAL,
            detail="deconvolve is on but there is no low-loss spectrum with a zero-loss peak; "
            "name its data key (role low_loss) in the profile or set deconvolve: false",
        )
    dispersion = float(np.median(np.diff(energy)))
    uniform = np.arange(energy[0], energy[-1] + dispersion / 2, dispersion)
    single = fourier_ratio(
        np.interp(uniform, energy, signal.counts),
        low_loss.energy,
        low_loss.columns[:, 0],
        dispersion=dispersion,
        fwhm=fwhm,
    )
    return replace(signal, counts=np.interp(energy, uniform, single))


def _fit(
    energy: Array,
    signal: CoreLoss,
    expected: Expected,
    *,
    e0: float | None,
    step: tuple[float, float],
) -> EdgeFit | Rejected:
    """Divide by the step and test it, as the edge of a XANES spectrum is tested."""
    found = find_onset(energy, signal.counts, expected) if e0 is None else e0
    refusal = evidence.check_cover(energy, found, expected)
    if refusal is not None:
        return refusal
    lo, hi = step_window(energy - found, step)
    height = float(signal.counts[(energy >= found + lo) & (energy <= found + hi)].mean())
    if height == 0:
        return evidence.no_edge(energy, expected)
    background = signal.background(energy)
    fit = EdgeFit(
        e0=found,
        edge_step=height,
        norm=signal.counts / height,
        flat=signal.counts / height,
        pre_edge=background,
        post_edge=background + height,
        ranges=_ranges(signal, found, lo, hi),
    )
    return _judge(energy, signal, fit, expected)


def step_window(off: Array, step: tuple[float, float]) -> tuple[float, float]:
    """Return the window of the step in eV from e0, of energies ``off`` from it."""
    after = float(off[-1])
    measured = ((off >= step[0]) & (off <= step[1])).any()
    if measured and after > step[0] + MIN_STEP_WIDTH:
        return step[0], min(step[1], after)
    return after / 2, after


def _ranges(signal: CoreLoss, e0: float, lo: float, hi: float) -> Ranges:
    """Put the windows under Larch's names, under which the evidence is weighed."""
    return Ranges(
        pre1=signal.window[0] - e0,
        pre2=signal.window[1] - e0,
        norm1=lo,
        norm2=hi,
        nnorm=0,
        nvict=0,
        npre=0 if signal.background.r == 0 else 1,
    )


def _judge(energy: Array, signal: CoreLoss, fit: EdgeFit, expected: Expected) -> EdgeFit | Rejected:
    if evidence.shows_edge(energy, signal.counts, fit):
        return evidence.check_position(fit.e0, expected) or fit
    turned = replace(fit, edge_step=-fit.edge_step)
    if evidence.shows_edge(energy, -signal.counts, turned):
        return evidence.negative_step(fit.e0, fit.edge_step)
    return evidence.no_edge(energy, expected)


def _flags(spectrum: Spectrum, energy: Array, signal: CoreLoss, fit: EdgeFit) -> tuple[str, ...]:
    error = evidence.edge_step_error(energy, signal.counts, fit)
    named = {
        "partial": not spectrum.complete,
        "short-post-edge": energy[-1] - fit.e0 < SHORT_POST,
        "noisy": error > NOISY * fit.edge_step,
        "constant-background": signal.background.r == 0,
    }
    return tuple(name for name, set_ in named.items() if set_)


def _parameters(signal: CoreLoss, fit: EdgeFit, centre: float | None) -> dict[str, float | str]:
    found: dict[str, float | str] = {
        "background1": signal.window[0],
        "background2": signal.window[1],
        "A": signal.background.A,
        "r": signal.background.r,
        "step1": fit.ranges.norm1,
        "step2": fit.ranges.norm2,
    }
    return found if centre is None else found | {"zero_loss_centre": centre}


def _normalised(
    spectrum: Spectrum,
    cleaned: CleanSpectrum,
    signal: CoreLoss,
    fit: EdgeFit,
    *,
    shift: float,
    centre: float | None,
) -> NormalisedSpectrum:
    error = evidence.edge_step_error(cleaned.energy, signal.counts, fit)
    found = _flags(spectrum, cleaned.energy, signal, fit)
    parameters = _parameters(signal, fit, centre) | {"edge_step_error": error}
    return normalised(spectrum, cleaned, fit, shift=shift, parameters=parameters, flags=found)
