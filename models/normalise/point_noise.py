"""The noise of one point, where the curve bends between points that lie far apart."""

import numpy as np

from nearedge.models.normalise.evidence import noise
from nearedge.models.spectrum import Array

_NEIGHBOURS = (0, 1, 3, 4)
_MIDDLE = 2


def point_noise(energy: Array, mu: Array) -> float:
    """Estimate the noise of one point by the cubic through its four neighbours.

    As `nearedge.models.normalise.evidence.noise`, which takes the line through two: on a scan of
    coarse steps the bend of the curve between them counts as noise there, half as much again. The
    normalisation keeps to that one, with which its limits were chosen.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    mu
        (n,) the signal.
    """
    if len(energy) < 5:
        return noise(energy, mu)
    places = np.lib.stride_tricks.sliding_window_view(energy, 5)
    values = np.lib.stride_tricks.sliding_window_view(mu, 5)
    weights = np.stack([_weight(places, k) for k in _NEIGHBOURS], axis=1)
    off = values[:, _MIDDLE] - (weights * values[:, _NEIGHBOURS]).sum(axis=1)
    spread = np.sqrt(1 + (weights**2).sum(axis=1))
    return float(1.4826 * np.median(np.abs(off) / spread))


def _weight(places: Array, k: int) -> Array:
    """Return Lagrange's weight of the k-th neighbour for the value in the middle."""
    found = np.ones(len(places))
    for other in _NEIGHBOURS:
        if other != k:
            found *= (places[:, _MIDDLE] - places[:, other]) / (places[:, k] - places[:, other])
    return found
