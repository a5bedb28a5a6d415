"""How the bond angles at an absorber are distributed.

The mean of an octahedron's angles, 107°, is an angle that it does not have: its angles lie at
90° and 180°. The peaks of the distribution say so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.clusters.geometry import Species, shell_angles
from nearedge.models.spectrum import Array, freeze_arrays

#: Standard deviation of the Gaussian that smears each angle, degrees.
SMEAR = 4.0
#: A peak stands out by at least this share of the highest one.
LEAST_PEAK = 0.1
STEP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AngleDistribution:
    """Distribution of the first-shell angles at the absorber.

    Attributes
    ----------
    degrees
        (181,) 0 to 180.
    density
        (181,) share per degree; its integral is 1, or 0 where no sample has two bonds.
    peaks
        Degrees at which it is highest, ascending; the ends of the range count.
    """

    degrees: Array
    density: Array
    peaks: tuple[float, ...]

    def __post_init__(self) -> None:
        freeze_arrays(self)


def angle_distribution(
    absorber: str,
    species: Species,
    positions: NDArray[np.floating],
    *,
    weights: Array,
    smear: float = SMEAR,
) -> AngleDistribution:
    """Return the distribution of the angles between the absorber's bonds.

    Parameters
    ----------
    absorber
        Chemical symbol.
    species, positions
        (samples, atoms) and (samples, atoms, 3) Å.
    weights
        (samples,) that sum to 1; each sample counts by its own, however many angles it has.
    smear
        Standard deviation of the Gaussian that smears each angle, degrees. What is smeared past
        0° or 180° is reflected, so that straight angles lose nothing.

    Returns
    -------
    AngleDistribution
        The distribution, with a density of zero where no sample has an angle.
    """
    degrees = np.linspace(0.0, 180.0, round(180 / STEP) + 1)
    angles = shell_angles(absorber, species, positions)
    known = ~np.isnan(angles)
    each = weights / np.maximum(known.sum(-1), 1)
    values, shares = angles[known], np.broadcast_to(each[:, None], angles.shape)[known]
    density = np.zeros_like(degrees)
    for images in (values, -values, 360.0 - values):
        density += np.exp(-0.5 * ((degrees[:, None] - images) / smear) ** 2) @ shares
    area = np.trapezoid(density, degrees)
    density = density / area if area > 0 else density
    return AngleDistribution(degrees=degrees, density=density, peaks=_peaks(degrees, density))


def _peaks(degrees: Array, density: Array) -> tuple[float, ...]:
    top = float(density.max())
    if not top:
        return ()
    from scipy.signal import find_peaks  # late: it takes half a second, before each command

    walled = np.concatenate([[0.0], density, [0.0]])  # so that a peak at an end is one
    found, _ = find_peaks(walled, prominence=LEAST_PEAK * top)
    return tuple(float(degrees[k - 1]) for k in found)
