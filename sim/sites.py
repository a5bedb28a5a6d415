"""Structures from files, and the absorber sites to be found in them."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearedge.models.spectrum import Array

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

logger = logging.getLogger(__name__)

#: Neighbours are kept out to here, Å.
RADIUS = 6.6
#: A cluster whose atoms come nearer than this is no structure, Å.
NEAREST = 1.2
_SUFFIXES = (".cif", ".vasp", ".poscar", ".xyz", ".extxyz")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Named:
    """A structure, its key, and the family and prototype that decide its split."""

    key: str
    family: str
    source: str
    structure: "Structure" = field(repr=False)
    group: str = "built"
    prototype: str = ""
    formula: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cluster:
    """Neighbours of an absorber, nearest first: (n,) symbols and (n, 3) Å."""

    species: list[str]
    positions: Array


def structure_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Give the structure files among files and folders, in order.

    Raises
    ------
    ValueError
        If a path doesn't exist, or a folder holds no structure.
    """
    for path in paths:
        if path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if _is_structure(p)]
            if not found:
                raise ValueError(f"{path} holds no structure; expected {', '.join(_SUFFIXES)}")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise ValueError(f"{path} does not exist; expected a structure file or a folder")


def _is_structure(path: Path) -> bool:
    name = path.name.lower()
    return path.is_file() and (name.endswith(_SUFFIXES) or name.startswith(("poscar", "contcar")))


def read_structures(path: Path) -> list[Named]:
    """Read the structures of a CIF, POSCAR or extended XYZ file (which may hold several).

    The key of a structure is the file's name without its suffix, and ``#k`` after it for the k-th
    of several; the family is the file's name.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    try:
        found = _read(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as CIF, POSCAR or extended XYZ: {error}"
        ) from error
    if not all(structure.is_ordered for structure in found):
        raise ValueError(f"{path} has partly occupied sites; expected an ordered structure")
    several = len(found) > 1
    return [
        Named(
            key=f"{path.stem}#{k}" if several else path.stem,
            family=path.stem,
            source=path.name,
            structure=structure,
        )
        for k, structure in enumerate(found)
    ]


def _read(path: Path) -> list["Structure"]:
    from pymatgen.core.structure import Structure

    if path.suffix.lower() in (".xyz", ".extxyz"):
        return list(_read_extxyz(path.read_text().splitlines()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        structure = Structure.from_file(path)
    for warning in said:
        logger.info("%s: %s", path, warning.message)
    return [structure]


def _read_extxyz(lines: Sequence[str]) -> Iterator["Structure"]:
    """Give every frame of an extended XYZ file with a lattice."""
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    start = 0
    while start < len(lines) and lines[start].strip():
        count, comment = int(lines[start]), lines[start + 1]
        lattice = re.search(r'Lattice="([^"]*)"', comment)
        if lattice is None:
            raise ValueError('a frame has no Lattice="…": only periodic structures will do')
        rows = [line.split() for line in lines[start + 2 : start + 2 + count]]
        kind, place = _columns(comment)
        yield Structure(
            Lattice(np.array(lattice[1].split(), dtype=float).reshape(3, 3)),
            [row[kind] for row in rows],
            [[float(x) for x in row[place : place + 3]] for row in rows],
            coords_are_cartesian=True,
        )
        start += 2 + count


def _columns(comment: str) -> tuple[int, int]:
    """Return the first columns of species and positions, from the Properties entry."""
    stated = re.search(r"Properties=(\S+)", comment)
    parts = (stated[1] if stated else "species:S:1:pos:R:3").split(":")
    starts, column = {}, 0
    for name, _, width in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        starts[name] = column
        column += int(width)
    return starts["species"], starts["pos"]


def unique_sites(structure: "Structure", absorber: str) -> list[int]:
    """Return one site of the absorber for each orbit of the space group, all without symmetry."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    orbits: Iterable[int] = range(len(structure))
    with warnings.catch_warnings(), suppress(SymmetryUndeterminedError):
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib's, of how pymatgen calls it
        orbits = SpacegroupAnalyzer(structure, 0.05).get_symmetry_dataset().equivalent_atoms
    firsts = sorted({int(site) for site in orbits})
    return [site for site in firsts if structure[site].specie.symbol == absorber]


def strain_of(rng: np.random.Generator, spread: float) -> Array:
    """Draw a symmetric strain tensor, (3, 3): shape and volume change by about ``spread``."""
    shape = rng.normal(0.0, spread, (3, 3))
    return np.asarray((shape + shape.T) / 2 + np.eye(3) * rng.normal(0.0, spread))


def _enlarged(structure: "Structure", site: int) -> tuple["Structure", int]:
    """Repeat a small cell, so that images of one atom don't move together; follow the site."""
    centre = structure[site].coords
    repeats = [3 if a < 4 else 2 if a < 7 else 1 for a in structure.lattice.abc]
    large = structure.make_supercell(repeats, in_place=False)
    apart = large.lattice.get_all_distances(
        large.lattice.get_fractional_coords(centre), large.frac_coords
    )
    return large, int(np.argmin(apart))


def rattled(
    structure: "Structure", site: int, *, rattle: float, strain: Array, rng: np.random.Generator
) -> tuple["Structure", int]:
    """Strain a structure and displace every atom at random.

    Parameters
    ----------
    structure, site
        The structure and the number of its absorber.
    rattle
        Root-mean-square displacement, Å.
    strain
        (3, 3) symmetric.

    Returns
    -------
        The moved structure and the absorber's number in it.
    """
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    matrix = structure.lattice.matrix @ (np.eye(3) + strain)
    strained = Structure(Lattice(matrix), structure.species, structure.frac_coords)
    large, centre = _enlarged(strained, site)
    coords = large.cart_coords + rng.normal(0.0, rattle / np.sqrt(3), (len(large), 3))
    moved = Structure(large.lattice, large.species, coords, coords_are_cartesian=True)
    return moved, centre


def cluster_around(structure: "Structure", site: int, *, radius: float = RADIUS) -> Cluster:
    """Return the neighbours of a site, nearest first.

    Raises
    ------
    ValueError
        If there is none, or an atom lies nearer than `NEAREST`.
    """
    centre: Any = structure[site]
    near = sorted(structure.get_neighbors(centre, radius), key=lambda n: n.nn_distance)
    if not near or near[0].nn_distance < NEAREST:
        found = f"an atom at {near[0].nn_distance:.2f} Å" if near else "no atom"
        raise ValueError(f"{found} within {radius} Å of site {site}; expected some past {NEAREST}")
    return Cluster(
        species=[n.specie.symbol for n in near],
        positions=np.round([n.coords - centre.coords for n in near], 4),
    )
