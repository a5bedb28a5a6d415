from dataclasses import replace

import numpy as np
import pytest
import torch

from nearedge.models.answering.reader import Reader
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.data.views import Bank
from nearedge.models.parts.encoder import EncoderSize, Ensemble
from nearedge.models.training.encoders import Targets
from nearedge.models.training.ridges import fit_ridges

SITES, GRID, NUMBERS = 40, 30, 4


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    return Targets(
        described=rng.normal(0, 1, (SITES, NUMBERS)),
        cn=np.full(SITES, 4),
        edge=np.arange(SITES) % 2,
    )


@pytest.fixture
def bank(known):
    """Spectra that tell the first numbers."""
    values = np.zeros((3, SITES, GRID), np.float32)
    values[..., :NUMBERS] = known.described
    values += np.random.default_rng(1).normal(0, 0.02, values.shape)
    members = np.broadcast_to(np.arange(SITES)[:, None], (3, SITES, 1))
    shares = ((members >= 0) / (members >= 0).sum(-1, keepdims=True)).astype(np.float32)
    return Bank(values=values, mask=np.ones_like(values), members=members, shares=shares)


@pytest.fixture
def told(known):
    """What an ensemble expects that knows nothing."""
    edge = torch.from_numpy(known.edge)
    nothing = torch.zeros(SITES, NUMBERS)
    return [Expectation(nothing, nothing + 1, torch.zeros(SITES, EXPECTED_CN_CLASSES), edge)] * 3


FOLDS = np.arange(SITES) // 2 % 4


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
        wanted = alone.mean + part * (ridges[1](values, mask) - alone.mean)
        assert torch.allclose(found.mean, wanted, atol=1e-6)
        assert torch.equal(found.spread, alone.spread)
