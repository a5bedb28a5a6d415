import numpy as np
import pytest
import torch

from nearedge.models.answering.projection import TRUSTED, agreeing, project
from nearedge.models.clusters import geometry
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, FAR, RADII, SHELL, Expectation

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
VOCABULARY = ("O", "Si")


def drawn(count=40, *, bond=1.75, scatter=0.05, seed=0):
    """Tetrahedra of oxygen whose bonds are too long and scatter too much; then one silicon."""
    rng = np.random.default_rng(seed)
    bonds = bond + scatter * rng.standard_normal((count, 4, 1))
    outer = np.broadcast_to([[0.0, 0.0, 3.1]], (count, 1, 3))
    positions = np.concatenate([TETRAHEDRON * bonds, outer], 1).astype(np.float32)
    return positions, np.tile([0, 0, 0, 0, 1], (count, 1))


def expected(*, bond=1.62, spread=0.01):
    radii = np.full((2, RADII), FAR)
    radii[0, :4], radii[1, 0] = bond + np.array([-0.01, 0, 0, 0.01]), 3.1
    mean = torch.tensor(np.concatenate([radii.ravel(), [bond, -1 / 3, 0.0]]))[None].float()
    assert mean.shape[1] == 2 * RADII + SHELL
    return Expectation(
        mean, torch.full_like(mean, spread), torch.zeros(1, EXPECTED_CN_CLASSES), torch.tensor([0])
    )


def run(positions, kinds, told, cn=4):
    equal = np.full(len(positions), 1 / len(positions))
    return project(positions, kinds, equal, told, cn=cn, absorber="Si", vocabulary=VOCABULARY)


def test_samples_with_the_expected_angles_weigh_more():
    positions, kinds = drawn(count=4, scatter=0.0)
    positions[0, 0] = [1.75, 0, 0]  # its angles are no longer those of a tetrahedron
    positions[1, 1:4] *= 3  # and this one has no angle at all
    weights = agreeing(positions, kinds, expected(), absorber="Si", vocabulary=VOCABULARY)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] < weights[1] < weights[2]
    assert weights[0] < 0.01 < weights[2]
    unsure = agreeing(positions, kinds, expected(spread=50.0), absorber="Si", vocabulary=VOCABULARY)
    assert unsure[0] == pytest.approx(unsure[2], rel=0.01)


def test_what_weighs_more_counts_more():
    positions, kinds = drawn(count=2, scatter=0.0)
    positions[1] *= 1.1
    mostly_first = np.array([1.0, 0.0])
    moved, _ = project(
        positions, kinds, mostly_first, expected(), cn=4, absorber="Si", vocabulary=VOCABULARY
    )
    assert np.linalg.norm(moved[0, :4], axis=-1).mean() == pytest.approx(1.62, abs=0.003)


def test_a_sure_expectation_sets_every_radius():
    positions, kinds = run(*drawn(), expected(spread=0.001))
    assert np.linalg.norm(positions, axis=-1) == pytest.approx(
        np.tile([1.61, 1.62, 1.62, 1.63, 3.1], (40, 1)), abs=1e-4
    )
    assert (kinds[:, :4] == 0).all()


def test_half_a_trust_goes_half_the_way():
    moved, _ = run(*drawn(scatter=0.0), expected(bond=1.65, spread=TRUSTED))
    halfway = (1.75 + 1.65) / 2
    # and then half of what the mean bond still lacks
    assert np.linalg.norm(moved[:, :4], axis=-1).mean() == pytest.approx(
        (halfway + 1.65) / 2, abs=1e-3
    )


def test_an_unsure_expectation_changes_little():
    positions, kinds = drawn()
    moved, _ = run(positions, kinds, expected(spread=5.0))
    assert (
        np.abs(
            np.sort(np.linalg.norm(moved, axis=-1)) - np.sort(np.linalg.norm(positions, axis=-1))
        ).max()
        < 0.01
    )


def test_directions_stay():
    positions, kinds = drawn()
    moved, _ = run(positions, kinds, expected())
    species = np.array(VOCABULARY)[kinds]
    before, after = (geometry.mean_angle("Si", species, p) for p in (positions, moved))
    assert np.allclose(before, after, atol=1e-3)


def test_atoms_come_out_nearest_first_whatever_their_order():
    positions, kinds = drawn()
    flipped = run(positions[:, ::-1], kinds[:, ::-1], expected())
    straight = run(positions, kinds, expected())
    for here, there in zip(straight, flipped, strict=True):
        assert np.allclose(here, there, atol=1e-5)
    assert (np.diff(np.linalg.norm(straight[0], axis=-1), axis=1) >= 0).all()


def test_a_cluster_without_bonds_is_left_without():
    positions, kinds = drawn(bond=3.5)
    moved, _ = run(positions, kinds, expected(bond=3.4, spread=0.01))
    assert np.isfinite(moved).all()


@pytest.mark.parametrize("cn", [3, 4, 5])
def test_samples_end_with_the_coordination_number_that_they_were_drawn_for(cn):
    positions, kinds = drawn()
    positions[::2, 3] *= 1.3  # one atom has left the first shell of every other sample
    moved, kinds = run(positions, kinds, expected(spread=1.0), cn=cn)
    found = geometry.coordination("Si", np.array(VOCABULARY)[kinds], moved)
    assert (found == cn).all()
