"""Principal components of many spectra, and how many of them stand out of the noise."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nearedge.models.spectrum import Array, freeze_arrays

_AT_ONCE = 4096  # spectra whose product is added at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Components:
    """What many spectra are made of, the strongest first.

    Attributes
    ----------
    mean
        (n,) of the spectra.
    vectors
        (rank, n) orthonormal components.
    strengths
        (min(p, n),) singular values of the spectra less their mean.
    threshold
        Singular value above which a component is kept.
    """

    mean: Array
    vectors: Array
    strengths: Array
    threshold: float

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def rank(self) -> int:
        """How many components are kept."""
        return len(self.vectors)

    def scores(self, spectra: Array) -> Array:
        """Return how much of each component is in each spectrum, (p, rank)."""
        return np.asarray((spectra - self.mean) @ self.vectors.T)

    def rebuilt(self, scores: Array) -> Array:
        """Return spectra (p, n) of scores (p, rank)."""
        return np.asarray(self.mean + scores @ self.vectors)


def components(spectra: Array, *, most: int = 64) -> Components:
    """Find the components that stand out of the noise.

    Kept are those whose singular value is above Gavish and Donoho's threshold for noise of unknown
    size: a multiple of the median singular value, which follows from the Marchenko-Pastur law
    (IEEE Transactions on Information Theory 60, 5040, 2014). It holds for noise that is alike at
    all points.

    Parameters
    ----------
    spectra
        (p, n) finite.
    most
        Components that are kept at most.
    """
    mean = spectra.mean(axis=0)
    square = np.zeros((spectra.shape[1],) * 2)
    for begin in range(0, len(spectra), _AT_ONCE):
        off = spectra[begin : begin + _AT_ONCE] - mean
        square += off.T @ off
    values, vectors = np.linalg.eigh(square)
    smaller, larger = sorted(spectra.shape)
    strengths = np.sqrt(np.maximum(values[::-1], 0.0))[:smaller]
    threshold = noise_factor(smaller / larger) * float(np.median(strengths))
    rank = min(int((strengths > threshold).sum()), most)
    return Components(
        mean=mean,
        vectors=np.ascontiguousarray(vectors[:, ::-1].T[:rank]),
        strengths=strengths,
        threshold=threshold,
    )


@lru_cache(maxsize=64)
def noise_factor(ratio: float) -> float:
    """Return the threshold in units of the median singular value, for matrices of that shape.

    Parameters
    ----------
    ratio
        The smaller side over the larger one.

    Examples
    --------
    >>> round(noise_factor(1.0), 2)
    2.86
    """
    part = 8 * ratio / (ratio + 1 + np.sqrt(ratio**2 + 14 * ratio + 1))
    return float(np.sqrt(2 * (ratio + 1) + part) / np.sqrt(_median_of_noise(ratio)))


def _median_of_noise(ratio: float) -> float:
    """Return the median of the Marchenko-Pastur law, to a few parts in a million."""
    lo, hi = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    # evenly in an angle, so that the ends, where the density is steep, are sampled finely
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    x = lo + (hi - lo) * (1 - np.cos(angle)) / 2
    density = np.sqrt(np.maximum((hi - x) * (x - lo), 0.0)) / np.maximum(x, 1e-300)
    share = np.cumsum(density * np.sin(angle))
    return float(np.interp(0.5, share / share[-1], x))
