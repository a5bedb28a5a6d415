"""Samples whose structure is known: sites with FEFF spectra, mixed as the pressure rises."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from nearedge.models.spectrum import Array, freeze_arrays

# Si-O: the minimum of the pair distribution in SiO2; other pairs make no first shell here
BOND_CUTOFF = 2.25
# where the edge is put, eV; FEFF's own scale is off by some eV
EDGE_ENERGY = {("Si", "K"): 1838.9, ("O", "K"): 532.0}
PARTNER = {"Si": "O", "O": "Si"}
PRE_DECAY = 3.0  # eV
POST_DECAY = 15.0  # eV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """One absorber with its surroundings and its calculated spectrum.

    Attributes
    ----------
    id, structure, source, split
        Where it comes from, and whether the shipped model learned from it (``train``) or not.
    species
        (n,) neighbours within 6.6 Å, nearest first.
    positions
        (n, 3) Å, absorber at the origin.
    energy
        (m,) eV, FEFF's scale, strictly increasing.
    mu, mu0
        (m,) absorption and embedded-atom background in units of the edge step.
    """

    id: str
    structure: str
    source: str
    split: str
    absorber: str
    edge: str
    species: tuple[str, ...]
    positions: Array
    energy: Array
    mu: Array
    mu0: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def bonds(self) -> Array:
        """Distances of the first shell, (CN,) Å, shortest first."""
        partner = np.array(self.species) == PARTNER.get(self.absorber, "O")
        distance = np.linalg.norm(self.positions[partner], axis=1)
        return np.sort(distance[distance < BOND_CUTOFF])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phase:
    """Sites that come and go together, in equal parts.

    Attributes
    ----------
    amount
        Parts of this phase at a pressure in GPa; the amounts of a sample need not sum to 1.
    """

    name: str
    sites: tuple[Site, ...]
    amount: Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
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
        """As plain JSON values, for the start document's ``simulation`` entry."""
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
class Sample:
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
        """Tabulated edge energy, eV."""
        return EDGE_ENERGY[self.absorber, self.edge]

    def shares(self, pressure: float) -> list[tuple[Site, float]]:
        """Every site with its share at a pressure (GPa); the shares sum to 1."""
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

    def truth(self, pressure: float) -> Truth:
        """Return what is really there at a pressure (GPa)."""
        shares = self.shares(pressure)
        cn_prob: dict[int, float] = {}
        for site, share in shares:
            cn_prob[len(site.bonds)] = cn_prob.get(len(site.bonds), 0.0) + share
        return Truth(
            pressure=pressure,
            cn_prob=dict(sorted(cn_prob.items())),
            cn_mean=sum(cn * share for cn, share in cn_prob.items()),
            bond_mean=mean_bond(shares),
            sites=tuple((s.id, s.structure, s.split, share) for s, share in shares),
        )

    def rdf(self, r: Array, *, pressure: float, sigma: float = 0.08) -> dict[str, Array]:
        """Return the true radial distribution by species.

        Parameters
        ----------
        r
            (m,) Å.
        pressure
            GPa.
        sigma
            Å, of the Gaussian that smears each neighbour.

        Returns
        -------
        For each species (m,) atoms per Å.
        """
        total: dict[str, Array] = {}
        for site, share in self.shares(pressure):
            distance = np.linalg.norm(site.positions, axis=1)
            for species in set(site.species):
                chosen = distance[np.array(site.species) == species]
                peaks = np.exp(-0.5 * ((r[:, None] - chosen) / sigma) ** 2).sum(axis=1)
                density = share * peaks / (sigma * math.sqrt(2 * math.pi))
                total[species] = total.get(species, np.zeros_like(r)) + density
        return total


STEP = 0.05  # eV, fine against the narrowest features of FEFF's spectra


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

    return gaussian_filter1d(mu, fwhm / 2.3548 / step, mode="nearest")


def mean_bond(shares: Iterable[tuple[Site, float]]) -> float:
    """Mean over sites of the mean first-shell distance, Å; sites without a shell left out."""
    bonded = [(site.bonds.mean(), share) for site, share in shares if len(site.bonds)]
    return float(np.average([b for b, _ in bonded], weights=[w for _, w in bonded]))


def steepest(energy: Array, mu: Array) -> float:
    """Energy of the steepest rise, eV."""
    fine = np.arange(energy[0], energy[-1], STEP)
    return float(fine[np.gradient(np.interp(fine, energy, mu)).argmax()])


def edge_shift(sites: Iterable[Site]) -> float:
    """Return the eV that bring the mean embedded-atom edge of the sites to its table energy."""
    sites = list(sites)
    e0 = np.mean([steepest(s.energy, s.mu0) for s in sites])
    return EDGE_ENERGY[sites[0].absorber, sites[0].edge] - float(e0)


def site_of_row(row: Mapping[str, Any]) -> Site:
    """Read one row of a table in the form of ``sim/data/README.md``."""
    return Site(
        id=row["id"],
        structure=row["structure"],
        source=" ".join(row["source"].split()),
        split=row["split"],
        absorber=row["absorber"],
        edge=row["edge"],
        species=tuple(row["species"]),
        positions=np.array(row["positions"], float).reshape(-1, 3),
        energy=np.array(row["energy"], float),
        mu=np.array(row["mu"], float),
        mu0=np.array(row["mu0"], float),
    )


def shipped_sites(absorber: str) -> list[Site]:
    """Return the shipped sites of silica of one absorber."""
    from pyarrow.parquet import read_table

    with files("nearedge.sim.data").joinpath("silica.parquet").open("rb") as file:
        rows = read_table(file).to_pylist()
    return [site_of_row(row) for row in rows if row["absorber"] == absorber]


def rising(start: float, end: float) -> Callable[[float], float]:
    """Return a smooth step that is 0 below one pressure and 1 above another, GPa."""

    def share(pressure: float) -> float:
        t = min(max((pressure - start) / (end - start), 0.0), 1.0)
        return t * t * (3 - 2 * t)

    return share


def silica(absorber: str = "Si", edge: str = "K") -> Sample:
    """Return silica whose coordination rises between 10 and 50 GPa.

    Four-fold silicon (coesite) turns five-fold from 10 GPa and six-fold (post-quartz phase and a
    dense hypothetical structure) from 25 GPa; oxygen goes from two silicon neighbours to three
    along with it. The phases are real or plausible, the pressures of the story are invented.

    Raises
    ------
    ValueError
        For an edge that has no shipped spectra.
    """
    if (absorber, edge) not in EDGE_ENERGY:
        known = ", ".join(" ".join(pair) for pair in EDGE_ENERGY)
        raise ValueError(
            f"no shipped spectra of the {absorber} {edge} edge, only of {known}: "
            "set instrument.absorber and instrument.edge, or give a structure with --cif"
        )
    by_cn: dict[int, list[Site]] = {}
    for site in shipped_sites(absorber):
        by_cn.setdefault(len(site.bonds), []).append(site)
    low = min(by_cn)
    return Sample(
        name="silica",
        absorber=absorber,
        edge=edge,
        phases=tuple(
            Phase(name=f"{cn}-fold", sites=tuple(sites), amount=amount)
            for (cn, sites), amount in zip(sorted(by_cn.items()), ramp(len(by_cn)), strict=True)
        ),
        shift=edge_shift(by_cn[low]),
    )


def ramp(phases: int) -> tuple[Callable[[float], float], ...]:
    """Return the amounts of two or three phases that follow each other as pressure rises."""
    second, third = rising(10.0, 30.0), rising(25.0, 50.0)
    if phases == 2:
        return lambda p: 1 - third(p), third
    return lambda p: 1 - second(p), lambda p: second(p) * (1 - third(p)), third


def single_site(site: Site) -> Sample:
    """Return a sample of one site only, whatever the pressure."""
    phase = Phase(name=site.structure, sites=(site,), amount=lambda pressure: 1.0)
    return Sample(
        name=site.structure,
        absorber=site.absorber,
        edge=site.edge,
        phases=(phase,),
        shift=edge_shift([site]),
    )


def truth_of_metadata(start: Mapping[str, Any]) -> Truth | None:
    """Read the truth back from a start document; None for a run that was not simulated."""
    entry = start.get("simulation", {}).get("truth")
    if entry is None:
        return None
    return Truth(
        pressure=entry["pressure_gpa"],
        cn_prob={int(cn): share for cn, share in entry["cn_prob"].items()},
        cn_mean=entry["cn_mean"],
        bond_mean=entry["bond_mean"],
        sites=tuple((s["id"], s["structure"], s["split"], s["share"]) for s in entry["sites"]),
    )
