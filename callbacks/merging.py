"""Merge repeats of one spectrum: aligned, weighted by their noise, compared with each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nearedge.callbacks.agreement import FEWEST, Likeness, agreement, likenesses
from nearedge.callbacks.repeats import UNLIKE
from nearedge.models import Array, NormalisedSpectrum, Reason, Rejected, Technique
from nearedge.models.normalise import evidence
from nearedge.models.normalise.core_loss import find_onset
from nearedge.models.normalise.drift import Drift, drift, most_drift
from nearedge.models.normalise.edges import eels_tolerance, xanes_tolerance
from nearedge.models.normalise.point_noise import point_noise
from nearedge.models.normalise.xanes_e0 import locate

LEAST_NOISE = 1e-4
"""Noise of one point, as part of the edge step, below which a spectrum counts for no more."""
SCALE = 0.05
"""Normalised repeats differ in scale by no more than this, or three errors of their edge steps."""
OF_NOISE = ("noisy",)
"""Flags of a spectrum that its merge is asked about anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one spectrum brings to a merge.

    Attributes
    ----------
    weight
        Its part of the mean; all sum to 1.
    noise
        Noise of one of its points, as part of the edge step.
    shift, shift_error
        What was added to its energies, eV, and the standard error of that.
    chi2
        Mean square of its distance from the mean of the others, but for scale, offset and a line,
        over what noise explains: 1 if that is all.
    scale
        How many times the others it is, normalised as all are: 1, but for the errors of their
        edge steps. A white line that the sample itself damps has less.
    difference
        Its distance from the others beyond the noise: rms, as a fraction of the edge step.
    alike
        Whether it is a repeat of the others.
    """

    weight: float
    noise: float
    shift: float
    shift_error: float
    chi2: float
    scale: float
    difference: float
    alike: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merge:
    """The mean of several spectra.

    Attributes
    ----------
    spectrum
        The mean, on the axis of its least noisy spectrum. Its ``mu`` is in units of the edge step.
    aligned
        (n, spectra) each spectrum, normalised, on that axis.
    error
        (n,) standard error of the mean, from the noise of each.
    shares
        One for each spectrum.
    alike
        Whether they agree, each with the others and the first half with the second. If not, the
        spectrum has the flag ``unlike-averaged``.
    """

    spectrum: NormalisedSpectrum
    aligned: Array
    error: Array
    shares: tuple[Share, ...]
    alike: bool

    @property
    def oddest(self) -> int:
        """Which spectrum differs most from the others."""
        return max(range(len(self.shares)), key=self._oddness)

    def _oddness(self, k: int) -> tuple[bool, float]:
        share = self.shares[k]
        return not share.alike, max(share.difference, abs(share.scale - 1))


def merge(spectra: Sequence[NormalisedSpectrum], *, most: float | None = None) -> Merge | Rejected:
    """Average repeats of one edge, or say why they cannot be averaged.

    Each is moved onto the least noisy one (`nearedge.models.normalise.drift.drift`), interpolated
    linearly between its points, and counts by the inverse square of its noise (the median distance
    of points from the cubic through their neighbours, `point_noise`). Only energies
    that all of them cover are kept. e0 is theirs if all have the same, else that of the mean.

    Parameters
    ----------
    spectra
        Two or more, each on its own axis.
    most
        How far one may be moved, eV; 0: not at all; None: 0.5 eV (EELS: 3 eV).
    """
    kinds = {(one.absorber, one.edge, one.technique) for one in spectra}
    if len(spectra) < 2 or len(kinds) > 1:
        return _mixed(spectra)
    noises = np.array([point_noise(one.energy, one.norm) for one in spectra])
    noises = np.maximum(noises, LEAST_NOISE)
    first = spectra[int(noises.argmin())]
    limit = most_drift(first.technique) if most is None else most
    drifts = [
        Drift(shift=0.0, error=0.0) if one is first else drift(one, first, most=limit)
        for one in spectra
    ]
    moved = [
        replace(one, energy=one.energy + found.shift)
        for one, found in zip(spectra, drifts, strict=True)
    ]
    axis = shared_axis(first.energy, [one.energy for one in moved])
    return _uncovered(axis, first) or _merged(first, moved, noises, drifts, axis)


def shared_axis(axis: Array, energies: Sequence[Array]) -> Array:
    """Return the energies of an axis that all others cover, increasing, each once."""
    own = np.unique(axis[np.isfinite(axis)])
    lo = max(np.nanmin(one) for one in energies)
    hi = min(np.nanmax(one) for one in energies)
    return np.asarray(own[(own >= lo) & (own <= hi)])


def _mixed(spectra: Sequence[NormalisedSpectrum]) -> Rejected:
    names = sorted({f"{one.technique.upper()} of {one.absorber} {one.edge}" for one in spectra})
    found = " and ".join(names) if len(names) > 1 else f"{len(spectra)} spectrum"
    return Rejected(
        reason=Reason.UNLIKE,
        detail=f"found {found}; a merge needs two or more spectra of one edge: choose repeats",
    )


def _uncovered(axis: Array, first: NormalisedSpectrum) -> Rejected | None:
    if len(axis) < FEWEST:
        return Rejected(
            reason=Reason.TOO_FEW_POINTS,
            detail=f"the spectra share {len(axis)} energies; expected at least {FEWEST}: choose "
            "scans of one range",
        )
    before, after = first.e0 - axis[0], axis[-1] - first.e0
    if before >= evidence.MIN_BEFORE and after >= evidence.MIN_AFTER:
        return None
    return Rejected(
        reason=Reason.TOO_SHORT,
        detail=f"the spectra share {before:.1f} eV before and {after:.1f} eV after the edge at "
        f"{first.e0:.1f} eV; expected at least {evidence.MIN_BEFORE:g} eV before and "
        f"{evidence.MIN_AFTER:g} eV after: leave the shortest out",
    )


def _merged(
    first: NormalisedSpectrum,
    moved: Sequence[NormalisedSpectrum],
    noises: Array,
    drifts: Sequence[Drift],
    axis: Array,
) -> Merge:
    weights = noises**-2 / np.sum(noises**-2)
    aligned = np.stack([np.interp(axis, one.energy, one.norm) for one in moved])
    variance = np.stack(
        [n**2 * _thinned(axis, one.energy) for n, one in zip(noises, moved, strict=True)]
    )
    sweeps = [(one.energy, one.norm) for one in moved]
    apart = [_apart(k, aligned, variance, weights) for k in range(len(weights))]
    limit = max(SCALE, 3 * np.sqrt(2) * max(_step_errors(moved), default=0.0))  # of the two
    rows = zip(weights, noises, drifts, apart, likenesses(sweeps), strict=True)
    shares = tuple(_share(*row, limit=limit) for row in rows)
    alike = agreement(sweeps).alike and all(share.alike for share in shares)
    return Merge(
        spectrum=_mean(first, moved, weights, axis, alike=alike),
        aligned=aligned.T,
        error=np.sqrt(weights**2 @ variance),
        shares=shares,
        alike=alike,
    )


def _share(
    weight: float,
    noise: float,
    moved: Drift,
    apart: tuple[float, float],
    like: Likeness,
    *,
    limit: float,
) -> Share:
    chi2, scale = apart
    return Share(
        weight=float(weight),
        noise=float(noise),
        shift=moved.shift,
        shift_error=moved.error,
        chi2=chi2,
        scale=scale,
        difference=like.difference,
        alike=like.alike and abs(scale - 1) <= limit,
    )


def _thinned(axis: Array, energy: Array) -> Array:
    """Return the variance of what is interpolated at ``axis``, over that of a point."""
    right = np.clip(np.searchsorted(energy, axis), 1, len(energy) - 1)
    part = (axis - energy[right - 1]) / (energy[right] - energy[right - 1])
    return np.asarray(part**2 + (1 - part) ** 2)


def _apart(k: int, aligned: Array, variance: Array, weights: Array) -> tuple[float, float]:
    """Return the chi² of a spectrum against the others, but for scale, offset and line; the scale.

    A normalisation's own error is of that kind; noise and structure are not.
    """
    others = np.where(np.arange(len(weights)) == k, 0.0, weights)
    others = others / others.sum()
    mean = others @ aligned
    line = np.linspace(-1.0, 1.0, len(mean))
    terms = np.column_stack([mean, np.ones_like(line), line])
    fitted = np.linalg.lstsq(terms, aligned[k], rcond=None)[0]
    left = aligned[k] - terms @ fitted
    return float(np.mean(left**2 / (variance[k] + others**2 @ variance))), float(fitted[0])


def _mean(
    first: NormalisedSpectrum,
    moved: Sequence[NormalisedSpectrum],
    weights: Array,
    axis: Array,
    *,
    alike: bool,
) -> NormalisedSpectrum:
    def mean(signals: Sequence[Array]) -> Array:
        rows = [np.interp(axis, one.energy, s) for one, s in zip(moved, signals, strict=True)]
        return np.asarray(weights @ np.stack(rows))

    norm = mean([one.norm for one in moved])
    error = _step_error(moved, weights)
    noisy = error is not None and error > evidence.NOISY
    kept = [flag for one in moved for flag in one.flags if flag not in OF_NOISE]
    flags = (*kept, *(["noisy"] if noisy else []), *([] if alike else [UNLIKE]))
    return replace(
        first,
        energy=axis,
        mu=mean([one.mu / one.edge_step for one in moved]),
        norm=norm,
        flat=mean([one.flat for one in moved]),
        e0=_edge(moved, axis, norm),
        edge_step=1.0,
        complete=all(one.complete for one in moved),
        parameters=first.parameters | ({} if error is None else {"edge_step_error": error}),
        flags=tuple(dict.fromkeys(flags)),
        elements=_common_elements(moved),
    )


def _step_error(moved: Sequence[NormalisedSpectrum], weights: Array) -> float | None:
    """Return the error of the edge step of the mean as a part of it; None where not known."""
    known = _step_errors(moved)
    if len(known) < len(moved):
        return None
    return float(np.linalg.norm(weights * np.array(known)))


def _step_errors(moved: Sequence[NormalisedSpectrum]) -> list[float]:
    """Return the errors of the edge steps, each as a part of its step; those not known left out."""
    errors = [(one.parameters.get("edge_step_error"), one.edge_step) for one in moved]
    return [float(error) / step for error, step in errors if isinstance(error, int | float)]


def _common_elements(moved: Sequence[NormalisedSpectrum]) -> tuple[str, ...]:
    """Return what is in the sample, where all that know it say the same."""
    told = {one.elements for one in moved if one.elements}
    return told.pop() if len(told) == 1 else ()


def _edge(moved: Sequence[NormalisedSpectrum], axis: Array, norm: Array) -> float:
    """Return the e0 of all, or else that of their mean, found as that of a spectrum is."""
    own = {one.e0 for one in moved}
    if len(own) == 1:
        return own.pop()
    first = moved[0]
    eels = first.technique is Technique.EELS
    expected = evidence.expect(
        first.absorber, first.edge, tolerance=eels_tolerance if eels else xanes_tolerance
    )
    if isinstance(expected, Rejected):
        return float(np.median(sorted(own)))
    if eels:
        return find_onset(axis, norm, expected)
    return locate(axis, norm, expected).e0
