"""Kernel ridge regression from a spectrum to the descriptors of its cluster, beside the ensemble.

It interpolates between like training spectra where networks smooth over all; the mean of both errs
less than either (docs/decisions/0002-diffusion.md). Short and long parts of a scan are unlike each
other, so each (absorber, edge) pair has a ridge for each band of how much was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from nearedge.models.parts.channels import channels
from nearedge.models.parts.matern import matern

#: Brings the sum over the grid to the size of the level.
AREA_SCALE = 0.1
#: Parts of the grid that are measured, between which one ridge ends and the next begins.
BANDS = (0.45, 0.8)
#: How near to the training spectra are such as lie as far from them as measurements do, such of
#: other families, and nearly the same ones.
NEARNESS = (0.6, 0.78, 0.93)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """What was learned of one (absorber, edge) pair from spectra of one band.

    Attributes
    ----------
    level, unit
        (g,) mean of the training spectra, and (g,) what a level is divided by.
    values
        (n, …) training spectra as far as any of them reaches, NaN where nothing was measured; half
        precision.
    length
        The length of the kernel.
    factor
        (n, d) what the training spectra weigh in each descriptor; half precision.
    mean, spread
        (d,) of the descriptors over the training spectra.
    """

    level: Tensor
    unit: Tensor
    values: Tensor
    length: Tensor
    factor: Tensor
    mean: Tensor
    spread: Tensor

    def __call__(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors (batch, d) of spectra and masks (batch, g), and how near each is.

        That is the kernel of the nearest training spectrum, (batch,): 1 for one of these, 0 for
        what is unlike all.
        """
        asked = features(values, mask, self.level, self.unit)
        near = kernel(asked, self.support, self.length)
        return near @ self.factor.float() * self.spread + self.mean, near.amax(1)

    @cached_property
    def support(self) -> Tensor:
        """Features of the training spectra, (n, 4 g)."""
        missing = len(self.level) - self.values.shape[1]
        values = functional.pad(self.values.float(), (0, missing), value=torch.nan)
        seen = (~values.isnan()).float()
        return features(values.nan_to_num(), seen, self.level, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridges:
    """The ridges of one (absorber, edge) pair.

    Attributes
    ----------
    bands
        One ridge for each band, the shortest spectra first.
    share
        (bands, `NEARNESS`, d) weight of each against the ensemble, 0 to 1, for spectra so near to
        those of the training; between, it is between.
    """

    bands: Sequence[Ridge]
    share: Tensor

    def __call__(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each band's ridge says of spectra and masks (batch, g), as `Ridge` does."""
        found = band(mask)
        out, near = torch.zeros(len(values), self.share.shape[2]), torch.zeros(len(values))
        for number, ridge in enumerate(self.bands):
            own = found == number
            if own.any():
                out[own], near[own] = ridge(values[own], mask[own])
        return out, near

    def weight(self, mask: Tensor, near: Tensor) -> Tensor:
        """Return the weights (batch, d) for masks (batch, g) and how near spectra are."""
        return between(self.share[band(mask)], near)


def between(share: Tensor, near: Tensor) -> Tensor:
    """Read shares (..., `NEARNESS`, d) where spectra (...) are so near, (..., d)."""
    levels = torch.tensor(NEARNESS)
    near = near.clamp(levels[0], levels[-1])
    upper = torch.bucketize(near, levels).clamp(min=1)
    part = ((near - levels[upper - 1]) / (levels[upper] - levels[upper - 1]))[..., None]
    low, high = (
        share.gather(-2, k[..., None, None].expand(*k.shape, 1, share.shape[-1])).squeeze(-2)
        for k in (upper - 1, upper)
    )
    return low + part * (high - low)


def features(values: Tensor, mask: Tensor, level: Tensor, unit: Tensor) -> Tensor:
    """Give all channels of spectra and masks (n, g) side by side, (n, 4 g)."""
    return torch.cat(channels(values, mask, level=level, unit=unit, area=AREA_SCALE), 1)


def kernel(a: Tensor, b: Tensor, length: Tensor) -> Tensor:
    """Return the Matérn covariance of order 3/2 between rows of features: (n, m)."""
    return matern(a, b, 3**0.5 / length)


def band(mask: Tensor) -> Tensor:
    """Return the index of the band (...) that a mask (..., g) falls into."""
    return torch.bucketize(mask.mean(-1), torch.tensor(BANDS))
