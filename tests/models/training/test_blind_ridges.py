from dataclasses import replace

import numpy as np
import torch

from nearedge.models.training.ridges import fit_ridges
from tests.models.conftest import FOLDS


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
