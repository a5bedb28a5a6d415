"""A specimen from a structure file: one absorber, its spectrum calculated by FEFF10."""

from pathlib import Path

import numpy as np

from nearedge.models.dataset import Site
from nearedge.sim.feff import FeffError, calculate, feff_input
from nearedge.sim.silica import Specimen, single_site

REACH = 6.6  # Å, of the neighbours that FEFF and the truth are given


def specimen_of_cif(path: Path, *, absorber: str, edge: str, number: int = 0) -> Specimen:
    """Return a specimen in which every absorber is like one atom of a crystal.

    FEFF takes about 10 s of one core.

    Parameters
    ----------
    path
        CIF, or anything else that pymatgen reads.
    number
        Which of the absorbing atoms of the cell, counted from 0.

    Raises
    ------
    ValueError
        For a structure without that atom, or with partly occupied sites.
    nearedge.sim.feff.FeffError
        When FEFF is not installed, gives no spectrum, or does not converge.
    """
    species, positions = neighbours(path, absorber=absorber, number=number)
    calculated = calculate(feff_input(absorber, species, positions, edge=edge))
    if not calculated.converged:
        raise FeffError(f"{path}: FEFF's potentials did not become self-consistent")
    site = Site(
        id=f"{path.stem}-{number}",
        split="unknown",
        group="",
        family="",
        structure=path.stem,
        source=path.name,
        absorber=absorber,
        edge=edge,
        rattle=0.0,
        strain=0.0,
        species=np.array(species),
        positions=positions,
        energy=calculated.energy,
        mu=calculated.mu,
        mu0=calculated.mu0,
        e_fermi=calculated.e_fermi,
    )
    return single_site(site)


def neighbours(path: Path, *, absorber: str, number: int) -> tuple[list[str], np.ndarray]:
    """Return the neighbours of one atom of a crystal.

    Returns
    -------
    Their symbols and (n, 3) positions in Å, nearest first, the absorber at the origin.

    Raises
    ------
    ValueError
        For a structure without that atom, or with partly occupied sites.
    """
    from pymatgen.core import Structure

    structure = Structure.from_file(path)
    if not structure.is_ordered:
        raise ValueError(f"{path}: found partly occupied sites, expected an ordered structure")
    absorbing = [atom for atom in structure if atom.specie.symbol == absorber]
    if number >= len(absorbing):
        raise ValueError(f"{path}: found {len(absorbing)} {absorber} atoms, no number {number}")
    centre = absorbing[number]
    around = sorted(
        structure.get_neighbors(centre, REACH), key=lambda neighbour: neighbour.nn_distance
    )
    positions = np.array([atom.coords - centre.coords for atom in around]).reshape(-1, 3)
    return [atom.specie.symbol for atom in around], positions
