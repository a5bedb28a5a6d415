"""Whether clusters of one kind of site explain a spectrum.

Two things speak against it. The spectrum that the clusters imply lies farther from the measured one
than it nearly ever does. Or the encoder expects the descriptors of the sites to scatter more than
those of one kind of site nearly ever do: it learned from averages over unlike sites as well, and
from them to expect scatter.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What is usual of answers about single sites of held-out families.

    Attributes
    ----------
    misfit, scatter
        What few of them exceed, edge steps, and as `scatter_of` has it.
    usual
        Between which misfits most of them lie, edge steps; None where that is not known.
    """

    misfit: float = math.inf
    scatter: float = math.inf
    usual: tuple[float, float] | None = None

    @classmethod
    def of_card(cls, outlier: Mapping[str, Any]) -> "Explained":
        """Read what a card has in ``outlier``; older ones have nothing of it."""
        numbers = dict(outlier.get("explained", {}))
        usual = numbers.pop("usual", None)
        return cls(**numbers, usual=usual and (float(usual[0]), float(usual[1])))

    def fails(self, misfit: float, scatter: float) -> bool:
        """Tell whether an answer about a whole spectrum does not explain it."""
        return misfit > self.misfit or scatter > self.scatter


def scatter_of(expected: Expectation, unit: Tensor) -> float:
    """Return how far the sites' descriptors are expected to scatter; 1 is as all sites do.

    Parameters
    ----------
    expected
        The expectation of one spectrum.
    unit
        (d,) standard deviations of the descriptors over the sites of training.
    """
    spread = expected.spread[0] / unit
    return float(spread.clamp(min=1e-12).log().mean().exp())
