"""Bring the distances of sampled clusters to what the spectrum says of them.

The denoiser draws how atoms lie around each other; how far each is from the absorber the encoder
knows better, as far as it knows it at all. So for each rank of each species the samples' mean
radius moves to the expected one, and their scatter shrinks to the expected one where it is larger;
the less sure the expectation is, the less. Directions stay.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.models import geometry
from nearedge.models.descriptors import RADII, SHELL, Expectation
from nearedge.models.spectrum import Array

#: An expectation with this standard deviation counts half, Å.
TRUSTED = 0.2
#: Ranks that fewer of the samples have are left alone.
COMMON = 0.9


def _trust(spread: float) -> float:
    return 1 / (1 + (spread / TRUSTED) ** 2)


def _moved(radii: Array, mean: float, spread: float) -> Array:
    """Radii (n,) of one rank, moved and narrowed to an expectation as far as it is trusted."""
    trust, centre = _trust(spread), radii.mean()
    narrowing = min(1.0, spread / max(float(radii.std()), 1e-6))
    narrowed = (1 - trust * (1 - narrowing)) * (radii - centre)
    return np.asarray(centre + trust * (mean - centre) + narrowed)


def _to_radii(radii: Array, kinds: NDArray[np.int64], expected: Expectation) -> Array:
    """Give new radii (samples, atoms): every rank of every species to its expectation."""
    out = radii.copy()
    species = (expected.mean.shape[1] - SHELL) // RADII
    means, spreads = (
        part[0, : species * RADII].double().numpy().reshape(species, RADII)
        for part in (expected.mean, expected.spread)
    )
    for kind in range(species):
        own = np.where(kinds == kind, radii, np.inf)
        order = np.argsort(own, axis=1, kind="stable")[:, :RADII]
        for rank, atom in enumerate(order.T):
            has = np.flatnonzero(np.isfinite(own[np.arange(len(own)), atom]))
            if len(has) < COMMON * len(own):
                break
            mean, spread = float(means[kind, rank]), float(spreads[kind, rank])
            out[has, atom[has]] = _moved(radii[has, atom[has]], mean, spread)
    return out


def _to_bond(
    positions: Array, species: NDArray[np.str_], expected: Expectation, *, absorber: str
) -> Array:
    """Shift the bonded atoms so that the samples' mean bond is the expected one."""
    bond = geometry.mean_bond(absorber, species, positions)
    if not np.isfinite(bond).any():
        return positions
    wanted, spread = float(expected.mean[0, -SHELL]), float(expected.spread[0, -SHELL])
    shift = _trust(spread) * (wanted - float(np.nanmean(bond)))
    radii = geometry.distances(positions)
    bonded = geometry.first_shell(absorber, species, positions)
    return np.asarray(positions * np.where(bonded, 1 + shift / radii, 1.0)[..., None])


def project(
    positions: NDArray[np.float32],
    kinds: NDArray[np.int64],
    expected: Expectation,
    *,
    absorber: str,
    vocabulary: Sequence[str],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Bring the samples' radii, and then their mean bond, to the expectation.

    Parameters
    ----------
    positions, kinds
        (samples, atoms, 3) Å and (samples, atoms) numbers of species, in any order.
    expected
        What the encoder expects of the spectrum: a batch of one.
    absorber
        Symbol of the absorber.
    vocabulary
        Species by number.

    Returns
    -------
        Positions and species numbers, each sample's nearest atom first.
    """
    drawn = positions.astype(np.float64)
    radii = np.maximum(geometry.distances(drawn), 1e-6)
    moved = drawn * (_to_radii(radii, kinds, expected) / radii)[..., None]
    moved = _to_bond(moved, np.array(vocabulary)[kinds], expected, absorber=absorber)
    order = np.argsort(geometry.distances(moved), axis=1, kind="stable")
    return (
        np.take_along_axis(moved, order[..., None], 1).astype(np.float32),
        np.take_along_axis(kinds, order, 1),
    )
