"""Answers and truths in the form in which they are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Estimates, Interval, Samples
from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredAnswer:
    """What any method, model or baseline, says of one spectrum.

    Attributes
    ----------
    cn_mean, cn_map, cn_set
        Coordination number: mean, most probable, 90 % set (empty where the method states none).
    bond, bridge
        Mean first-shell distance and second-shell figure, with intervals where there are any.
    cn_interval
        90 % interval of the mean coordination number; None where the method states none.
    weights, sample_cn
        (samples,) shares that sum to 1, and coordination numbers.
    bonds, angles
        (samples, k) first-shell distances and bond angles, ascending, NaN past the last.
    rdf
        For each species (m,) on `geometry.rdf_grid`; empty where the method states none.
    samples
        The clusters, or None where the method draws none.
    """

    cn_mean: float
    cn_map: int
    cn_set: tuple[int, ...]
    bond: Interval | None
    bridge: Interval | None
    weights: Array
    sample_cn: np.ndarray
    bonds: Array
    angles: Array
    rdf: Mapping[str, Array]
    samples: Samples | None = None
    cn_interval: tuple[float, float] | None = None


def answer_of(samples: Samples, estimates: Estimates, *, absorber: str) -> ScoredAnswer:
    """Put an inversion's samples and estimates into the form in which answers are scored."""
    cluster = (absorber, samples.species, samples.positions)
    return ScoredAnswer(
        cn_mean=estimates.cn_mean,
        cn_map=estimates.cn_map,
        cn_set=estimates.cn_set,
        bond=estimates.bond,
        bridge=estimates.bridge,
        weights=samples.weights,
        sample_cn=estimates.sample_cn,
        bonds=geometry.shell_bonds(*cluster),
        angles=geometry.shell_angles(*cluster),
        rdf=estimates.rdf,
        samples=samples,
        cn_interval=_cn_interval(estimates),
    )


def _cn_interval(estimates: Estimates) -> tuple[float, float] | None:
    if estimates.cn_mean_lo is None or estimates.cn_mean_hi is None:
        return None
    return estimates.cn_mean_lo, estimates.cn_mean_hi


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What truly surrounds the absorber, at one site or at several whose spectra were averaged.

    Attributes
    ----------
    sites
        The sites.
    cn
        (sites,) coordination numbers.
    bonds, angles
        For each site its first-shell distances and bond angles, ascending.
    bridge
        Mean second-shell figure; NaN where none.
    rdf
        For each species (m,) on `geometry.rdf_grid`, averaged over the sites.
    """

    sites: tuple[Site, ...]
    cn: np.ndarray
    bonds: tuple[Array, ...]
    angles: tuple[Array, ...]
    bridge: float
    rdf: Mapping[str, Array]

    @property
    def absorber(self) -> str:
        """Symbol of the absorber."""
        return self.sites[0].absorber


def _mean_rdf(sites: Sequence[Site]) -> dict[str, Array]:
    vocabulary = sorted({str(symbol) for site in sites for symbol in site.species})
    r = geometry.rdf_grid()
    each = [
        geometry.radial_distribution(s.species, s.positions, vocabulary=vocabulary, r=r)
        for s in sites
    ]
    return {symbol: np.mean([one[symbol] for one in each], axis=0) for symbol in vocabulary}


def truth_of(sites: Sequence[Site]) -> Truth:
    """Gather the true figures of one site, or of several that share a spectrum."""
    clusters = [(s.absorber, s.species, s.positions) for s in sites]
    bridges = np.array([float(geometry.bridge(*c)) for c in clusters])
    return Truth(
        sites=tuple(sites),
        cn=np.array([site.cn for site in sites]),
        bonds=tuple(geometry.shell_bonds(*c) for c in clusters),
        angles=tuple(geometry.shell_angles(*c) for c in clusters),
        bridge=float(geometry.nanmean(bridges)),
        rdf=_mean_rdf(sites),
    )
