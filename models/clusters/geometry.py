"""Geometry of clusters around an absorber: bonds, coordination, angles, radial distributions.

Every function works on one cluster, ``species`` (atoms,) and ``positions`` (atoms, 3), or on many
at once, (samples, atoms) and (samples, atoms, 3); the absorber sits at the origin and is not
listed. Lengths in Å, angles in degrees. An atom without a symbol (``""``) is padding.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array

Species = NDArray[np.str_]

#: Minimum of the pair distribution in SiO2 and SiOx, Å.
BOND_CUTOFFS = {("O", "Si"): 2.25, ("Si", "Si"): 2.50, ("O", "O"): 1.80}
#: Added to the sum of covalent radii for a pair that is not listed above, Å.
BOND_TOLERANCE = 0.45
#: Absorbers whose neighbours are bonded by distance alone; silicon among silicon and oxygen, too.
BY_DISTANCE = frozenset({"O", "F", "N", "Cl"})
SILICA = frozenset({"Si", "O", ""})
#: A neighbour of any other absorber is near within so many sums of the covalent radii.
NEAR_RADII, CLOSE_RADII = 1.25, 1.12
#: Covalent radii, Å, for which the file has a mean over spins or hybrids: low spin, and sp3.
LOW_SPIN = {"C": 0.76, "Mn": 1.39, "Fe": 1.32, "Co": 1.26}
#: Ligands, the strongest first: where one of them is near, a weaker one is only behind it.
HARD = ("O", "F", "N", "Cl")
SOFT = ("S", "Se", "Br", "I")
METALLOIDS = ("Te", "P", "As", "Sb", "C", "Si", "Ge", "B")
#: Among metals alone the shell ends at so many mean distances of the four nearest.
METAL_SHELL = 1.13
#: Elements that sit between two others: their bridge is an angle.
BRIDGING = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"})
#: Where the next atom of the absorber's own kind is looked for, Å.
BRIDGE_SHELL = (2.5, 3.5)
#: Standard deviation of the Gaussian that smears a radial distribution, Å.
SMEAR = 0.08


def rdf_grid(*, stop: float = 4.0, step: float = 0.02) -> Array:
    """Return the radii 0 … ``stop`` on which radial distributions are given, Å."""
    return np.linspace(0.0, stop, round(stop / step) + 1)


@cache
def covalent_radii() -> dict[str, float]:
    """Return covalent radii in Å (Cordero et al., Dalton Trans. 2008, 2832; spins averaged)."""
    text = (files("nearedge.models.clusters") / "covalent_radii.json").read_text()
    return {symbol: float(radius) for symbol, radius in json.loads(text).items()}


@cache
def bond_cutoff(a: str, b: str) -> float:
    """Return the longest bond between two elements, Å: from `BOND_CUTOFFS`, else radii sum + 0.45.

    Raises
    ------
    ValueError
        If an element has no covalent radius.

    Examples
    --------
    >>> bond_cutoff("Si", "O")
    2.25
    """
    first, second = sorted((a, b))
    if (first, second) in BOND_CUTOFFS:
        return BOND_CUTOFFS[first, second]
    radii = covalent_radii()
    if unknown := [s for s in (a, b) if s not in radii]:
        raise ValueError(f"no covalent radius for {unknown[0]!r}; expected a symbol such as 'Si'")
    return radii[a] + radii[b] + BOND_TOLERANCE


def cutoffs(absorber: str, species: Species) -> Array:
    """Return the bond cutoff of every atom towards the absorber, Å; 0 for padding."""
    out = np.zeros(np.shape(species))
    for symbol in np.unique(species):
        if symbol:
            out[species == symbol] = bond_cutoff(absorber, str(symbol))
    return out


def distances(positions: NDArray[np.floating]) -> Array:
    """Return the distance of every atom from the absorber, (..., atoms) Å."""
    lengths: Array = np.linalg.norm(np.asarray(positions, np.float64), axis=-1)
    return lengths


def first_shell(
    absorber: str, species: Species, positions: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return which atoms are bonded to the absorber, (..., atoms).

    Neighbours of hard anions, and of silicon in silica, are bonded by distance: nearer than their
    pair's cutoff. Around any other absorber only the strongest kind of ligand that is near counts:
    oxygen and its like, else sulfur and its like, else whatever is near; the metals and metalloids
    behind ligands do not count, nor does, among metals alone, what lies past the nearest shell.
    """
    r = distances(positions)
    if absorber in BY_DISTANCE or (absorber == "Si" and set(np.unique(species)) <= SILICA):
        return r < cutoffs(absorber, species)
    return _ligands(absorber, np.asarray(species), r)


def _ligands(absorber: str, species: Species, r: Array) -> NDArray[np.bool_]:
    ratio = r / _radii_sums(absorber, species)
    near, close = ratio < NEAR_RADII, ratio < CLOSE_RADII
    hard, soft, metalloid = (np.isin(species, kinds) for kinds in (HARD, SOFT, METALLOIDS))
    among_hard = near & (hard | (soft & close))
    among_soft = near & (soft | (metalloid & close))
    metals = near & (r < METAL_SHELL * _nearest_mean(r, near))

    def some(kind: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray((near & kind).any(-1, keepdims=True))

    shell = near  # of a chalcogen or metalloid without oxygen: its like and metals, too
    if absorber not in (*SOFT, *METALLOIDS):
        shell = np.where(some(metalloid), near, metals)
    if absorber not in (*SOFT, "Te"):
        shell = np.where(some(soft), among_soft, shell)
    return np.asarray(np.where(some(hard), among_hard, shell))


def _radii_sums(absorber: str, species: Species) -> Array:
    """Sum of the covalent radii of the absorber and every atom, Å; tiny for padding."""
    radii = covalent_radii() | LOW_SPIN
    out = np.full(species.shape, 1e-6)
    for symbol in np.unique(species):
        if symbol:
            bond_cutoff(absorber, str(symbol))  # raises for what has no radius
            out[species == symbol] = radii[absorber] + radii[str(symbol)]
    return out


def _nearest_mean(r: Array, near: NDArray[np.bool_], *, count: int = 4) -> Array:
    """Return the mean distance of a shell's nearest atoms, (..., 1) Å; NaN if it is empty."""
    return nanmean(np.sort(np.where(near, r, np.nan), axis=-1)[..., :count])[..., None]


def coordination(
    absorber: str, species: Species, positions: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return the coordination number, (...)."""
    return np.asarray(first_shell(absorber, species, positions).sum(-1), np.int64)


def shell_bonds(absorber: str, species: Species, positions: NDArray[np.floating]) -> Array:
    """Return first-shell distances, ascending, (..., highest CN) Å; NaN past the last bond."""
    bonded = first_shell(absorber, species, positions)
    lengths = np.sort(np.where(bonded, distances(positions), np.nan), axis=-1)
    return lengths[..., : bonded.sum(-1).max(initial=0)]


def _angles_between(members: NDArray[np.bool_], positions: NDArray[np.floating]) -> Array:
    """Return the angles at the origin between all pairs, smallest first, NaN past the last."""
    most = int(members.sum(-1).max(initial=0))
    order = np.argsort(~members, axis=-1, kind="stable")[..., :most]
    chosen = np.take_along_axis(members, order, -1)
    vectors = np.take_along_axis(np.asarray(positions, np.float64), order[..., None], -2)
    with np.errstate(invalid="ignore"):
        units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    i, j = np.triu_indices(most, 1)
    cosines = np.clip((units[..., i, :] * units[..., j, :]).sum(-1), -1, 1)
    angles = np.degrees(np.arccos(cosines))
    return np.sort(np.where(chosen[..., i] & chosen[..., j], angles, np.nan), axis=-1)


def cosines_between(positions: NDArray[np.floating]) -> Array:
    """Return the cosines of the angles at the origin between all pairs of atoms (n, 3)."""
    units = positions / distances(positions)[:, None]
    return np.asarray((units @ units.T)[np.triu_indices(len(units), 1)])


def shell_angles(absorber: str, species: Species, positions: NDArray[np.floating]) -> Array:
    """Return the ascending bond angles at the absorber, (..., pairs) degrees; NaN past the last."""
    return _angles_between(first_shell(absorber, species, positions), positions)


def nanmean(values: Array) -> Array:
    """Return the mean over the last axis without NaN; NaN where nothing is left, and no warning."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_bond(absorber: str, species: Species, positions: NDArray[np.floating]) -> Array:
    """Return the mean first-shell distance, (...) Å; NaN for an absorber without bonds."""
    return nanmean(shell_bonds(absorber, species, positions))


def mean_angle(absorber: str, species: Species, positions: NDArray[np.floating]) -> Array:
    """Return the mean bond angle at the absorber, (...) degrees; NaN below two bonds."""
    return nanmean(shell_angles(absorber, species, positions))


def bridge(absorber: str, species: Species, positions: NDArray[np.floating]) -> Array:
    """Return how the absorber is joined to the next polyhedra, (...); NaN where it is not.

    For a bridging absorber (oxygen and its like) the mean angle between its bonded neighbours of
    other elements (Si-O-Si), degrees; for any other the mean distance to the atoms of its own
    kind within `BRIDGE_SHELL` (Si…Si), Å.
    """
    other = np.asarray(species) != absorber
    if absorber in BRIDGING:
        bonded = first_shell(absorber, species, positions)
        return nanmean(_angles_between(bonded & other, positions))
    r = distances(positions)
    near = (r >= BRIDGE_SHELL[0]) & (r <= BRIDGE_SHELL[1])
    return nanmean(np.where(near & ~other, r, np.nan))


def radial_distribution(
    species: Species,
    positions: NDArray[np.floating],
    *,
    vocabulary: Sequence[str],
    r: Array,
    weights: Array | None = None,
    smear: float = SMEAR,
) -> dict[str, Array]:
    """Return the atoms per Å at each radius, by species, each atom smeared by a Gaussian.

    Parameters
    ----------
    species, positions
        (samples, atoms) and (samples, atoms, 3) Å.
    vocabulary
        The species to give, present or not.
    r
        (m,) Å.
    weights
        (samples,) that sum to 1; equal where None.
    smear
        Standard deviation of the Gaussian, Å.

    Returns
    -------
        For each species (m,): the mean over the samples.
    """
    lengths = np.atleast_2d(distances(positions))
    kinds = np.atleast_2d(species)
    shares = np.full(len(lengths), 1 / len(lengths)) if weights is None else np.asarray(weights)
    near = lengths < r[-1] + 6 * smear
    out = {}
    for symbol in vocabulary:
        chosen = near & (kinds == symbol)
        atom_weights = np.broadcast_to(shares[:, None], chosen.shape)[chosen]
        bells = np.exp(-0.5 * ((r[:, None] - lengths[chosen]) / smear) ** 2)
        out[symbol] = bells @ atom_weights / (smear * np.sqrt(2 * np.pi))
    return out
