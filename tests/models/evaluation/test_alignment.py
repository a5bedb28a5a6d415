import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import ortho_group

from nearedge.models.evaluation import alignment
from nearedge.models.evaluation.alignment import rmsd, shell_rmsds
from nearedge.models.inversion import Samples


def random_shell(rng, count):
    kinds = np.array(["O"] * count)
    kinds[: count // 3] = "Si"
    return kinds, rng.normal(0, 1.2, (count, 3))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 8))
def test_turned_mirrored_and_shuffled_shells_are_equal(seed, count):
    rng = np.random.default_rng(seed)
    kinds, a = random_shell(rng, count)
    turn, order = ortho_group.rvs(3, random_state=rng), rng.permutation(count)
    assert rmsd(kinds, a, kinds[order], (a @ turn)[order]) == pytest.approx(0, abs=1e-6)


def test_in_order_it_is_scipy_s_rotation_or_that_of_the_mirror_image():
    rng = np.random.default_rng(2)
    for _ in range(10):
        a, b = rng.normal(0, 1, (2, 2, 3))  # two atoms of different kind: one assignment only
        kinds = np.array(["Si", "O"])
        oracle = min(Rotation.align_vectors(a, sign * b)[1] for sign in (1, -1)) / 2**0.5
        assert rmsd(kinds, a, kinds, b) == pytest.approx(oracle, abs=1e-6)


def test_search_finds_what_trying_all_finds(monkeypatch):
    rng = np.random.default_rng(4)
    for _ in range(4):
        kinds, a = random_shell(rng, 6)
        b = a @ ortho_group.rvs(3, random_state=rng) + rng.normal(0, 0.1, a.shape)
        exact = rmsd(kinds, a, kinds, b)
        with monkeypatch.context() as patch:
            patch.setattr(alignment, "EXACT", 0)
            assert rmsd(kinds, a, kinds, b) == pytest.approx(exact, abs=1e-9)


def test_species_are_not_exchanged():
    a = np.array([[1.0, 0, 0], [0, 2.0, 0]])
    swapped = rmsd(np.array(["Si", "O"]), a, np.array(["O", "Si"]), a)
    assert swapped == pytest.approx(1.0)  # both bonds are 1 Å off: (1 + 1) / 2
    assert np.isnan(rmsd(np.array(["Si", "O"]), a, np.array(["O", "O"]), a))


def test_samples_of_another_coordination_have_no_rmsd(make_site):
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.95
    positions = np.stack([tetrahedron, tetrahedron * 1.02, tetrahedron])
    positions[2, 0] *= 3
    samples = Samples(
        species=np.full((3, 4), "O"),
        positions=positions.astype(np.float32),
        weights=np.full(3, 1 / 3),
    )
    truth = make_site(species=["O"] * 4, positions=tetrahedron)
    found = shell_rmsds(samples, truth)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(0.02 * 0.95 * 3**0.5, rel=1e-4)
    assert np.isnan(found[2])
