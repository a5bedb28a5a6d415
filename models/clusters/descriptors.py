"""A cluster in a few numbers that a spectrum can fix: shell radii by species, bond and angles.

They stand between spectrum and atoms. The encoder estimates them, with their uncertainty, from the
spectrum; the denoiser draws atoms that agree with the estimate. Because they can be calculated for
any cluster, the denoiser also learns from clusters whose spectrum was never calculated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearedge.models.clusters import geometry
from nearedge.models.spectrum import Array

#: Radii kept for each species.
RADII = 16
#: Stands for an atom that is further than the cluster reaches, Å.
FAR = 6.6
#: Coordination numbers 0 … 10 that a spectrum is expected to tell apart; what lies above counts
#: as 10. An answer states more classes: see `nearedge.models.answering.estimate`.
EXPECTED_CN_CLASSES = 11
#: Numbers after the radii: mean bond, mean and standard deviation of the cosines of bond angles.
SHELL = 3
#: What the numbers of the first shell, and the first radii of each species, count in training.
SHELL_COUNTS, NEAR, NEAR_COUNTS = 8.0, 4, 4.0


def count(species: int) -> int:
    """Return how many numbers describe a cluster of that many species."""
    return species * RADII + SHELL


def species_in(d: int) -> int:
    """Return how many species d numbers describe: the inverse of `count`."""
    return (d - SHELL) // RADII


def numbers(kinds: NDArray[np.str_], vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Place of each symbol (...) in the vocabulary.

    Raises
    ------
    KeyError
        If the vocabulary lacks one.
    """
    place = {symbol: k for k, symbol in enumerate(vocabulary)}
    return np.array([place[str(kind)] for kind in kinds.flat], np.int64).reshape(kinds.shape)


def importance(d: int) -> Tensor:
    """Return what each of d descriptors counts in training, (d,): the first shell most."""
    out = torch.ones(d)
    out[:-SHELL].view(-1, RADII)[:, :NEAR] = NEAR_COUNTS
    out[-SHELL:] = SHELL_COUNTS
    return out


def _radii(kinds: NDArray[np.str_], lengths: Array, vocabulary: Sequence[str]) -> Array:
    out = np.full((len(vocabulary), RADII), FAR)
    for row, symbol in zip(out, vocabulary, strict=True):
        nearest = np.sort(lengths[kinds == symbol])[:RADII]
        row[: len(nearest)] = np.minimum(nearest, FAR)
    return out.ravel()


def shell_numbers(absorber: str, kinds: NDArray[np.str_], positions: Array) -> Array:
    """Return the mean bond, the mean and spread of the angles' cosines; NaN where undefined."""
    bonded = geometry.first_shell(absorber, kinds, positions)
    lengths = geometry.distances(positions[bonded])
    units = positions[bonded] / lengths[:, None]
    cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
    return np.array(
        [
            lengths.mean() if len(lengths) else np.nan,
            cosines.mean() if len(cosines) else np.nan,
            cosines.std() if len(cosines) > 1 else np.nan,
        ]
    )


def describe(
    absorber: str, kinds: NDArray[np.str_], positions: Array, *, vocabulary: Sequence[str]
) -> Array:
    """Return the sorted radii of each species, the mean bond, and the angles' mean and spread.

    Parameters
    ----------
    absorber
        Its symbol.
    kinds, positions
        (atoms,) symbols and (atoms, 3) Å, the absorber at the origin.
    vocabulary
        Species, in the order of the answer.

    Returns
    -------
        (species * 16 + 3,) Å and cosines; NaN where the first shell defines none.
    """
    radii = _radii(kinds, geometry.distances(positions), vocabulary)
    return np.concatenate([radii, shell_numbers(absorber, kinds, positions)])


def cn_class(absorber: str, kinds: NDArray[np.str_], positions: Array) -> int:
    """Return the class of the coordination number: the number itself, at most 10."""
    return min(int(geometry.coordination(absorber, kinds, positions)), EXPECTED_CN_CLASSES - 1)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of a cluster before its atoms are drawn; all (batch, …).

    Attributes
    ----------
    mean, spread
        (batch, d) descriptors and their standard deviations, in their own units.
    cn
        (batch, 11) natural logarithms of the probabilities of each coordination number.
    edge
        (batch,) index of the (absorber, edge) pair.
    """

    mean: Tensor
    spread: Tensor
    cn: Tensor
    edge: Tensor

    def __getitem__(self, index: Tensor | slice) -> "Expectation":
        return Expectation(self.mean[index], self.spread[index], self.cn[index], self.edge[index])

    def expand(self, samples: int) -> "Expectation":
        """Repeat each entry: (batch, …) to (batch * samples, …)."""
        return Expectation(
            *(
                value.repeat_interleave(samples, 0)
                for value in (self.mean, self.spread, self.cn, self.edge)
            )
        )

    def to(self, device: torch.device) -> "Expectation":
        """Move to another device."""
        return Expectation(
            self.mean.to(device), self.spread.to(device), self.cn.to(device), self.edge.to(device)
        )


def join(parts: Sequence[Expectation]) -> Expectation:
    """Put several batches into one."""
    return Expectation(
        torch.cat([p.mean for p in parts]),
        torch.cat([p.spread for p in parts]),
        torch.cat([p.cn for p in parts]),
        torch.cat([p.edge for p in parts]),
    )


def tidy(expected: Expectation, *, species: int) -> Expectation:
    """Sort each species' expected radii, which errors may have put out of order."""
    n = species * RADII
    radii = expected.mean[:, :n].reshape(-1, species, RADII).sort(-1).values.flatten(1)
    mean = torch.cat([radii, expected.mean[:, n:]], 1)
    return Expectation(mean, expected.spread, expected.cn, expected.edge)


def context_size(species: int, edges: int) -> int:
    """Return the length of the vector that `context` makes."""
    return 2 * count(species) + EXPECTED_CN_CLASSES + edges


def context(expected: Expectation, *, centre: Tensor, scale: Tensor, edges: int) -> Tensor:
    """Return all that is expected of a cluster in one vector for the network, (batch, context).

    Parameters
    ----------
    expected
        The expectation of each cluster.
    centre, scale
        (edges, d) mean and standard deviation of the descriptors over the training data.
    edges
        How many (absorber, edge) pairs there are.
    """
    mean = (expected.mean - centre[expected.edge]) / scale[expected.edge]
    spread = torch.log(expected.spread / scale[expected.edge])
    pair = functional.one_hot(expected.edge, edges).to(mean.dtype)
    return torch.cat([mean.clamp(-5, 5), spread, expected.cn.clamp(min=-7) / 3, pair], 1)


def by_rank(expected: Expectation, *, species: int, atoms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Merge the species' radii into one list, nearest first.

    Returns
    -------
        Radius and its standard deviation (batch, atoms) Å, and species one-hot
        (batch, atoms, species).
    """
    n = species * RADII
    radius, order = expected.mean[:, :n].sort(dim=1, stable=True)
    spread = expected.spread[:, :n].gather(1, order)
    kind = functional.one_hot(order // RADII, species).to(radius.dtype)
    return radius[:, :atoms], spread[:, :atoms], kind[:, :atoms]
