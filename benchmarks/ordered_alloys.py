"""Write crystals of alloys that order as known ones do, for `nearedge dataset build`.

python benchmarks/ordered_alloys.py FOLDER [--number 80] [--seed 0]

AMCSD holds few alloys. Here two metals of like size take the sites of a known kind of alloy, and
their cell is as large as the volumes of the elements make it (Zen's law), within some percent.
Kinds of crystal that are held out as a whole are left out, and so are formulas of a held-out or
measured compound: a structure that is kept for tests must not be learned from, however it was come
by.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from nearedge.models.data.dataset import read_dataset
from nearedge.sim.dataset import split_of
from nearedge.sim.prototypes import formula_of, prototype_of, read_formulas

DATA = Path(__file__).parent / "data"
METALS = tuple("Al Ti V Cr Mn Fe Co Ni Cu Zn".split())
#: Metals that only surround.
OTHERS = tuple("Mg Sc Y Zr Nb Mo Rh Pd Ag Cd In Sn Pt Au".split())
#: How much larger by volume the first metal's atoms may be.
LIKE, LARGER = (0.65, 1.5), (1.2, 2.3)
AVOGADRO = 0.60221  # cm³ a mole in Å³ an atom


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of alloy: space group, sites of both metals, c/a and how it varies, and sizes."""

    group: int
    a: tuple[tuple[float, float, float], ...]
    b: tuple[tuple[float, float, float], ...]
    ratio: float = 1.0
    varied: tuple[float, float] = (1.0, 1.0)
    sizes: tuple[float, float] = LIKE


ORIGIN, CENTRE, FACE = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.0, 0.5, 0.5)
FACES, BCC = (0.92, 1.08), (0.8, 1.17)
KINDS = {
    "CsCl": Kind(group=221, a=(ORIGIN,), b=(CENTRE,)),
    "Cu3Au": Kind(group=221, a=(ORIGIN,), b=(FACE,)),
    "CuAu": Kind(group=123, a=(ORIGIN,), b=(CENTRE,), ratio=2**0.5, varied=FACES),
    "AlFe3": Kind(group=225, a=(ORIGIN,), b=(CENTRE, (0.25, 0.25, 0.25))),
    "NaTl": Kind(group=227, a=(ORIGIN,), b=(CENTRE,)),
    "Ni3Sn": Kind(
        group=194,
        a=((1 / 3, 2 / 3, 0.25),),
        b=((5 / 6, 2 / 3, 0.25),),
        ratio=0.8165,
        varied=(0.97, 1.14),
    ),
    "Al3Ti": Kind(
        group=139, a=(ORIGIN,), b=((0.0, 0.0, 0.5), (0.0, 0.5, 0.25)), ratio=2.0, varied=FACES
    ),
    "MoSi2": Kind(group=139, a=(ORIGIN,), b=((0.0, 0.0, 1 / 3),), ratio=3.0, varied=BCC),
    "MgCu2": Kind(group=227, a=(ORIGIN,), b=((0.625, 0.625, 0.625),), sizes=LARGER),
    "MgZn2": Kind(
        group=194,
        a=((1 / 3, 2 / 3, 0.062),),
        b=(ORIGIN, (0.83, 0.66, 0.25)),
        ratio=1.633,
        sizes=LARGER,
    ),
    "CaCu5": Kind(
        group=191,
        a=(ORIGIN,),
        b=((1 / 3, 2 / 3, 0.0), (0.5, 0.0, 0.5)),
        ratio=0.8,
        sizes=(1.6, 3.2),
    ),
    "Cr3Si": Kind(group=223, a=(ORIGIN,), b=((0.25, 0.0, 0.5),)),
}


def volume_of(symbol: str) -> float:
    """Return the volume of an atom in its element, Å³."""
    return float(Element(symbol).molar_volume) / AVOGADRO


def alloy(kind: Kind, metals: tuple[str, str], *, rng: np.random.Generator) -> Structure:
    """Put two metals on the sites of a kind of alloy."""
    ratio = kind.ratio * rng.uniform(*kind.varied)
    angle = 120 if kind.group in (191, 194) else 90
    symbols = [metals[0]] * len(kind.a) + [metals[1]] * len(kind.b)
    unit = Lattice.from_parameters(1, 1, ratio, 90, 90, angle)
    found = Structure.from_spacegroup(kind.group, unit, symbols, [*kind.a, *kind.b])
    volume = sum(volume_of(site.specie.symbol) for site in found) * rng.uniform(0.94, 1.04)
    found.scale_lattice(volume)
    return found


def alloys(
    held_out: frozenset[str], *, rng: np.random.Generator
) -> Iterator[tuple[str, Structure]]:
    """Give alloys with their names, every one of another formula and kind."""
    seen = set()
    while True:
        name = str(rng.choice(list(KINDS)))
        one, other = str(rng.choice(METALS)), str(rng.choice(METALS + OTHERS))
        metals = (one, other) if rng.random() < 0.5 else (other, one)
        least, most = KINDS[name].sizes
        if one == other or not least < volume_of(metals[0]) / volume_of(metals[1]) < most:
            continue
        found = alloy(KINDS[name], metals, rng=rng)
        formula, prototype = formula_of(found), prototype_of(found)
        if formula in held_out or (name, metals) in seen:
            continue
        if split_of(formula, {}, prototype=prototype) == "test":
            continue
        seen.add((name, metals))
        yield f"{formula}-{name}", found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--number", type=int, default=80)
    asked.add_argument("--seed", type=int, default=0)
    args = asked.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    held_out = read_formulas(DATA / "measured-compounds.txt")
    every = read_dataset(sorted(DATA.glob("any-*.parquet")))
    held_out |= {site.formula for site in every if site.split != "train"}
    drawn = alloys(held_out, rng=np.random.default_rng(args.seed))
    for _, (name, structure) in zip(range(args.number), drawn, strict=False):
        structure.to(str(args.folder / f"{name}.cif"))


if __name__ == "__main__":
    main()
