import torch

from nearedge.models.parts import ridge
from nearedge.models.parts.ridge import BANDS


def test_bands_follow_what_was_measured():
    mask = torch.zeros(3, 100)
    for row, part in zip(mask, (BANDS[0] - 0.1, BANDS[1] - 0.1, 1.0), strict=True):
        row[: round(100 * part)] = 1
    assert ridge.band(mask).tolist() == [0, 1, 2]
