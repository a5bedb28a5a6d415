"""How far a spectrum lies from those that the model learned from.

The training spectra of an edge are taken as one Gaussian on the model's grid. The distance is the
Mahalanobis distance of the measured part, per measured point, over the size of the spectrum's own
fine structure: one that hardly has any lies near everything, and one that rings strongly lies far
from all even where it is of the right kind. The score of a whole spectrum grows with its misfit as
well: the clusters found for a foreign spectrum explain it badly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array, freeze_arrays

#: Fine structure that a spectrum without any is taken to have, edge steps.
QUIET = 0.1
#: Where the mean of the training spectra is this high, the edge is passed.
PASSED = 0.9
#: Power of the misfit in the score. On `val` a higher one tells foreign spectra worse: the dense
#: crystals that make up most of it have large misfits, too.
MISFIT_POWER = 0.25


def score(distance: float, misfit: float, *, usual: float) -> float:
    """Return the out-of-distribution score of a whole spectrum.

    Parameters
    ----------
    distance
        The distance that `Familiar.distance` gives.
    misfit
        The misfit of the spectrum that the found clusters imply, edge steps.
    usual
        Median misfit of held-out families.
    """
    return float(distance * (misfit / usual) ** MISFIT_POWER)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Familiar:
    """What is familiar: mean (edges, g) and covariance (edges, g, g) of training spectra."""

    mean: Array
    covariance: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def distance(
        self, values: NDArray[np.floating], mask: NDArray[np.floating], *, edge: int
    ) -> float:
        """Return the root-mean Mahalanobis distance per measured point, over the fine structure.

        Parameters
        ----------
        values, mask
            (g,) as in `nearedge.models.parts.condition.Condition`.
        edge
            Index of the (absorber, edge) pair.
        """
        seen = mask > 0
        apart = np.asarray(values, np.float64)[seen] - self.mean[edge][seen]
        covariance = self.covariance[edge][np.ix_(seen, seen)]
        far = np.sqrt(apart @ np.linalg.solve(covariance, apart) / max(seen.sum(), 1))
        return float(far / (self._fine_structure(values, seen, edge=edge) + QUIET))

    def distances(
        self, values: NDArray[np.floating], mask: NDArray[np.floating], *, edge: int
    ) -> Array:
        """Give the `distance` of each of many spectra, (p,), from values and masks (p, g)."""
        seen = mask > 0
        groups, group = np.unique(seen, axis=0, return_inverse=True)
        out = np.zeros(len(values))
        for number, own in enumerate(groups):
            rows = np.flatnonzero(group.ravel() == number)
            level = np.asarray(values[rows], np.float64)[:, own]
            apart = level - self.mean[edge][own]
            inverse = np.linalg.inv(self.covariance[edge][np.ix_(own, own)])
            squares = ((apart @ inverse) * apart).sum(axis=1)
            past = level[:, self.mean[edge][own] > PASSED]
            structure = np.sqrt(np.mean((past - 1) ** 2, axis=1)) if past.size else 0.0
            out[rows] = np.sqrt(squares / max(own.sum(), 1)) / (structure + QUIET)
        return out

    def _fine_structure(
        self, values: NDArray[np.floating], seen: NDArray[np.bool_], *, edge: int
    ) -> float:
        """Return the root-mean-square departure from 1 past the edge, edge steps."""
        past = np.asarray(values, np.float64)[seen & (self.mean[edge] > PASSED)]
        return float(np.sqrt(np.mean((past - 1) ** 2))) if past.size else 0.0
