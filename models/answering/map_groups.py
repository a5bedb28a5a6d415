"""Groups of like pixels, out of what the catalog keeps of a map."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nearedge.models.answering.pixels import NUMBERS
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.maps.groups import Groups, group_pixels
from nearedge.models.parts.many_conditions import conditions
from nearedge.models.spectrum import Array, Technique

MOST = 6
"""Groups, at most."""


def map_groups(
    energy: Array,
    norm: NDArray[np.float32],
    figures: Array,
    known: NDArray[np.bool_],
    *,
    span: Sequence[float],
    technique: Technique,
    absorber: str,
    edge: str,
    rng: np.random.Generator,
) -> Groups:
    """Group pixels by their spectra on the model's grid.

    Parameters
    ----------
    energy, norm
        (n,) eV, and (p, n) normalised spectra, NaN at energies that were left out.
    figures
        (p, k) the `NUMBERS` of each.
    known
        (p,) which of them have an answer.
    span
        The grid that the model reads.
    technique, absorber, edge
        What was measured.
    rng
        Draws where the groups' centres begin.
    """
    rows = np.flatnonzero(known)
    numbers = {name: figures[rows, NUMBERS.index(name)] for name in ("e0", "edge_step")}
    flat = _filled(np.asarray(norm[rows]))
    read = conditions(
        NormalisedSpectra(
            energy=energy,
            norm=cast(Array, flat),  # float32 will do, and is half as large
            flat=cast(Array, flat),
            e0=numbers["e0"],
            edge_step=numbers["edge_step"],
            edge_step_error=np.zeros(len(rows)),
            energy_shift=figures[rows, NUMBERS.index("energy_shift")],
            flags=((),) * len(rows),
            technique=technique,
            absorber=absorber,
            edge=edge,
        ),
        span=span,
    )
    values = np.full((len(known), read.values.shape[1]), np.nan)
    values[rows[read.rows]] = np.where(read.mask > 0, read.values, np.nan)
    return group_pixels(common_part(values), most=MOST, rng=rng)


def _filled(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return spectra with straight lines where energies were left out."""
    for k in np.flatnonzero(~np.isfinite(spectra).all(axis=1)):
        good = np.isfinite(spectra[k])
        at = np.arange(len(good))
        spectra[k] = np.interp(at, at[good], spectra[k][good]) if good.any() else 0.0
    return spectra


def common_part(read: Array) -> Array:
    """Return the part of the grid that all spectra (p, g) have that were read."""
    known = np.isfinite(read).any(axis=1)
    if not known.any():
        return read
    everywhere = np.isfinite(read[known]).all(axis=0)
    return read[:, everywhere] if everywhere.any() else read
