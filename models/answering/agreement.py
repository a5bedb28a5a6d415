"""How well sampled clusters agree with the spectrum that they were drawn for."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nearedge.models.parts.condition import Condition
from nearedge.models.parts.surrogate import Surrogate
from nearedge.models.spectrum import Array

#: Resolutions that the instrument may have, eV (FWHM): the one that fits best is taken.
RESOLUTIONS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """Samples against their spectrum.

    Attributes
    ----------
    implied
        (samples, g) spectrum of each cluster at the instrument's likely resolution.
    apart
        (samples,) root-mean-square difference to the measured spectrum, edge steps.
    spread
        (samples,) standard deviation of ``implied``, edge steps.
    """

    implied: Array
    apart: Array
    spread: Array

    def weights(self, sharpness: float) -> Array:
        """Return weights (samples,), mean 1, by the samples' likelihood ^ ``sharpness``."""
        log = -0.5 * sharpness * (self.apart / self.spread) ** 2
        weight = np.exp(log - log.max())
        return np.asarray(weight / weight.mean())


def _difference(spectra: Array, read: Condition) -> Array:
    square = (spectra - read.values) ** 2 * read.mask
    return np.asarray(np.sqrt(square.sum(1) / max(float(read.mask.sum()), 1.0)))


def at_resolution(
    spectra: NDArray[np.floating], read: Condition, *, step: float
) -> tuple[Array, Array]:
    """Blur calculated spectra as the instrument likely does, and compare them.

    Parameters
    ----------
    spectra
        (n, g) calculated, on the grid of ``read``, whose ``step`` is in eV.
    read
        The measured one.

    Returns
    -------
        The spectra at the resolution that fits best (n, g), and their root-mean-square differences
        to the measured one (n,), edge steps.
    """
    sharp = np.asarray(spectra, np.float64)
    blurred = [
        gaussian_filter1d(sharp, fwhm / 2.355 / step, axis=1) if fwhm else sharp
        for fwhm in RESOLUTIONS
    ]
    apart = [_difference(each, read) for each in blurred]
    best = int(np.argmin([values.mean() for values in apart]))
    return blurred[best], apart[best]


@torch.inference_mode()
def agreement(
    surrogate: Surrogate,
    read: Condition,
    positions: np.ndarray,
    kinds: np.ndarray,
    *,
    species: int,
    step: float,
) -> Agreement:
    """Compare.

    Parameters
    ----------
    surrogate
        The surrogate of the spectrum's edge.
    read
        What the model reads of the spectrum.
    positions, kinds
        (samples, atoms, 3) Å and (samples, atoms) species numbers, nearest atom first.
    species
        How many species there are.
    step
        The step of the grid, eV.
    """
    answer, spread = surrogate(torch.tensor(positions), torch.tensor(kinds), species=species)
    implied, apart = at_resolution(answer.double().numpy(), read, step=step)
    return Agreement(implied=implied, apart=apart, spread=spread.double().numpy())


def misfit(implied: Array, weights: Array, read: Condition) -> float:
    """Return the root-mean-square difference of spectrum and samples' mean, edge steps."""
    return float(_difference((weights @ implied)[None], read)[0])
