"""Groups of pixels whose spectra are alike, each to be stood for by one spectrum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.maps.components import components
from nearedge.models.spectrum import Array, freeze_arrays

_TRIES, _STEPS = 5, 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Which pixels are alike.

    Attributes
    ----------
    labels
        (p,) number of each pixel's group, the largest group first; -1 for none.
    scores
        (p, rank) how much of each principal component is in each pixel; NaN for none.
    vectors, grid_mean
        (rank, g) principal components, and (g,) the mean spectrum.
    """

    labels: NDArray[np.intp]
    scores: Array
    vectors: Array
    grid_mean: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return int(self.labels.max(initial=-1)) + 1


def group_pixels(
    condition: Array, *, most: int, rng: np.random.Generator, count: int | None = None
) -> Groups:
    """Group spectra by k-means of their principal components.

    Parameters
    ----------
    condition
        (p, g) normalised spectra on one grid, NaN in rows that are not grouped.
    most
        Groups at most.
    rng
        Draws where the groups' centres begin.
    count
        Groups; None: one more than there are components that stand out of the noise.
    """
    known = np.isfinite(condition).all(axis=1)
    spectra = condition[known]
    labels = np.full(len(condition), -1, dtype=np.intp)
    if len(spectra) < 2:
        labels[known] = 0
        nothing = np.empty((0, condition.shape[1]))
        mean = spectra.mean(axis=0) if len(spectra) else np.full(condition.shape[1], np.nan)
        scores = np.empty((len(condition), 0))
        return Groups(labels=labels, scores=scores, vectors=nothing, grid_mean=mean)
    found = components(spectra, most=most)
    own = found.scores(spectra)
    wanted = min(count or found.rank + 1, most, len(spectra))
    labels[known] = by_size(k_means(own, wanted, rng=rng))
    scores = np.full((len(condition), found.rank), np.nan)
    scores[known] = own
    return Groups(labels=labels, scores=scores, vectors=found.vectors, grid_mean=found.mean)


def by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give groups new numbers, the largest first, without empty ones."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    place = np.empty(len(counts), dtype=np.intp)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return place[inverse.ravel()]


def k_means(points: Array, count: int, *, rng: np.random.Generator) -> NDArray[np.intp]:
    """Group points (p, d) by Lloyd's algorithm, the best of several tries from k-means++."""
    if count < 2 or not points.shape[1]:
        return np.zeros(len(points), dtype=np.intp)
    tries = [_lloyd(points, _spread(points, count, rng)) for _ in range(_TRIES)]
    return min(tries, key=lambda found: found[1])[0]


def _spread(points: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw centres far from each other (Arthur & Vassilvitskii, SODA 2007)."""
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < count:
        far = _squares(points, np.array(chosen)).min(axis=1)
        total = float(far.sum())
        if total <= 0:
            break
        chosen.append(points[rng.choice(len(points), p=far / total)])
    return np.array(chosen)


def _lloyd(points: Array, centres: Array) -> tuple[NDArray[np.intp], float]:
    labels = np.full(len(points), -1, dtype=np.intp)
    for _ in range(_STEPS):
        far = _squares(points, centres)
        new = far.argmin(axis=1)
        if (new == labels).all():
            break
        labels = new
        for k in np.unique(labels):
            centres[k] = points[labels == k].mean(axis=0)
    return labels, float(_squares(points, centres).min(axis=1).sum())


def _squares(points: Array, centres: Array) -> Array:
    cross = points @ centres.T
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * cross, 0.0))
