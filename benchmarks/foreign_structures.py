"""Write CIF files of materials that the released model does not know, for `foreign.parquet`.

python benchmarks/foreign_structures.py DIR
nearedge dataset build DIR/oxides --absorber O --rattle 0 --split foreign -o oxides.parquet
nearedge dataset build DIR/silicides --absorber Si --rattle 0 --split foreign -o silicides.parquet

Cells are textbook values, rounded.
"""

import sys
from pathlib import Path

from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

ROCK_SALT = "Fm-3m", [[0, 0, 0], [0.5, 0.5, 0.5]]
ANTI_FLUORITE = "Fm-3m", [[0.25, 0.25, 0.25], [0, 0, 0]]
FLUORITE = "Fm-3m", [[0, 0, 0], [0.25, 0.25, 0.25]]


def _cubic(a: float, kinds: list[str], form: tuple[str, list[list[float]]]) -> Structure:
    return Structure.from_spacegroup(form[0], Lattice.cubic(a), kinds, form[1])


def _rutile(metal: str, a: float, c: float, x: float) -> Structure:
    places = [[0, 0, 0], [x, x, 0]]
    return Structure.from_spacegroup("P4_2/mnm", Lattice.tetragonal(a, c), [metal, "O"], places)


def _corundum(metal: str, a: float, c: float, z: float, x: float) -> Structure:
    places = [[0, 0, z], [x, 0, 0.25]]
    return Structure.from_spacegroup("R-3c", Lattice.hexagonal(a, c), [metal, "O"], places)


def _wurtzite(metal: str, a: float, c: float, u: float) -> Structure:
    places = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, u]]
    return Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(a, c), [metal, "O"], places)


OXIDES = {
    "MgO": _cubic(4.212, ["Mg", "O"], ROCK_SALT),
    "CaO": _cubic(4.811, ["Ca", "O"], ROCK_SALT),
    "CeO2": _cubic(5.411, ["Ce", "O"], FLUORITE),
    "Li2O": _cubic(4.619, ["Li", "O"], ANTI_FLUORITE),
    "Cu2O": _cubic(4.270, ["Cu", "O"], ("Pn-3m", [[0, 0, 0], [0.25, 0.25, 0.25]])),
    "TiO2": _rutile("Ti", 4.594, 2.959, 0.3053),
    "GeO2": _rutile("Ge", 4.407, 2.862, 0.3060),
    "Al2O3": _corundum("Al", 4.759, 12.991, 0.3522, 0.3063),
    "Fe2O3": _corundum("Fe", 5.038, 13.772, 0.3553, 0.3059),
    "ZnO": _wurtzite("Zn", 3.250, 5.207, 0.382),
    "BeO": _wurtzite("Be", 2.698, 4.377, 0.378),
}
SILICIDES = {
    "Si": _cubic(5.431, ["Si"], ("Fd-3m", [[0, 0, 0]])),
    "SiC": _cubic(4.360, ["Si", "C"], ("F-43m", [[0, 0, 0], [0.25, 0.25, 0.25]])),
    "Mg2Si": _cubic(6.351, ["Mg", "Si"], ANTI_FLUORITE),
    "NiSi2": _cubic(5.406, ["Ni", "Si"], FLUORITE),
    "Si3N4": Structure.from_spacegroup(
        "P6_3/m",
        Lattice.hexagonal(7.604, 2.9075),
        ["Si", "N", "N"],
        [[0.1733, 0.7683, 0.25], [1 / 3, 2 / 3, 0.25], [0.3306, 0.0323, 0.25]],
    ),
}


def main(folder: Path) -> None:
    """Write the files."""
    for name, structures in (("oxides", OXIDES), ("silicides", SILICIDES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for formula, structure in structures.items():
            structure.to(str(folder / name / f"{formula}.cif"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
