"""Bring the distances of sampled clusters to what the spectrum says of them.

The denoiser draws how atoms lie around each other; how far each is from the absorber, and what the
bond angles are on the whole, the encoder knows better, as far as it knows it at all. So samples
whose bond angles agree weigh more, and for each rank of each species the radii move to the expected
one; the less sure the expectation is, the less. Directions stay. The samples then show the likely
clusters: how far a distance may be off is said by its interval, not by their scatter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearedge.models.clusters import geometry
from nearedge.models.clusters.descriptors import (
    RADII,
    SHELL,
    Expectation,
    shell_numbers,
    species_in,
)
from nearedge.models.spectrum import Array

#: An expectation with this standard deviation counts half, Å.
TRUSTED = 0.2
#: Ranks that fewer of the samples have are left alone.
COMMON = 0.9
#: Least standard deviation that the angles' expected cosines are taken to have.
SHARPEST = 0.03
#: Powers of the likelihoods of the angles' mean and scatter. The likely clusters are wanted, not
#: all that are possible; but an unsure scatter is expected too large, and asks for misshapen ones.
INSISTENCE = np.array([4.0, 1.0])
#: Least weight of a sample in the mean bond, in units of an equal share.
FAINT = 1e-3


def _trust(spread: float) -> float:
    return 1 / (1 + (spread / TRUSTED) ** 2)


def agreeing(
    positions: NDArray[np.float32],
    kinds: NDArray[np.int64],
    expected: Expectation,
    *,
    absorber: str,
    vocabulary: Sequence[str],
) -> Array:
    """Return weights (samples,), sum 1, by the likelihood of the bond angles' mean and scatter.

    Parameters
    ----------
    positions, kinds, expected, absorber, vocabulary
        As in `project`.
    """
    species = np.array(vocabulary)[kinds]
    found = np.array(
        [
            shell_numbers(absorber, *one)
            for one in zip(species, positions.astype(np.float64), strict=True)
        ]
    )[:, 1:]
    mean, spread = (
        part[0, 1 - SHELL :].double().numpy() for part in (expected.mean, expected.spread)
    )
    off = (found - mean) / np.maximum(spread, SHARPEST)
    # a sample without angles is as likely as one that is off by the usual
    log = -0.5 * np.where(np.isnan(off), 1.0, off) ** 2 @ INSISTENCE
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum())


def _to_radii(radii: Array, kinds: NDArray[np.int64], expected: Expectation) -> Array:
    """Give new radii (samples, atoms): every rank of every species to its expectation."""
    out = radii.copy()
    species = species_in(expected.mean.shape[1])
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
            out[has, atom[has]] += _trust(spread) * (mean - radii[has, atom[has]])
    return out


def _to_bond(
    positions: Array,
    species: NDArray[np.str_],
    weights: Array,
    expected: Expectation,
    *,
    absorber: str,
) -> Array:
    """Shift the bonded atoms so that the samples' mean bond is the expected one."""
    bond = geometry.mean_bond(absorber, species, positions)
    bound = np.isfinite(bond)
    if not bound.any():
        return positions
    wanted, spread = float(expected.mean[0, -SHELL]), float(expected.spread[0, -SHELL])
    shift = _trust(spread) * (wanted - float(np.average(bond[bound], weights=weights[bound])))
    radii = geometry.distances(positions)
    bonded = geometry.first_shell(absorber, species, positions)
    return np.asarray(positions * np.where(bonded, 1 + shift / radii, 1.0)[..., None])


def project(
    positions: NDArray[np.float32],
    kinds: NDArray[np.int64],
    weights: Array,
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
    weights
        (samples,) what each counts in the mean bond.
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
    weights = np.maximum(weights, FAINT / len(weights))
    moved = drawn * (_to_radii(radii, kinds, expected) / radii)[..., None]
    moved = _to_bond(moved, np.array(vocabulary)[kinds], weights, expected, absorber=absorber)
    order = np.argsort(geometry.distances(moved), axis=1, kind="stable")
    return (
        np.take_along_axis(moved, order[..., None], 1).astype(np.float32),
        np.take_along_axis(kinds, order, 1),
    )
