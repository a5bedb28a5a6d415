"""A specimen from a structure file: one absorber, its spectrum calculated by FEFF10."""

from pathlib import Path

import numpy as np

from nearedge.models.data.dataset import Site
from nearedge.sim.silica import Specimen, single_site
from nearedge.sim.sites import Cluster, cluster_around, read_structures, unique_sites
from nearedge.streaming.workers.feff import FeffError, calculate, feff_input


def specimen_of_file(path: Path, *, absorber: str, edge: str, number: int = 0) -> Specimen:
    """Return a specimen in which every absorber is like one atom of a crystal.

    FEFF takes about 10 s of one core.

    Parameters
    ----------
    path
        CIF, POSCAR or extended XYZ; of several structures in it the first is taken.
    number
        Which of the absorbing atoms that no symmetry makes equal, counted from 0.

    Raises
    ------
    ValueError
        If the structure lacks that atom, or has partly occupied sites.
    nearedge.streaming.workers.feff.FeffError
        When FEFF is not installed, gives no spectrum, or does not converge.
    """
    cluster = cluster_of_file(path, absorber=absorber, number=number)
    calculated = calculate(feff_input(absorber, cluster.species, cluster.positions, edge=edge))
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
        species=np.array(cluster.species),
        positions=cluster.positions,
        energy=calculated.energy,
        mu=calculated.mu,
        mu0=calculated.mu0,
        e_fermi=calculated.e_fermi,
    )
    return single_site(site)


def cluster_of_file(path: Path, *, absorber: str, number: int) -> Cluster:
    """Return the surroundings of one atom of a crystal.

    Raises
    ------
    ValueError
        If the file is no structure, lacks that atom, or has partly occupied sites.
    """
    structure = read_structures(path)[0].structure
    if not structure.is_ordered:
        raise ValueError(f"{path}: found partly occupied sites, expected an ordered structure")
    sites = unique_sites(structure, absorber)
    if number >= len(sites):
        raise ValueError(f"{path}: found {len(sites)} kinds of {absorber}, no number {number}")
    return cluster_around(structure, sites[number])
