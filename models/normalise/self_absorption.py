"""Self-absorption: a thick sample's fluorescence, in which the white line is damped.

The fluorescence of a sample that takes up the whole beam is in proportion to the absorption by its
edge over all absorption, on the way in and out. So what is seen of a normalised absorption ``n`` is
``n (alpha + 1) / (alpha + n)``, where ``alpha`` is the rest of the absorption over the edge's.
D. Haskel, FLUO (1999); Larch's ``fluo_corr`` is the same.
"""

import numpy as np

from nearedge.models.spectrum import Array

#: Part of the greatest signal that a thick sample can give, beyond which it is not one.
MOST = 0.95


def damped(norm: Array, alpha: float) -> Array:
    """Return what a thick sample's fluorescence shows of a normalised absorption (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        seen: Array = norm * (alpha + 1) / (alpha + norm)
    return seen


def undamped(norm: Array, alpha: float) -> Array | None:
    """Return the normalised absorption (n,) that a thick sample shows as ``norm``.

    None where the signal comes so near to the greatest that such a sample could give, or beyond it,
    that nothing can be told of the absorption: composition or angles are others.
    """
    if np.nanmax(norm, initial=0.0) > MOST * (alpha + 1):
        return None
    return np.asarray(norm * alpha / (alpha + 1 - norm))


def damping(alpha: float) -> float:
    """Return by how much of itself a small feature past the edge is damped: 0 for none, to 1."""
    return 1 / (alpha + 1)
