import numpy as np
import pytest
import torch

from nearedge.models.answering.agreement import RESOLUTIONS, agreement, misfit
from nearedge.models.parts.condition import Condition
from nearedge.models.parts.surrogate import Surrogate
from nearedge.models.training import surrogates

GRID = np.arange(-10.0, 60.01, 0.5)


@pytest.fixture(scope="module")
def learned(wiggling):
    return surrogates.fit(*wiggling(60, grid=GRID), species=1)


def test_spectra_of_unseen_clusters_are_foretold(learned, wiggling):
    positions, kinds, values = wiggling(20, seed=1, grid=GRID)
    answer, spread = learned(positions.float(), kinds, species=1)
    error = np.sqrt(((answer.numpy() - values) ** 2).mean(1))
    assert error.max() < 0.01
    assert (spread > 0).all()


def test_what_is_stored_gives_the_same_answers(learned, wiggling):
    positions, kinds, _ = wiggling(5, seed=4, grid=GRID)
    again = Surrogate.solve(learned.state())
    for here, there in zip(
        *(one(positions.float(), kinds, species=1) for one in (learned, again)), strict=True
    ):
        assert torch.allclose(here, there, atol=1e-4)


def test_a_strange_cluster_is_known_to_be_one(learned, wiggling):
    positions, kinds, _ = wiggling(1, grid=GRID)
    _, familiar = learned(positions.float(), kinds, species=1)
    _, strange = learned(positions.float() * 1.4, kinds, species=1)
    assert strange > 5 * familiar


def read(values, mask=None):
    mask = np.ones_like(values) if mask is None else mask
    return Condition(values=(values * mask).astype(np.float32), mask=mask.astype(np.float32))


def compared(learned, positions, kinds, seen):
    return agreement(learned, seen, positions.float().numpy(), kinds.numpy(), species=1, step=0.5)


def test_the_sample_that_made_the_spectrum_weighs_most(learned, wiggling):
    positions, kinds, values = wiggling(8, seed=2, grid=GRID)
    found = compared(learned, positions, kinds, read(values[3]))
    assert found.weights(1.0).argmax() == 3
    assert found.weights(1.0).mean() == pytest.approx(1)
    assert np.allclose(found.weights(0.0), 1)


def test_resolution_of_the_instrument_is_allowed_for(learned, wiggling):
    from scipy.ndimage import gaussian_filter1d

    positions, kinds, values = wiggling(1, seed=3, grid=GRID)
    blurred = gaussian_filter1d(values, RESOLUTIONS[-1] / 2.355 / 0.5, axis=1)
    assert compared(learned, positions, kinds, read(blurred[0])).apart[0] < 0.01


def test_what_was_not_measured_does_not_count(learned, wiggling):
    positions, kinds, values = wiggling(1, seed=4, grid=GRID)
    mask = (GRID < 20).astype(float)
    garbled = np.where(mask > 0, values, 99.0)
    found = compared(learned, positions, kinds, read(garbled[0], mask))
    assert found.apart[0] < 0.01
    assert misfit(found.implied, np.ones(1), read(garbled[0], mask)) < 0.01
