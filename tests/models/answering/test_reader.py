from dataclasses import replace

import torch

from nearedge.models.answering.reader import Reader
from nearedge.models.parts.encoder import EncoderSize, Ensemble
from nearedge.models.training.ridges import fit_ridges
from tests.models.conftest import FOLDS, GRID, NUMBERS, SITES


def test_reader_blends_by_the_share(bank, known, told):
    torch.manual_seed(0)
    size = EncoderSize(grid=GRID, edges=2, descriptors=NUMBERS, width=8)
    ensemble = Ensemble(size, members=2).eval()
    ridges, _ = fit_ridges(bank, known, FOLDS, told, views=2)
    values, mask = torch.from_numpy(bank.values[0]), torch.from_numpy(bank.mask[0])
    alone = ensemble(values, mask, torch.ones(SITES, dtype=torch.long))
    for part in (0.0, 0.5, 1.0):
        shared = tuple(replace(r, share=torch.full_like(r.share, part)) for r in ridges)
        found = Reader(ensemble=ensemble, ridges=shared)(values, mask, 1)
        wanted = alone.mean + part * (ridges[1](values, mask)[0] - alone.mean)
        assert torch.allclose(found.mean, wanted, atol=1e-6)
        assert torch.equal(found.spread, alone.spread)
