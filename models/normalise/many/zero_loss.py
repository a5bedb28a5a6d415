"""The zero-loss peaks of many low losses: `nearedge.models.normalise.zero_loss` for each."""

import numpy as np

from nearedge.models.many_spectra import Spectra
from nearedge.models.normalise import zero_loss
from nearedge.models.normalise.energies import MIN_POINTS, TINY_ENERGY, clean
from nearedge.models.normalise.rebinning import MOST_POINTS
from nearedge.models.spectrum import Array, Rejected


def zero_loss_shifts(spectra: Spectra) -> Array:
    """Return what puts the zero-loss peak of each spectrum at 0, (p,) eV; NaN where there is none.

    Raises
    ------
    ValueError
        If the spectra have no low loss.
    """
    energy, counts = spectra.low_loss_energy, spectra.low_loss
    if energy is None or counts is None:
        raise ValueError("the spectra have no low loss")
    clean_axis = (
        MIN_POINTS <= len(energy) <= MOST_POINTS
        and bool(np.isfinite(energy).all())
        and bool((np.diff(energy) > TINY_ENERGY).all())
    )
    whole = np.isfinite(counts).all(axis=1) & clean_axis
    found = np.empty(len(counts))
    found[whole] = zero_loss.zero_loss_centres(energy, np.asarray(counts[whole], np.float64))
    for k in np.flatnonzero(~whole):
        found[k] = _cleaned_centre(energy, np.asarray(counts[k], np.float64))
    return -found


def _cleaned_centre(energy: Array, counts: Array) -> float:
    cleaned = clean(energy, counts)
    if isinstance(cleaned, Rejected) or len(cleaned.energy) < MIN_POINTS:
        return np.nan
    centre = zero_loss.zero_loss_centre(cleaned.energy, cleaned.columns[:, 0])
    return np.nan if centre is None else centre
