"""Known surroundings of any element, scaled and renamed to what a reading says.

Each cluster is that of a calculated crystal. One is drawn by how well its coordination number, its
kind of ligands and its angles agree with the reading; its atoms keep their directions, move to the
bond length that is drawn, and take the elements that the sample holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.clusters import geometry
from nearedge.models.parts.general import elements, kind_of
from nearedge.models.parts.sought import Sought
from nearedge.models.spectrum import Array, freeze_arrays

#: Atoms of a cluster that are kept; sites with fewer are left out.
REACH = 24
#: As many are drawn for each that is wanted.
SPARE = 3
#: Least spread of the mean cosine that clusters are told apart by.
_COSINE_FLOOR = 0.03
#: Clusters of the same absorber are so much likelier, and clusters whose ligands the sample holds.
_SAME_ABSORBER, _HELD = 3.0, 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """The clusters.

    Attributes
    ----------
    positions
        (n, `REACH`, 3) Å, nearest first.
    numbers
        (n, `REACH`) places in `nearedge.models.parts.general.elements`.
    absorber
        (n,) places of the absorbers.
    cn, bond, cosine, kind
        (n,) coordination number, mean bond (Å), mean cosine of the bond angles (0 where there is
        none) and kind of the ligands.
    """

    positions: Array
    numbers: NDArray[np.int64]
    absorber: NDArray[np.int64]
    cn: NDArray[np.int64]
    bond: Array
    cosine: Array
    kind: NDArray[np.int64]

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def draw(
        self, sought: Sought, samples: int, *, seed: int
    ) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
        """Draw clusters with random numbers of a seed; see the function `draw`."""
        return draw(self, sought, samples, rng=np.random.default_rng(seed))


def draw(
    known: Surroundings, sought: Sought, samples: int, *, rng: np.random.Generator
) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Draw clusters: (samples, `REACH`) symbols and (samples, `REACH`, 3) Å.

    Parameters
    ----------
    known
        The clusters to draw from.
    sought
        What they should agree with.
    samples
        How many to draw.
    rng
        Draws them.
    """
    names = np.array(elements())[known.numbers]
    renaming = _renaming(sought)
    renamed = np.vectorize(renaming.__getitem__, otypes=["U2"])(names)
    chosen = _chosen(np.exp(_log_chances(known, sought)), known.cn, SPARE * samples, rng=rng)
    bonds = sought.bond[0] + sought.bond[1] * rng.standard_normal(len(chosen)).clip(-2.5, 2.5)
    factors = bonds.clip(0.7, 1.4 * sought.bond[0]) / known.bond[chosen]
    positions = known.positions[chosen] * factors[:, None, None]
    species = renamed[chosen]
    # renamed and scaled, a few have another number of ligands than they were drawn for
    kept = geometry.coordination(sought.absorber, species, positions) == known.cn[chosen]
    best = np.argsort(~kept, kind="stable")[:samples]
    return species[best], positions[best].astype(np.float32)


def _chosen(
    chance: Array, cn: NDArray[np.int64], count: int, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw clusters evenly along their coordination numbers, and mix them.

    So the shares of the coordination numbers are as near to those asked for as the count allows.
    """
    order = np.argsort(cn, kind="stable")
    place = (np.arange(count) + rng.random()) / count * chance.sum()
    drawn = np.searchsorted(np.cumsum(chance[order]), place).clip(0, len(order) - 1)
    return np.asarray(rng.permutation(order[drawn]))


def _log_chances(known: Surroundings, sought: Sought) -> Array:
    """Return each cluster's log chance; clusters of one coordination number share its chance."""
    spread = max(sought.cosine[1], _COSINE_FLOOR)
    log = -0.5 * ((known.cosine - sought.cosine[0]) / spread).clip(-4, 4) ** 2
    log = log + np.log(sought.kind[known.kind].clip(1e-4))
    log = log + np.log(_SAME_ABSORBER) * (known.absorber == elements().index(sought.absorber))
    log = log + np.log(_HELD) * _ligands_held(known, sought.held)
    log = log - 2.0 * np.abs(np.log(known.bond / sought.bond[0]))
    for cn in np.unique(known.cn):
        own = known.cn == cn
        share = sought.cn[min(cn, len(sought.cn) - 1)]
        log[own] += np.log(max(share, 1e-9)) - np.logaddexp.reduce(log[own])
    return np.asarray(log)


def _ligands_held(known: Surroundings, held: Sequence[str]) -> NDArray[np.bool_]:
    """Tell whether the nearest atom of each cluster is of an element that the sample holds."""
    places = [elements().index(symbol) for symbol in held if symbol in elements()]
    return np.isin(known.numbers[:, 0], places)


def _renaming(sought: Sought) -> dict[str, str]:
    """Return for each symbol what stands for it among the elements that the sample holds."""
    kept = {symbol: symbol for symbol in elements()}
    held = [symbol for symbol in sought.held if symbol != "H" and symbol in elements()]
    if not held:
        return kept
    return {symbol: _nearest(symbol, held) for symbol in kept}


def _nearest(symbol: str, held: Sequence[str]) -> str:
    """Return the held element that is most like a symbol: of its kind if any, then of its size."""
    radii = geometry.covalent_radii()

    def unlike(other: str) -> tuple[bool, bool, float]:
        other_kind = kind_of(other) != kind_of(symbol)
        return other != symbol, other_kind, abs(radii[other] - radii[symbol])

    return min(held, key=unlike)
