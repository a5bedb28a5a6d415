"""How far an atom is from the absorber: what is told of it, and how sure that is.

An expected radius is seldom exact. Within what is told of it, an atom is drawn where it fits the
atoms placed before. Whether it is bonded is settled beforehand, so a radius never crosses the
longest bond: the normal distribution is folded there.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Standard deviation of a radius that is told exactly, Å.
EXACT = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Depth:
    """The folded normal distribution of one rank's radius; all (batch,).

    Attributes
    ----------
    mean, spread
        What is told and its standard deviation, Å.
    longest
        Bond, Å.
    bonded
        Whether the atom lies within it.
    """

    mean: Tensor
    spread: Tensor
    longest: Tensor
    bonded: Tensor

    def fold(self, radius: Tensor) -> Tensor:
        """Fold radii (batch, m) at the longest bond to the atom's own side."""
        longest = self.longest[:, None]
        away = torch.where(self.bonded[:, None], longest - radius, radius - longest).abs()
        return torch.where(self.bonded[:, None], longest - away, longest + away).clamp(min=0.7)

    def place(self, normal: Tensor) -> Tensor:
        """Turn standard normal numbers (batch, m) into radii, Å."""
        return self.fold(self.mean[:, None] + self.spread[:, None] * normal)

    def own(self, radius: Tensor) -> Tensor:
        """Tell whether radii (batch, m) lie on the atom's side of the longest bond."""
        return (radius < self.longest[:, None]) == self.bonded[:, None]

    def tempered(self, temperature: float) -> "Depth":
        """Return the distribution whose density is this one's to the power 1 / ``temperature``."""
        return replace(self, spread=self.spread * temperature**0.5)

    def off(self, radius: Tensor) -> Tensor:
        """Return how far radii (batch, m) are from what is told, in its standard deviations."""
        return (radius - self.mean[:, None]) / self.spread[:, None]

    def log_density(self, radius: Tensor) -> Tensor:
        """Return the logarithm of the density at radii (batch, m) on the atom's own side, per Å."""
        mirrored = 2 * self.longest[:, None] - radius
        log = torch.logaddexp(-(self.off(radius) ** 2) / 2, -(self.off(mirrored) ** 2) / 2)
        return log - self.spread[:, None].log() - 0.5 * math.log(2 * math.pi)
