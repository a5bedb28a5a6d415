"""Groups of pixels whose spectra are alike, each to be stood for by one spectrum."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nearedge.models.maps.components import components
from nearedge.models.spectrum import Array, freeze_arrays

_TRIES, _STEPS = 5, 100
#: Distance of two groups, in units of twice their larger scatter, from which they are two.
APART = 2.0


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
        Groups; None: as many as are set apart, see `merged`.
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
    wanted = min(count or most, len(spectra))
    drawn = k_means(own, wanted, rng=rng)
    labels[known] = by_size(drawn if count else merged(own, drawn))
    scores = np.full((len(condition), found.rank), np.nan)
    scores[known] = own
    return Groups(labels=labels, scores=scores, vectors=found.vectors, grid_mean=found.mean)


def by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give groups new numbers, the largest first, without empty ones."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    place = np.empty(len(counts), dtype=np.intp)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return place[inverse.ravel()]


def merged(points: Array, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Put together groups that are not set apart, the nearest first.

    Two groups are set apart where their centres are farther from each other than `APART` times
    twice their larger scatter in that direction. k-means also cuts one cloud of noise into pieces;
    of the halves of a Gaussian the centres are 1.3 times that apart.

    Parameters
    ----------
    points, labels
        (p, d), and (p,) the group of each.
    """
    labels = labels.copy()
    while True:
        pairs = [
            (_apart(points[labels == a], points[labels == b]), int(a), int(b))
            for a, b in combinations(np.unique(labels), 2)
        ]
        nearest, a, b = min(pairs, default=(np.inf, 0, 0))
        if nearest >= APART:
            return labels
        labels[labels == b] = a


def _apart(one: Array, other: Array) -> float:
    """Return the centres' distance over twice the larger scatter along it; 0 for a lone point."""
    way = other.mean(axis=0) - one.mean(axis=0)
    far = float(np.linalg.norm(way))
    if far == 0 or min(len(one), len(other)) < 2:
        return 0.0
    # of few points the scatter is underestimated: that of the other group stands in
    scatter = 2 * max(float((some @ way / far).std()) for some in (one, other))
    return far / scatter if scatter > 0 else np.inf


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
