from dataclasses import replace

import numpy as np
import pytest
import torch

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.data.views import Bank
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


def test_blended_expectations_err_less(bank, known, told):
    _, blended = fit_ridges(bank, known, FOLDS, told, views=2)
    before, after = (np.abs(e[0].mean.numpy() - known.described).mean() for e in (told, blended))
    assert after < 0.6 * before


def said(ridges, blended, edge):
    """What the ridges said, given that the ensemble said nothing: NaN where their share is 0."""
    share = torch.stack([one.share[2] for one in ridges])[edge]
    return torch.where(share > 0, blended.mean / share, torch.nan)


def test_no_expectation_has_seen_its_own_family(bank, known, told):
    """Where the truths of a part change, what is said of that part must not; elsewhere it must."""
    changed = known.described.copy()
    changed[FOLDS == 1] += 3
    answers = []
    for one in (known, replace(known, described=changed)):
        ridges, blended = fit_ridges(bank, one, FOLDS, told, views=2)
        answers.append(said(ridges, blended[0], told[0].edge))
    first, second = answers
    both = ~(first.isnan() | second.isnan()) & torch.from_numpy(FOLDS == 1)[:, None]
    other = ~(first.isnan() | second.isnan()) & torch.from_numpy(FOLDS != 1)[:, None]
    assert both.sum() > 10
    assert torch.allclose(first[both], second[both], atol=1e-3)
    assert ((first[other] - second[other]).abs() > 0.01).float().mean() > 0.9
