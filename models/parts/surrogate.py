"""The way back: from a cluster to the spectrum that it implies, by Gaussian-process regression.

A Gaussian process over the clusters' invariants learns the calculated spectra of the training data
point by point of the grid. Beside each spectrum it gives how far that may be trusted: little for a
cluster unlike those of training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.invariants import invariants
from nearedge.models.parts.matern import matern

#: Variance of the noise in units of the process's own.
NUGGET = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrogate:
    """What was learned of one (absorber, edge) pair.

    Attributes
    ----------
    centre, scale
        (f,) mean of the invariants, and (f,) what they are divided by.
    support, values
        (n, f) scaled invariants of the training clusters and (n, g) their spectra, both exact in
        half precision.
    sharpness
        The sharpness of the kernel, in the units of ``support``.
    root
        (n, n) lower Cholesky factor of the training clusters' covariance.
    mean, factor
        (g,) mean spectrum, and (n, g) what each training cluster weighs beside it.
    spread
        Standard deviation of the process: root-mean-square over the grid, edge steps.
    """

    centre: Tensor
    scale: Tensor
    support: Tensor
    values: Tensor
    sharpness: Tensor
    root: Tensor
    mean: Tensor
    factor: Tensor
    spread: Tensor

    @classmethod
    def solve(cls, stored: Mapping[str, Tensor]) -> "Surrogate":
        """Find what the training clusters weigh, from the tensors that `state` gives."""
        stored = {name: value.double() for name, value in stored.items()}
        values = stored["values"]
        mean = values.mean(0)
        root = torch.linalg.cholesky(_covariance(stored["support"], stored["sharpness"]))
        factor = torch.cholesky_solve(values - mean, root)
        # the likeliest variance of the process, over all points of the grid
        spread = ((values - mean) * factor).mean().clamp(min=1e-12).sqrt()
        derived = {"root": root, "mean": mean, "factor": factor, "spread": spread}
        return cls(**{name: part.float() for name, part in {**stored, **derived}.items()})

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to store: those from which the others follow."""
        halves = {"support": self.support.half(), "values": self.values.half()}
        return halves | {name: getattr(self, name) for name in ("centre", "scale", "sharpness")}

    def __call__(self, positions: Tensor, kinds: Tensor, *, species: int) -> tuple[Tensor, Tensor]:
        """Return spectra (n, g) on the model's grid, and their spread (n,), edge steps.

        Parameters
        ----------
        positions, kinds
            (n, atoms, 3) Å and (n, atoms) species numbers, as many atoms as in training.
        species
            How many species there are.
        """
        x = (features(positions, kinds, species=species) - self.centre) / self.scale
        k = kernel(x, self.support, self.sharpness)
        explained = torch.linalg.solve_triangular(self.root, k.T, upper=False).square().sum(0)
        left = (1 + NUGGET - explained).clamp(min=NUGGET)
        return self.mean + k @ self.factor, self.spread * left.sqrt()


def features(positions: Tensor, kinds: Tensor, *, species: int) -> Tensor:
    """Give the invariants of pairs and of triples side by side, (n, f)."""
    return torch.cat(invariants(positions, kinds, species=species), 1)


def kernel(a: Tensor, b: Tensor, sharpness: Tensor) -> Tensor:
    """Return the Matérn covariance of order 3/2 between rows: (n, m)."""
    return matern(a, b, torch.sqrt(6 * sharpness))


def _covariance(x: Tensor, sharpness: Tensor) -> Tensor:
    return kernel(x, x, sharpness) + NUGGET * torch.eye(len(x), dtype=x.dtype)
