from dataclasses import replace

import numpy as np
import pytest
import torch

from nearedge.models.answering.agreement import RESOLUTIONS, agreement, misfit
from nearedge.models.parts import surrogate
from nearedge.models.parts.condition import Condition

GRID = np.arange(-10.0, 60.01, 0.5)


def clusters(count, seed=0):
    """Tetrahedra of bond length r and the wiggle that a single scattering of each bond gives."""
    rng = np.random.default_rng(seed)
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    r = rng.uniform(1.55, 1.75, count)
    positions = torch.tensor(r[:, None, None] * tetrahedron)
    k = np.sqrt(np.maximum(GRID, 0) * 0.2625)
    values = (GRID > 0) * (1 + 0.3 * np.sin(2 * k * r[:, None]) / r[:, None] ** 2)
    return positions, torch.zeros(count, 4, dtype=torch.long), values


@pytest.fixture(scope="module")
def learned():
    return surrogate.fit(*clusters(60), species=1)


def test_spectra_of_unseen_clusters_are_foretold(learned):
    positions, kinds, values = clusters(20, seed=1)
    answer, spread = learned(positions.float(), kinds, species=1)
    error = np.sqrt(((answer.numpy() - values) ** 2).mean(1))
    assert error.max() < 0.01
    assert (spread > 0).all()


def test_what_is_stored_gives_the_same_answers(learned):
    positions, kinds, _ = clusters(5, seed=4)
    again = surrogate.Surrogate.restore(learned.state())
    for here, there in zip(
        *(one(positions.float(), kinds, species=1) for one in (learned, again)), strict=True
    ):
        assert torch.allclose(here, there, atol=1e-4)


def test_a_strange_cluster_is_known_to_be_one(learned):
    positions, kinds, _ = clusters(1)
    _, familiar = learned(positions.float(), kinds, species=1)
    _, strange = learned(positions.float() * 1.4, kinds, species=1)
    assert strange > 5 * familiar


def read(values, mask=None):
    mask = np.ones_like(values) if mask is None else mask
    return Condition(values=(values * mask).astype(np.float32), mask=mask.astype(np.float32))


def compared(learned, positions, kinds, seen):
    return agreement(learned, seen, positions.float().numpy(), kinds.numpy(), species=1, step=0.5)


def test_the_sample_that_made_the_spectrum_weighs_most(learned):
    positions, kinds, values = clusters(8, seed=2)
    found = compared(learned, positions, kinds, read(values[3]))
    assert found.weights(1.0).argmax() == 3
    assert found.weights(1.0).mean() == pytest.approx(1)
    assert np.allclose(found.weights(0.0), 1)


def test_resolution_of_the_instrument_is_allowed_for(learned):
    from scipy.ndimage import gaussian_filter1d

    positions, kinds, values = clusters(1, seed=3)
    blurred = gaussian_filter1d(values, RESOLUTIONS[-1] / 2.355 / 0.5, axis=1)
    assert compared(learned, positions, kinds, read(blurred[0])).apart[0] < 0.01


def test_what_was_not_measured_does_not_count(learned):
    positions, kinds, values = clusters(1, seed=4)
    mask = (GRID < 20).astype(float)
    garbled = np.where(mask > 0, values, 99.0)
    found = compared(learned, positions, kinds, read(garbled[0], mask))
    assert found.apart[0] < 0.01
    assert misfit(found.implied, np.ones(1), read(garbled[0], mask)) < 0.01


def test_error_is_measured_on_left_out_families(ringing_sites):
    positions, _, values = clusters(40, seed=5)
    sites = [
        replace(site, species=np.array(["O"] * 4), positions=places.numpy())
        for site, places in zip(ringing_sites, positions, strict=True)
    ]
    found = surrogate.cross_validate(sites, values, np.arange(40) % 4, atoms=4, vocabulary=("O",))
    assert found.error < 0.2 * found.scatter
    assert 0 < found.calibration < 3
