"""What detectors make of a beam: absorption, counting, dead time and an electron spectrometer."""

import numpy as np

from nearedge.models.spectrum import Array
from nearedge.sim.silica import broaden


def thickness(edge: Array | float, energy: Array | float, *, edge_energy: float) -> Array | float:
    """Return the optical thickness of a specimen: an edge of height 1 on a slope.

    The slope, of the other electrons, falls as the third power of the energy (Victoreen).
    """
    return edge + 0.6 * (edge_energy / np.asarray(energy)) ** 3


def foil(energy: Array | float, *, edge_energy: float, width: float = 0.8) -> Array | float:
    """Return the optical thickness of a reference foil, edge at its table energy.

    An arctangent, not a calculated spectrum: it serves to calibrate the energy only.
    """
    return 0.3 + 0.5 + np.arctan((np.asarray(energy) - edge_energy) / width) / np.pi


def counted(rate: float, *, dead_time_s: float) -> float:
    """Return the output count rate of a non-paralysable counter, counts per second.

    Knoll, Radiation Detection and Measurement, 4th ed., equation 4.23.
    """
    return rate / (1 + rate * dead_time_s)


def power_law(energy: Array, *, exponent: float, at: float) -> Array:
    """Return an electron-energy-loss background that is 1 at one energy."""
    return (energy / at) ** -exponent


def low_loss(energy: Array, *, fwhm: float, plasmon: float, t_over_lambda: float) -> Array:
    """Return a low-loss spectrum: zero-loss peak and one plasmon, area 1.

    Parameters
    ----------
    energy
        (n,) eV, evenly spaced, 0 at the zero-loss peak.
    fwhm
        eV, of the zero-loss peak.
    plasmon
        eV, its energy; its width is a quarter of that.
    t_over_lambda
        Thickness in mean free paths: the plasmon's area against the zero-loss peak's.
    """
    once = t_over_lambda * gaussian(energy, plasmon, plasmon / 4)
    both = gaussian(energy, 0.0, fwhm) + once
    share: Array = both / both.sum()
    return share


def gaussian(energy: Array, centre: float, fwhm: float) -> Array:
    """Return a Gaussian of area 1 (per channel, on an even grid)."""
    peak = np.exp(-4 * np.log(2) * ((energy - centre) / fwhm) ** 2)
    share: Array = peak / max(peak.sum(), 1e-300)
    return share


def scattered_twice(edge: Array, *, step: float, plasmon: float, t_over_lambda: float) -> Array:
    """Add to a core-loss edge its copy delayed by one plasmon.

    Parameters
    ----------
    edge
        (n,) single-scattering edge on an even grid.
    step
        eV per channel.
    """
    delay = round(plasmon / step)
    late = np.concatenate([np.full(delay, edge[0]), edge])[: len(edge)]
    return edge + t_over_lambda * broaden(late, fwhm=plasmon / 4, step=step)
