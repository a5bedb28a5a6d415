"""How the scan covers the edges of many spectra."""

import numpy as np
from numpy.typing import NDArray

from nearedge.models.normalise.evidence import (
    COARSE,
    FEW_NEAR,
    MIN_AFTER,
    MIN_BEFORE,
    MIN_POINTS_ASIDE,
    MIN_POINTS_NEAR,
    NEAR,
)
from nearedge.models.spectrum import Array


def points_near(energy: Array, e0: Array) -> NDArray[np.intp]:
    """Return how many energies lie near each e0, (p,)."""
    return np.asarray((np.abs(energy - e0[:, None]) <= NEAR).sum(axis=1))


def are_covered(energy: Array, e0: Array) -> NDArray[np.bool_]:
    """Tell whether `evidence.check_cover` has nothing against each e0."""
    below = np.searchsorted(energy, e0, side="left")
    above = len(energy) - np.searchsorted(energy, e0, side="right")
    return np.asarray(
        (e0 - energy[0] >= MIN_BEFORE)
        & (energy[-1] - e0 >= MIN_AFTER)
        & (np.minimum(below, above) >= MIN_POINTS_ASIDE)
        & (points_near(energy, e0) >= MIN_POINTS_NEAR)
    )


def steps_over(energy: Array, e0: Array) -> tuple[Array, Array]:
    """Return between which energies in eV each e0 lies, as `evidence.step_over` does."""
    past = np.clip(np.searchsorted(energy, e0, side="right"), 1, len(energy) - 1)
    return energy[past - 1], energy[past]


def are_coarse(energy: Array, e0: Array) -> NDArray[np.bool_]:
    """Tell whether the scan stepped far over each edge."""
    before, past = steps_over(energy, e0)
    return np.asarray((past - before > COARSE) | (points_near(energy, e0) < FEW_NEAR))
