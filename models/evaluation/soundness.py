"""Whether clusters are arrangements that matter takes.

A cluster is sound if its coordination number is the true one, its bond angles lie within the range
that those of training crystals with this coordination have, and no two atoms overlap. True clusters
of families that the ranges were not taken from mostly are, not always.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.spectrum import Array

#: Nearest atoms that are judged.
JUDGED = 16
#: Closest that atoms come without being bonded, Å.
CLOSEST = {("O", "O"): 1.9, ("O", "Si"): 1.4, ("Si", "Si"): 2.4}
#: Share of training crystals whose smallest and largest angles are left outside; a margin, degrees.
_TAIL, _MARGIN = 0.005, 1.0
#: Fewest training crystals of a coordination that give it a range.
_FEWEST = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Soundness:
    """Which of some clusters are sound, and why not; (samples,) each.

    Attributes
    ----------
    apart
        No two of the nearest atoms overlap.
    coordinated
        The coordination number is the true one.
    angled
        All bond angles lie within the range of training crystals.
    """

    apart: NDArray[np.bool_]
    coordinated: NDArray[np.bool_]
    angled: NDArray[np.bool_]

    @property
    def sound(self) -> NDArray[np.bool_]:
        """All of these, (samples,)."""
        return self.apart & self.coordinated & self.angled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoundnessRule:
    """Ranges of bond angles, degrees, by absorber and coordination number."""

    angles: dict[tuple[str, int], tuple[float, float]]

    @classmethod
    def of(cls, sites: Sequence[Site]) -> "SoundnessRule":
        """Take the ranges from the crystals among training sites, as they stand."""
        ends: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        for site in sites:
            if site.rattle == 0 and site.cn >= 2:
                angles = geometry.shell_angles(site.absorber, site.species, site.positions)
                ends[site.absorber, site.cn].append((angles[0], angles[-1]))
        return cls(
            angles={
                kind: (
                    float(np.quantile([low for low, _ in found], _TAIL)) - _MARGIN,
                    float(np.quantile([high for _, high in found], 1 - _TAIL)) + _MARGIN,
                )
                for kind, found in ends.items()
                if len(found) >= _FEWEST
            }
        )

    def judge(
        self, absorber: str, species: NDArray[np.str_], positions: NDArray[np.floating], *, cn: int
    ) -> Soundness:
        """Judge clusters.

        Parameters
        ----------
        absorber
            Its symbol.
        species, positions
            (samples, atoms) and (samples, atoms, 3) Å, nearest atom first.
        cn
            The true coordination number.
        """
        species, positions = species[:, :JUDGED], positions[:, :JUDGED]
        found = geometry.coordination(absorber, species, positions)
        low, high = self.angles.get((absorber, cn), (0.0, 180.0))
        angles = geometry.shell_angles(absorber, species, positions)
        outside = (angles < low) | (angles > high)
        return Soundness(
            apart=_apart(species, positions.astype(np.float64)),
            coordinated=np.asarray(found == cn),
            angled=np.asarray(~outside.any(-1)),
        )


def _apart(species: NDArray[np.str_], positions: Array) -> NDArray[np.bool_]:
    i, j = np.triu_indices(species.shape[1], 1)
    apart = np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)
    ends = np.sort(np.stack([species[:, i], species[:, j]], -1), axis=-1)
    least = np.zeros(apart.shape)
    for (a, b), closest in CLOSEST.items():
        least[(ends[..., 0] == a) & (ends[..., 1] == b)] = closest
    return np.asarray((apart > least).all(-1))
