import numpy as np
import torch

from nearedge.models.parts.ridge import between
from nearedge.models.training.ridges import best_share, fit_ridges, said_blindly
from tests.models.conftest import FOLDS


def test_blended_expectations_err_less(bank, known, told):
    _, blended = fit_ridges(bank, known, FOLDS, told, views=2)
    before, after = (np.abs(e[0].mean.numpy() - known.described).mean() for e in (told, blended))
    assert after < 0.6 * before


def test_no_expectation_has_seen_its_own_family(bank, known, told):
    """Where the truths of a part change, what is said of that part must not; elsewhere it must."""
    changed = known.described.copy()
    changed[FOLDS == 1] += 3
    ensemble = np.stack([e.mean.double().numpy() for e in told])
    first, second = (
        said_blindly(
            bank, known.edge, np.stack([told_of] * len(ensemble)), FOLDS, ensemble, views=2
        )
        for told_of in (known.described, changed)
    )
    assert np.allclose(first[0][:, FOLDS == 1], second[0][:, FOLDS == 1], atol=1e-3)
    other = np.abs(first[0] - second[0])[:, FOLDS != 1]
    assert (other > 0.01).mean() > 0.9
    assert np.array_equal(first[1], second[1])
    assert ((first[1] > 0) & (first[1] < 1)).all()


def test_share_follows_how_near_a_spectrum_is():
    """A ridge that is right near its spectra and wrong far from them counts near them alone."""
    rng = np.random.default_rng(0)
    truth, near = rng.normal(size=(2, 300, 1)), np.tile([0.5, 0.95], (2, 150))
    wrong = truth + rng.normal(size=truth.shape)
    ridge = np.where(near[..., None] > 0.9, truth, wrong + 5)
    share = best_share(ridge, wrong, truth, np.full((2, 300), 2), near)
    assert share[2, :, 0].tolist() == [0.0, 0.0, 1.0]  # of the middle there are none
    halfway = between(share[2].expand(3, -1, -1), torch.tensor([0.5, (0.78 + 0.93) / 2, 1.0]))
    assert torch.allclose(halfway[:, 0], torch.tensor([0.0, 0.5, 1.0]), atol=1e-6)
