"""From a spectrum to what is expected of its cluster: the ensemble and the ridges together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts.encoder import Ensemble
from nearedge.models.parts.ridge import Ridges


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """Both regressions; the ridges are in the order of the edges."""

    ensemble: Ensemble
    ridges: tuple[Ridges, ...]

    @torch.inference_mode()
    def __call__(self, values: Tensor, mask: Tensor, edge: int) -> Expectation:
        """Give what is expected of clusters around one kind of absorber.

        Parameters
        ----------
        values, mask
            (batch, grid) as in `nearedge.models.parts.condition.Condition`.
        edge
            Index of the (absorber, edge) pair.
        """
        told = self.ensemble(values, mask, torch.full((len(values),), edge))
        own = self.ridges[edge]
        said, near = own(values, mask)
        return blended(told, said, own.weight(mask, near))


def blended(expected: Expectation, mean: Tensor, share: Tensor) -> Expectation:
    """Move the means by ``share`` towards those of a ridge; the spreads are the ensemble's."""
    mean = expected.mean + share * (mean - expected.mean)
    return Expectation(mean, expected.spread, expected.cn, expected.edge)
