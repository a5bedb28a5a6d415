"""Learn which spectra are familiar, for the out-of-distribution score."""

import numpy as np
from numpy.typing import NDArray

from nearedge.models.parts.outlier import Familiar
from nearedge.models.spectrum import Array

#: Share of the covariance that is replaced by its diagonal, for few spectra and many points.
SHRINKAGE = 0.02
#: Variance that every point may have on top, (edge steps)²: a measurement is never exact.
GRAIN = 0.02**2
#: Least part of what the longest spectrum shows that others must show to be learned from: the
#: shortest are normalised by little and are like anything.
LEAST_SHOWN = 0.45


def familiarise(
    values: NDArray[np.floating],
    mask: NDArray[np.floating],
    edge: NDArray[np.int64],
    *,
    edges: int,
) -> Familiar:
    """Learn what is familiar from all spectra but the shortest.

    Parameters
    ----------
    values, mask
        (n, g) training spectra in all their views.
    edge
        (n,) index of each spectrum's (absorber, edge) pair.
    edges
        How many pairs there are.
    """
    length = mask.mean(1)
    shown = length >= LEAST_SHOWN * length.max()
    parts = [
        _moments(values[own].astype(np.float64), mask[own].astype(np.float64))
        for own in (shown & (edge == k) for k in range(edges))
    ]
    return Familiar(
        mean=np.array([mean for mean, _ in parts]),
        covariance=np.array([_regular(covariance) for _, covariance in parts]),
    )


def _moments(values: Array, mask: Array) -> tuple[Array, Array]:
    """Return mean and covariance of rows with gaps: each pair over the rows that have both."""
    count = np.maximum(mask.T @ mask, 1)
    mean = (values * mask).sum(0) / np.maximum(mask.sum(0), 1)
    apart = (values - mean) * mask
    return mean, apart.T @ apart / count


def _regular(covariance: Array) -> Array:
    """Shrink towards the diagonal, add grain, and lift what gaps have made negative."""
    mixed = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(np.diag(covariance))
    levels, vectors = np.linalg.eigh(mixed + GRAIN * np.eye(len(mixed)))
    return np.asarray((vectors * np.maximum(levels, GRAIN)) @ vectors.T)
