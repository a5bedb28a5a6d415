"""What the spectrum is read as: level, slope, what is below the curve so far, and the mask."""

from torch import Tensor
from torch.nn import functional

#: How many channels there are.
CHANNELS = 4
#: Brings the slope to the size of the level.
SLOPE_SCALE = 3


def channels(
    values: Tensor, mask: Tensor, *, level: Tensor, unit: Tensor, area: float
) -> list[Tensor]:
    """Return the channels of spectra, each (batch, grid).

    Parameters
    ----------
    values, mask
        (batch, grid) as in `nearedge.models.parts.condition.Condition`.
    level, unit
        (grid,) or (batch, grid) usual level, and what the difference from it is divided by.
    area
        What brings the sum over the grid to the size of the level.
    """
    unusual = (values - level) * mask
    both = mask[:, 2:] * mask[:, :-2]
    slope = functional.pad((values[:, 2:] - values[:, :-2]) * both, (1, 1)) * SLOPE_SCALE
    return [unusual / unit, slope, unusual.cumsum(1) * area, mask]
