"""One spectrum that stands for some pixels of a map: a single one, or the sum over a region."""

import numpy as np

from nearedge.models.spectrum import Array, NormalisedSpectrum, Technique

SUMMED = "region-summed"
"""Flag of a spectrum that is the sum of those of several pixels."""
FEWEST = 8
"""A spectrum of fewer energies is none."""


def region_spectrum(
    energy: Array,
    norm: Array,
    *,
    e0: Array,
    edge_step: Array,
    energy_shift: Array,
    technique: Technique,
    absorber: str,
    edge: str,
    elements: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
) -> NormalisedSpectrum:
    """Return the sum of the spectra of some pixels, in edge steps.

    Each pixel counts as much as its edge is high. So the result is what the sum of the signals
    without their backgrounds is, divided by the sum of the edge steps. Pixels whose energies were
    shifted differently are put onto the axis of the mean shift first.

    Parameters
    ----------
    energy
        (n,) eV, as measured.
    norm
        (p, n) normalised and flattened spectra of the pixels, NaN where a reading was left out.
    e0, edge_step, energy_shift
        (p,) of the same pixels; the first and the last in eV.
    technique, absorber, edge, elements
        What all of them share.
    flags
        What a reader should know of them.

    Raises
    ------
    ValueError
        If there is no pixel, or fewer energies are known than make a spectrum.
    """
    if not len(norm):
        raise ValueError("found no pixel with a spectrum; expected at least one")
    weights = np.where(np.isfinite(edge_step) & (edge_step > 0), edge_step, 0.0)
    if not weights.sum():
        weights = np.ones(len(norm))
    shift = float(np.average(energy_shift, weights=weights))
    moved = norm.astype(float)
    for k in np.flatnonzero(np.abs(energy_shift - shift) > 1e-9):
        moved[k] = np.interp(energy + shift, energy + energy_shift[k], moved[k])
    known = np.isfinite(moved)
    share = known * weights[:, None]
    total = share.sum(axis=0)
    there = total > 0
    if there.sum() < FEWEST:
        raise ValueError(f"found {int(there.sum())} energies; expected {FEWEST} or more")
    mean = (np.where(known, moved, 0.0) * share).sum(axis=0)[there] / total[there]
    step = float(weights.mean())
    return NormalisedSpectrum(
        energy=energy[there] + shift,
        mu=mean * step,
        norm=mean,
        flat=mean.copy(),
        e0=float(np.average(e0, weights=weights)),
        edge_step=step,
        energy_shift=shift,
        technique=technique,
        absorber=absorber,
        edge=edge,
        complete="partial" not in flags,
        flags=(*flags, *((SUMMED,) if len(norm) > 1 else ())),
        elements=elements,
    )
