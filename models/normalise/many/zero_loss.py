"""The zero-loss peaks of many low losses: `nearedge.models.normalise.zero_loss` for each."""

import numpy as np

from nearedge.models.many_spectra import Spectra
from nearedge.models.normalise.energies import MIN_POINTS, TINY_ENERGY, clean
from nearedge.models.normalise.rebinning import MOST_POINTS
from nearedge.models.normalise.zero_loss import zero_loss_centre
from nearedge.models.spectrum import Array, Rejected


def zero_loss_centres(spectra: Spectra) -> Array:
    """Return where the zero-loss peak of each spectrum lies, (p,) eV; 0 where there is none.

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
    return np.array(
        [
            _centre(energy, np.asarray(own, np.float64), as_it_is=bool(plain))
            for own, plain in zip(counts, whole, strict=True)
        ]
    )


def _centre(energy: Array, counts: Array, *, as_it_is: bool) -> float:
    if not as_it_is:
        cleaned = clean(energy, counts)
        if isinstance(cleaned, Rejected) or len(cleaned.energy) < MIN_POINTS:
            return 0.0
        energy, counts = cleaned.energy, cleaned.columns[:, 0]
    return zero_loss_centre(energy, counts) or 0.0
