"""Random clusters from known ones: strained, rattled, and cut to the nearest atoms.

Done as `nearedge dataset build` does it for the structures whose spectra it calculates, so that
clusters with and without a spectrum come from one distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Rattling:
    """How clusters are displaced.

    Attributes
    ----------
    rattles, odds
        Root-mean-square displacements (Å) of every atom, and how often each is drawn.
    strain
        Standard deviation of the elements of the strain, and of its isotropic part.
    usual_share
        Share of clusters kept whose absorber has its usual coordination; rarer ones are all kept.
    usual
        The usual coordination, by absorber.
    groups
        Weight of each group of structures.
    nearest
        Clusters with a shorter distance to the absorber are thrown back, Å.
    """

    rattles: tuple[float, ...] = (0.0, 0.03, 0.06, 0.1, 0.15)
    odds: tuple[float, ...] = (0.2, 0.25, 0.25, 0.2, 0.1)
    strain: float = 0.012
    usual_share: float = 0.45
    usual: tuple[tuple[str, int], ...] = (("Si", 4), ("O", 2))
    groups: tuple[tuple[str, float], ...] = (("amcsd", 0.25), ("iza", 0.25), ("hypo", 0.4))
    nearest: float = 1.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RattledCluster:
    """The nearest atoms of an absorber, nearest first: (n,) symbols and (n, 3) Å."""

    absorber: str
    edge: str
    species: NDArray[np.str_]
    positions: Array


def site_weights(sites: Sequence[Site], rattling: Rattling) -> Array:
    """Return the odds of each site: by group, then family, then absorber, then evenly."""
    groups = dict(rattling.groups)
    families: dict[str, set[str]] = {}
    members: dict[tuple[str, str], int] = {}
    for site in sites:
        families.setdefault(site.group, set()).add(site.family)
        key = site.family, site.absorber
        members[key] = members.get(key, 0) + 1
    weights = np.array(
        [
            groups.get(site.group, 0.0)
            / len(families[site.group])
            / members[site.family, site.absorber]
            for site in sites
        ]
    )
    return np.asarray(weights / weights.sum())


def displace(
    site: Site, rng: np.random.Generator, *, rattle: float, strain: float
) -> tuple[NDArray[np.str_], Array]:
    """Strain a cluster, rattle every atom (the absorber too), and sort it by distance.

    Parameters
    ----------
    site
        The cluster.
    rng
        Source of randomness.
    rattle
        Root-mean-square displacement of each atom, Å.
    strain
        Standard deviation of the strain's elements.
    """
    tensor = rng.normal(0, strain, (3, 3)) if strain else np.zeros((3, 3))
    tensor = (tensor + tensor.T) / 2 + np.eye(3) * (rng.normal(0, strain) if strain else 0.0)
    step = rattle / np.sqrt(3)
    moved = site.positions @ (np.eye(3) + tensor)
    moved = moved + rng.normal(0, step, moved.shape) - rng.normal(0, step, 3)
    order = np.argsort(geometry.distances(moved), kind="stable")
    return site.species[order], moved[order]


def draw_cluster(
    sites: Sequence[Site], weights: Array, rng: np.random.Generator, rattling: Rattling
) -> RattledCluster:
    """Draw one random cluster around one of the sites.

    Parameters
    ----------
    sites, weights
        What to draw from, and the odds of each (`site_weights`).
    rng
        Source of randomness.
    rattling
        How far to displace.
    """
    while True:
        site = sites[rng.choice(len(sites), p=weights)]
        rattle = float(rng.choice(rattling.rattles, p=rattling.odds))
        species, positions = displace(
            site, rng, rattle=rattle, strain=rattling.strain if rattle else 0.0
        )
        if _kept(site.absorber, species, positions, rng, rattling):
            return RattledCluster(
                absorber=site.absorber, edge=site.edge, species=species, positions=positions
            )


def _kept(
    absorber: str,
    species: NDArray[np.str_],
    positions: Array,
    rng: np.random.Generator,
    rattling: Rattling,
) -> bool:
    if float(np.linalg.norm(positions[0])) < rattling.nearest:
        return False
    cn = int(geometry.coordination(absorber, species, positions))
    usual = dict(rattling.usual).get(absorber) == cn
    return not usual or rng.random() < rattling.usual_share
