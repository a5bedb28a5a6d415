"""Specimens whose structure is known: sites with FEFF spectra, mixed as the pressure rises."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from nearedge.models.clusters.geometry import radial_distribution, shell_bonds
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.normalise.edges import edge_energy
from nearedge.models.spectrum import Array

# the table's O K edge is that of the free atom; the oxides' lies here
OXIDE_EDGE = {("O", "K"): 532.0}  # eV
PRE_DECAY = 3.0  # eV
POST_DECAY = 15.0  # eV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phase:
    """Sites that come and go together, in equal parts.

    Attributes
    ----------
    amount
        Parts of this phase at a pressure in GPa; the amounts of a specimen need not sum to 1.
    """

    name: str
    sites: tuple[Site, ...]
    amount: Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SilicaTruth:
    """What is really there at one pressure: a distribution over sites.

    Attributes
    ----------
    pressure
        GPa.
    cn_prob
        Share of sites by coordination number.
    cn_mean, bond_mean
        Mean over sites of the coordination number and of the mean first-shell distance (Å).
    sites
        ``(id, structure, split, share)`` of each site present.
    """

    pressure: float
    cn_prob: dict[int, float]
    cn_mean: float
    bond_mean: float
    sites: tuple[tuple[str, str, str, float], ...]

    def metadata(self) -> dict[str, Any]:
        """Return plain JSON values for the start document's ``simulation`` entry."""
        return {
            "pressure_gpa": self.pressure,
            "cn_prob": {str(cn): share for cn, share in self.cn_prob.items()},
            "cn_mean": self.cn_mean,
            "bond_mean": self.bond_mean,
            "sites": [
                {"id": id_, "structure": structure, "split": split, "share": share}
                for id_, structure, split, share in self.sites
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Specimen:
    """Phases of one material, seen at one edge.

    Attributes
    ----------
    shift
        eV added to FEFF's energies, the same for all sites, so that chemical shifts stay.
    """

    name: str
    absorber: str
    edge: str
    phases: tuple[Phase, ...]
    shift: float

    @property
    def edge_energy(self) -> float:
        """Where the edge is put, eV."""
        return placed_at(self.absorber, self.edge)

    def shares(self, pressure: float) -> list[tuple[Site, float]]:
        """Return every site with its share at a pressure (GPa); the shares sum to 1."""
        amounts = [phase.amount(pressure) for phase in self.phases]
        return [
            (site, amount / sum(amounts) / len(phase.sites))
            for phase, amount in zip(self.phases, amounts, strict=True)
            for site in phase.sites
            if amount > 0
        ]

    def mu(self, energy: Array, *, pressure: float, fwhm: float = 0.0) -> Array:
        """Return the edge of the mixture, 0 far below it and about 1 far above it.

        Parameters
        ----------
        energy
            (n,) eV, any order.
        pressure
            GPa.
        fwhm
            Gaussian energy resolution, full width at half maximum, eV.

        Returns
        -------
        (n,) in units of the edge step. FEFF's spectra begin 5-9 eV below the edge and end about
        60 eV past it; outside they are *made up*: an exponential (3 eV) towards 0 below, and one
        (15 eV) from the last value towards 1 above.
        """
        fine = fine_grid(energy)
        mixed = sum(
            share * extended(site, fine - self.shift) for site, share in self.shares(pressure)
        )
        return np.interp(energy, fine, broaden(np.asarray(mixed), fwhm=fwhm, step=STEP))

    def truth(self, pressure: float) -> SilicaTruth:
        """Return what is really there at a pressure (GPa)."""
        shares = self.shares(pressure)
        cn_prob: dict[int, float] = {}
        for site, share in shares:
            cn_prob[site.cn] = cn_prob.get(site.cn, 0.0) + share
        return SilicaTruth(
            pressure=pressure,
            cn_prob=dict(sorted(cn_prob.items())),
            cn_mean=sum(cn * share for cn, share in cn_prob.items()),
            bond_mean=mean_bond(shares),
            sites=tuple((s.id, s.structure, s.split, share) for s, share in shares),
        )

    def rdf(self, r: Array, *, pressure: float) -> dict[str, Array]:
        """Return the true radial distribution by species.

        Parameters
        ----------
        r
            (m,) Å.
        pressure
            GPa.

        Returns
        -------
        For each species (m,) atoms per Å.
        """
        shares = self.shares(pressure)
        vocabulary = sorted({str(kind) for site, _ in shares for kind in site.species})
        parts = [
            (share, radial_distribution(s.species, s.positions, vocabulary=vocabulary, r=r))
            for s, share in shares
        ]
        return {
            kind: np.sum([share * rdf[kind] for share, rdf in parts], axis=0) for kind in vocabulary
        }


STEP = 0.02  # eV, finer than FEFF's own grid at the edge


def fine_grid(energy: Array) -> Array:
    """Return an even grid that covers the energies with room for broadening."""
    return np.arange(np.min(energy) - 10.0, np.max(energy) + 10.0, STEP)


def extended(site: Site, energy: Array) -> Array:
    """Return a site's spectrum on FEFF's energy scale, made up outside FEFF's own range."""
    first, last = site.energy[0], site.energy[-1]
    inside = np.interp(energy, site.energy, site.mu)
    below = site.mu[0] * np.exp(np.minimum(energy - first, 0) / PRE_DECAY)
    above = 1 + (site.mu[-1] - 1) * np.exp(-np.maximum(energy - last, 0) / POST_DECAY)
    return np.where(energy < first, below, np.where(energy > last, above, inside))


def broaden(mu: Array, *, fwhm: float, step: float) -> Array:
    """Convolve an evenly spaced spectrum with a Gaussian of the given width, eV."""
    if fwhm <= 0:
        return mu
    from scipy.ndimage import gaussian_filter1d

    broad: Array = gaussian_filter1d(mu, fwhm / 2.3548 / step, mode="nearest")
    return broad


def mean_bond(shares: Iterable[tuple[Site, float]]) -> float:
    """Return the mean first-shell distance over the sites that have a shell, Å."""
    bonded = [
        (np.nanmean(shell_bonds(site.absorber, site.species, site.positions)), share)
        for site, share in shares
        if site.cn
    ]
    return float(np.average([b for b, _ in bonded], weights=[w for _, w in bonded]))


def placed_at(absorber: str, edge: str) -> float:
    """Return where a specimen's edge is put, eV: its table energy, or that of the oxides."""
    return OXIDE_EDGE.get((absorber, edge)) or edge_energy(absorber, edge)


def steepest(energy: Array, mu: Array) -> float:
    """Return the energy of the steepest rise, eV."""
    fine = np.arange(energy[0], energy[-1], STEP)
    return float(fine[np.gradient(np.interp(fine, energy, mu)).argmax()])


def edge_shift(sites: Iterable[Site]) -> float:
    """Return the eV that bring the mean edge of the sites to where it is put.

    The edge is that of the embedded atom (``mu0``), which no structure moves, where it is known.
    """
    sites = list(sites)
    e0 = np.mean([steepest(s.energy, s.mu0 if s.mu0.size else s.mu) for s in sites])
    return placed_at(sites[0].absorber, sites[0].edge) - float(e0)


def shipped_sites(absorber: str, edge: str) -> list[Site]:
    """Return the shipped sites of silica at one edge."""
    with as_file(files("nearedge.sim.data").joinpath("silica.parquet")) as path:
        sites = read_dataset(path, absorber=absorber)
    return [site for site in sites if site.edge == edge]


def rising(start: float, end: float) -> Callable[[float], float]:
    """Return a smooth step that is 0 below one pressure and 1 above another, GPa."""

    def share(pressure: float) -> float:
        t = min(max((pressure - start) / (end - start), 0.0), 1.0)
        return t * t * (3 - 2 * t)

    return share


def silica(absorber: str = "Si", edge: str = "K") -> Specimen:
    """Return silica whose coordination rises between 10 and 50 GPa.

    Four-fold silicon (coesite) turns five-fold from 10 GPa and six-fold (post-quartz phase and a
    dense hypothetical structure) from 25 GPa; oxygen goes from two silicon neighbours to three
    along with it. The phases are real or plausible, the pressures of the story are invented.

    Raises
    ------
    ValueError
        If the edge has no shipped spectra.
    """
    by_cn: dict[int, list[Site]] = {}
    for site in shipped_sites(absorber, edge):
        by_cn.setdefault(site.cn, []).append(site)
    if not by_cn:
        raise ValueError(
            f"no shipped spectra of the {absorber} {edge} edge, only of Si K and O K: "
            "set instrument.absorber and instrument.edge, or give a structure with --cif"
        )
    return Specimen(
        name="silica",
        absorber=absorber,
        edge=edge,
        phases=tuple(
            Phase(name=f"{cn}-fold", sites=tuple(sites), amount=amount)
            for (cn, sites), amount in zip(sorted(by_cn.items()), ramp(len(by_cn)), strict=True)
        ),
        shift=edge_shift(by_cn[min(by_cn)]),
    )


def ramp(phases: int) -> tuple[Callable[[float], float], ...]:
    """Return the amounts of two or three phases that follow each other as pressure rises."""
    second, third = rising(10.0, 30.0), rising(25.0, 50.0)
    if phases == 2:
        return lambda p: 1 - third(p), third
    return lambda p: 1 - second(p), lambda p: second(p) * (1 - third(p)), third


def single_site(site: Site) -> Specimen:
    """Return a specimen of one site only, whatever the pressure."""
    phase = Phase(name=site.structure, sites=(site,), amount=lambda pressure: 1.0)
    return Specimen(
        name=site.structure,
        absorber=site.absorber,
        edge=site.edge,
        phases=(phase,),
        shift=edge_shift([site]),
    )


def truth_of_metadata(start: Mapping[str, Any]) -> SilicaTruth | None:
    """Read the truth back from a start document; None for a run that was not simulated."""
    entry = start.get("simulation", {}).get("truth")
    if entry is None:
        return None
    return SilicaTruth(
        pressure=entry["pressure_gpa"],
        cn_prob={int(cn): share for cn, share in entry["cn_prob"].items()},
        cn_mean=entry["cn_mean"],
        bond_mean=entry["bond_mean"],
        sites=tuple((s["id"], s["structure"], s["split"], s["share"]) for s in entry["sites"]),
    )
