"""Gather surroundings of many absorbers in crystals, without spectra: they cost no calculation.

python benchmarks/crystal_surroundings.py OUT.parquet [--absorbers O --sites 1]

The generator of clusters of all elements learns from them how atoms lie together. Crystals are
those of AMCSD (`pip install '.[amcsd]'`), one for each formula and space group. The splits are
those of the calculated spectra: no family or prototype of `val` and `test` is written, and none of
the measured compounds.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nearedge.models.clusters.geometry import covalent_radii
from nearedge.models.data.dataset import Site, write_dataset
from nearedge.sim.amcsd import amcsd_structures
from nearedge.sim.dataset import split_of
from nearedge.sim.prototypes import formula_of, read_formulas
from nearedge.sim.sites import NEAREST, Named, cluster_around, unique_sites

DATA = Path(__file__).parent / "data"
ABSORBERS = (
    "Mg Al Si P S Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Sr Y Zr Nb Mo Ru Rh Pd Ag Cd In Sn "
    "Sb Te W Hg Pb Bi"
).split()
#: Neighbours that are kept, and the fewest that a site must have.
MOST, FEWEST = 40, 24
#: Sites of one crystal and absorber that are kept at most: large cells must not outweigh others.
SITES = 4


def sites_of(named: Named, absorbers: Sequence[str], *, most: int) -> Iterator[Site]:
    """Give the sites of a crystal that is learned from, at most so many of each absorber."""
    for absorber in absorbers:
        if absorber in named.structure.symbol_set:
            for number in unique_sites(named.structure, absorber)[:most]:
                cluster = cluster_around(named.structure, number)
                near = np.linalg.norm(cluster.positions[0])
                known = set(cluster.species) <= set(covalent_radii())
                if known and len(cluster.species) >= FEWEST and near > NEAREST:
                    yield Site(
                        id=f"{named.key}-{absorber}-{number}",
                        split="train",
                        group=named.group,
                        family=named.family,
                        structure=named.key,
                        source=named.source,
                        prototype=named.prototype,
                        formula=named.formula or formula_of(named.structure),
                        absorber=absorber,
                        edge="K",
                        rattle=0.0,
                        strain=0.0,
                        species=np.array(cluster.species[:MOST]),
                        positions=cluster.positions[:MOST].astype(np.float32),
                        energy=np.array([]),
                        mu=np.array([]),
                        mu0=np.array([]),
                        e_fermi=float("nan"),
                    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("out", type=Path)
    asked.add_argument("--absorbers", nargs="+", default=ABSORBERS)
    asked.add_argument("--sites", type=int, default=SITES, help="of an absorber in a crystal")
    args = asked.parse_args()
    measured = read_formulas(DATA / "measured-compounds.txt")
    found, left_out = [], 0
    for named in amcsd_structures(args.absorbers):
        held_out = split_of(named.family, {}, prototype=named.prototype) != "train"
        if held_out or (named.formula or formula_of(named.structure)) in measured:
            left_out += 1
            continue
        try:
            found += list(sites_of(named, args.absorbers, most=args.sites))
        except ValueError as error:
            print(named.key, error, flush=True)
    write_dataset(found, args.out)
    print(f"{len(found)} sites; {left_out} crystals left out", flush=True)


if __name__ == "__main__":
    main()
