"""How unlike known sites a site is: its bond angles, and the radial distribution around it.

Angles are compared as distributions, by their Wasserstein distance, and radial distributions by the
share that they do not overlap. Each is counted in units of how far two sites of silicon oxides are
from each other, and the mean of the two is taken: 0 is the same arrangement, 1 is as far as two
sites that have nothing to do with each other. The nearest known site counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.evaluation.energy import quantiles
from nearedge.models.spectrum import Array

#: About how far two sites of silicon oxides are apart, as the median over pairs: degrees, share.
ANGLES, CURVES = 20.0, 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangements:
    """What is compared of sites of one absorber.

    Attributes
    ----------
    angles
        (sites, levels) quantiles of the bond angles, degrees; 0 below two bonds.
    curves
        (sites, species * radii) atoms per Å, to 4 Å.
    """

    angles: Array
    curves: Array

    @classmethod
    def of(cls, sites: Sequence[Site], *, species: Sequence[str]) -> Self:
        """Describe the arrangements of sites."""
        r = geometry.rdf_grid()
        shells = [geometry.shell_angles(s.absorber, s.species, s.positions) for s in sites]
        curves = [
            geometry.radial_distribution(s.species, s.positions, vocabulary=species, r=r)
            for s in sites
        ]
        return cls(
            angles=np.nan_to_num(quantiles(shells)),
            curves=np.array([np.concatenate([one[kind] for kind in species]) for one in curves]),
        )

    def apart(self, other: Self) -> tuple[Array, Array]:
        """Return how far the angles and the curves are from others', (sites, others) each."""
        area = self.curves.sum(1)[:, None] + other.curves.sum(1)
        shared = np.array([np.minimum(one, other.curves).sum(1) for one in self.curves])
        angles = np.array([np.abs(one - other.angles).mean(1) for one in self.angles])
        return angles, 1 - 2 * shared / np.maximum(area, 1e-9)


def novelty(sites: Sequence[Site], known: Sequence[Site]) -> Array:
    """Return how far each site is from the nearest known one of its absorber, (sites,).

    Infinite where no site of its absorber is known.
    """
    out = np.full(len(sites), np.inf)
    for absorber in {site.absorber for site in sites}:
        rows = [k for k, site in enumerate(sites) if site.absorber == absorber]
        nearby = [site for site in known if site.absorber == absorber]
        if nearby:
            out[rows] = _nearest([sites[k] for k in rows], nearby)
    return out


def _nearest(sites: Sequence[Site], known: Sequence[Site]) -> Array:
    species = sorted({str(kind) for site in [*sites, *known] for kind in site.species})
    there = Arrangements.of(known, species=species)
    angles, curves = Arrangements.of(sites, species=species).apart(there)
    nearest: Array = ((angles / ANGLES + curves / CURVES) / 2).min(1)
    return nearest
