"""Take plural scattering out of a core-loss edge."""

import numpy as np

from nearedge.models.normalise.zero_loss import elastic_threshold, zero_loss_centre, zero_loss_fwhm
from nearedge.models.spectrum import Array

_TAPER = 100  # channels over which the ends run to zero


def fourier_ratio(
    core_loss: Array,
    low_loss_energy: Array,
    low_loss: Array,
    *,
    dispersion: float,
    fwhm: float | None = None,
) -> Array:
    """Return the single-scattering core-loss counts, by Fourier-ratio deconvolution.

    ``j1 = z * jk / jl`` for the transforms of the core loss ``jk``, the low loss ``jl`` and a
    Gaussian ``z`` of the area of the zero-loss peak, which limits the noise (Egerton, Electron
    Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed., equation 4.38).

    Parameters
    ----------
    core_loss
        (n,) counts without background, ``dispersion`` eV apart.
    low_loss_energy, low_loss
        (m,) eV and counts of the low-loss spectrum, its zero-loss peak at 0.
    dispersion
        eV per channel of the core loss; the low loss is resampled to it.
    fwhm
        eV, of the Gaussian; None: the width of the zero-loss peak.

    Raises
    ------
    ValueError
        The low loss holds no zero-loss peak.
    """
    centre = zero_loss_centre(low_loss_energy, low_loss)
    if centre is None:
        raise ValueError("no zero-loss peak within 20 eV of 0 in the low-loss spectrum")
    width = zero_loss_fwhm(low_loss_energy, low_loss) if fwhm is None else fwhm
    count = int((low_loss_energy[-1] - low_loss_energy[0]) / dispersion) + 1
    grid = low_loss_energy[0] + dispersion * np.arange(count)
    low = np.interp(grid, low_loss_energy, low_loss)
    elastic = low[grid <= elastic_threshold(grid, low)].sum()
    core = np.concatenate((core_loss, _run_out(core_loss)))
    low = np.concatenate((low, _run_out(low)))
    size = 1 << (len(core) + len(low) - 1).bit_length()
    # the Gaussian lies in its array where the zero-loss peak lies in the low loss, so that the
    # ratio moves nothing
    where = grid[0] - centre + dispersion * np.arange(size)
    sigma = width / np.sqrt(8 * np.log(2))
    gaussian = np.exp(-0.5 * (where / sigma) ** 2)
    gaussian *= elastic / gaussian.sum()
    ratio = np.fft.rfft(gaussian) / np.fft.rfft(low, size)
    single = np.fft.irfft(np.fft.rfft(core, size) * ratio, size)
    return np.asarray(single[: len(core_loss)], dtype=float)


def _run_out(counts: Array) -> Array:
    """Return a cosine from the last counts to zero, so that the transform does not ring."""
    phase = np.linspace(0, np.pi, _TAPER)
    return np.asarray(counts[-5:].mean() * 0.5 * (1 + np.cos(phase)), dtype=float)
