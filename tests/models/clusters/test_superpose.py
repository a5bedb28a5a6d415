import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nearedge.models.clusters.superpose import FORBIDDEN, forbidden, orientations, superpose

KINDS = np.array(["O", "O", "O", "Si", "Si", ""])


@pytest.fixture
def cluster():
    rng = np.random.default_rng(3)
    return np.vstack([rng.normal(0, 1.5, (5, 3)), np.zeros(3)])


def test_a_turned_mirrored_and_shuffled_cluster_lies_on_itself(cluster):
    rng = np.random.default_rng(4)
    turn, order = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.permutation(6)
    found = superpose(KINDS, cluster, KINDS[order], (cluster @ turn)[order], weight=np.ones(6))
    assert found.cost == pytest.approx(0, abs=1e-12)
    assert np.allclose(found.positions, cluster[order], atol=1e-6)
    assert np.isnan(found.squares).tolist() == [False] * 5 + [True]


def test_the_best_turn_of_ordered_atoms_is_scipy_s(cluster):
    """Each atom is of a species of its own, so that only the turn is sought."""
    kinds = np.array(["O", "Si", "Al", "Fe", "Ti"])
    rng = np.random.default_rng(5)
    target, moved = cluster[:5], cluster[:5] + rng.normal(0, 0.1, (5, 3))
    weight = rng.uniform(0.5, 2, 5)
    _, residual = Rotation.align_vectors(target, moved, weights=weight)
    found = superpose(kinds, target, kinds, moved, weight=weight)
    assert found.cost == pytest.approx(residual**2, rel=1e-9)


def test_species_are_not_exchanged():
    cost = forbidden(np.array(["O", "Si", ""]), np.array(["Si", "O", ""]))
    assert cost.tolist() == [
        [FORBIDDEN, 0, FORBIDDEN],
        [0, FORBIDDEN, FORBIDDEN],
        [FORBIDDEN, FORBIDDEN, FORBIDDEN],
    ]


def test_orientations_lay_a_pair_along_its_goal(cluster):
    turns = orientations(cluster, [(0, 1)], cluster, [(2, 3)])
    assert len(turns) == 2
    for turn in turns:
        along = cluster[2] @ turn
        assert np.allclose(np.cross(along, cluster[0]), 0, atol=1e-9)
        assert along @ cluster[0] > 0
    assert np.linalg.det(turns).round(9).tolist() == [1, -1]
    assert orientations(cluster, [(0, 1)], cluster, []).shape == (0, 3, 3)
