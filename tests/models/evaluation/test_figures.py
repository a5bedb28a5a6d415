import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nearedge.models.answering.estimate import Calibration, estimate
from nearedge.models.clusters import geometry
from nearedge.models.evaluation import figures
from nearedge.models.inversion import Interval, Samples

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def samples_of(*clusters):
    positions = np.array(clusters, dtype=np.float32)
    return Samples(
        species=np.full(positions.shape[:2], "O"),
        positions=positions,
        weights=np.full(len(positions), 1 / len(positions)),
    )


def answer_of(*clusters, **changes):
    samples = samples_of(*clusters)
    found = estimate(samples, absorber="Si", calibration=Calibration(spill=0.0))
    return dataclasses.replace(figures.answer_of(samples, found, absorber="Si"), **changes)


@pytest.fixture(scope="module")
def truth(make_site):
    return figures.truth_of([make_site(positions=TETRAHEDRON * 1.6)])


def test_the_truth_itself_is_without_error(truth):
    found = figures.score(answer_of(TETRAHEDRON * 1.6), truth)
    assert found.cn_error == pytest.approx(0)
    assert found.cn_correct == 1
    assert found.bond_error == pytest.approx(0, abs=1e-6)
    assert found.bond_mae == pytest.approx(0, abs=1e-6)
    assert found.angle_mae == pytest.approx(0, abs=1e-4)
    assert found.shell_rmsd == pytest.approx(0, abs=1e-6)
    assert found.rdf_overlap == pytest.approx(1)
    assert np.isnan(found.bridge_error)


def test_bonds_half_too_long(truth):
    """Two samples, bonds 0.02 and 0.06 Å too long: mean 0.04, bond by bond 0.04 too."""
    found = figures.score(answer_of(TETRAHEDRON * 1.62, TETRAHEDRON * 1.66), truth)
    assert found.bond_error == pytest.approx(0.04, abs=1e-6)
    assert found.bond_mae == pytest.approx(0.04, abs=1e-6)
    assert found.shell_rmsd == pytest.approx(0.04, abs=1e-6)
    opposite = figures.score(answer_of(TETRAHEDRON * 1.57, TETRAHEDRON * 1.63), truth)
    assert opposite.bond_error == pytest.approx(0, abs=1e-6)
    assert opposite.bond_mae == pytest.approx(0.03, abs=1e-6)


def test_twelve_stands_for_all_above(make_site):
    shell = np.random.default_rng(0).normal(size=(16, 3))
    shell *= 1.6 / np.linalg.norm(shell, axis=1, keepdims=True)
    found = figures.score(
        answer_of(shell), figures.truth_of([make_site(species=["O"] * 16, positions=shell)])
    )
    assert found.cn_true == 16
    assert (found.cn_correct, found.cn_covered) == (1, 1)


def test_a_lost_bond(truth):
    """Three samples of four keep all bonds; the other has CN 3 and counts for CN and bonds only."""
    lost = TETRAHEDRON * np.array([1.6, 1.6, 1.6, 3.0])[:, None]
    found = figures.score(answer_of(*[TETRAHEDRON * 1.6] * 3, lost), truth)
    assert found.cn_mean == pytest.approx(3.75)
    assert found.cn_error == pytest.approx(0.0625)
    assert found.cn_correct == 1
    assert found.right_share == pytest.approx(0.75)
    assert found.bond_mae == pytest.approx(0, abs=1e-6)
    assert found.rdf_overlap == pytest.approx(2 * 3.75 / 8, abs=1e-3)


def test_no_sample_with_the_right_coordination(truth):
    found = figures.score(answer_of(TETRAHEDRON[:3] * 1.6), truth)
    assert found.cn_correct == 0
    assert found.right_share == 0
    assert np.isnan(found.angle_mae)
    assert np.isnan(found.shell_rmsd)


def test_angles_are_compared_in_order(make_site):
    right, skew = np.array([[1.6, 0, 0], [0, 1.6, 0]]), np.radians(100)
    bent = 1.6 * np.array([[1, 0, 0], [np.cos(skew), np.sin(skew), 0]])
    truth = figures.truth_of([make_site(species=["O"] * 2, positions=right)])
    assert figures.score(answer_of(bent), truth).angle_mae == pytest.approx(10, abs=1e-4)


def test_bridge_of_oxygen_is_an_angle(make_site):
    half = np.radians(72)
    shell = 1.6 * np.array([[np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    truth = figures.truth_of([make_site(absorber="O", species=["Si"] * 2, positions=shell)])
    assert truth.bridge == pytest.approx(144)
    said = answer_of(TETRAHEDRON, bridge=Interval(mean=150, lo=140, hi=160))
    assert figures.score(said, truth).bridge_error == pytest.approx(6)


def test_sets_and_intervals_cover_or_do_not(truth):
    wide = answer_of(TETRAHEDRON * 1.7, cn_set=(3, 4), bond=Interval(mean=1.7, lo=1.55, hi=1.85))
    found = figures.score(wide, truth)
    assert (found.cn_covered, found.cn_set_size) == (1, 2)
    assert found.bond_covered == 1
    assert found.bond_width == pytest.approx(0.3)
    narrow = dataclasses.replace(wide, cn_set=(5,), bond=Interval(mean=1.7, lo=1.65, hi=1.75))
    found = figures.score(narrow, truth)
    assert (found.cn_covered, found.bond_covered) == (0, 0)
    unsaid = dataclasses.replace(wide, cn_set=(), bond=Interval(mean=1.7, lo=1.7, hi=1.7))
    found = figures.score(unsaid, truth)
    assert np.isnan([found.cn_covered, found.bond_covered, found.cn_set_size]).all()


def test_a_mean_over_sites_is_compared_as_a_distribution(make_site):
    sites = [make_site(positions=TETRAHEDRON * r) for r in (1.5, 1.7)]
    truth = figures.truth_of(sites)
    both = figures.score(answer_of(TETRAHEDRON * 1.5, TETRAHEDRON * 1.7), truth)
    assert both.bond_error == pytest.approx(0, abs=1e-6)
    assert both.bond_mae == pytest.approx(0, abs=1e-6)
    assert both.rdf_overlap == pytest.approx(1)
    middle = figures.score(answer_of(TETRAHEDRON * 1.6), truth)
    assert middle.bond_error == pytest.approx(0, abs=1e-6)
    assert middle.bond_mae == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(middle.shell_rmsd)


def test_samples_without_weight_are_not_compared_with_a_mean():
    """The right samples may be there and yet weigh nothing."""
    angles = np.array([[109.0, 110.0], [90.0, 91.0]])
    truths = [np.array([108.0]), np.array([111.0])]
    weights, first = np.array([0.0, 1.0]), np.array([True, False])
    assert np.isnan(figures.list_error(angles, weights, truths, chosen=first))
    assert figures.list_error(angles, weights, truths, chosen=~first) == pytest.approx(19)


def test_a_mean_over_coordinations_has_no_right_integer(make_site):
    three = make_site(species=["O"] * 3, positions=TETRAHEDRON[:3] * 1.6)
    truth = figures.truth_of([three, make_site(positions=TETRAHEDRON * 1.6)])
    found = figures.score(answer_of(TETRAHEDRON * 1.6), truth)
    assert found.cn_true == 3.5
    assert found.cn_error == pytest.approx(0.5 / 3.5)
    assert np.isnan(found.cn_correct)


def scored(truth, cn, error, *, right=1.0):
    return dataclasses.replace(
        figures.score(answer_of(TETRAHEDRON * 1.6), truth),
        cn_true=float(cn),
        cn_map=float(cn if right else cn + 1),
        cn_error=error,
        cn_correct=right,
    )


def test_macro_counts_each_class_once_and_leaves_small_ones_out(truth):
    rows = [scored(truth, 4, 0.0)] * 90 + [scored(truth, 6, 0.5, right=0.0)] * 10
    rows += [scored(truth, 5, 1.0, right=0.0)] * 7 + [scored(truth, 0, np.nan)] * 3
    found = figures.summarise(rows)
    assert found["rows"] == 110
    assert found["unbonded"] == 3
    assert found["cn_error"] == pytest.approx((10 * 0.5 + 7) / 107)
    assert found["cn_error_macro"] == pytest.approx(0.25)
    assert found["cn_accuracy"] == pytest.approx(90 / 107)
    assert found["cn_accuracy_macro"] == pytest.approx(0.5)
    assert found["classes"]["5"]["rows"] == 7
    assert found["confusion"]["6"] == {"7": 10}
    assert figures.summarise([])["cn_error"] is None


def test_answers_with_one_number_in_the_set_stand_alone(truth):
    sure = dataclasses.replace(scored(truth, 4, 0.0), cn_set_size=1.0, bond_error=0.01)
    wrong = dataclasses.replace(sure, cn_correct=0.0, bond_error=0.03)
    unsure = dataclasses.replace(scored(truth, 6, 0.5), cn_set_size=2.0)
    found = figures.summarise([sure, wrong, unsure, unsure])
    assert (found["sure_share"], found["sure_cn_accuracy"]) == (0.5, 0.5)
    assert found["sure_bond_error"] == pytest.approx(0.02)
    baseline = dataclasses.replace(unsure, cn_set_size=np.nan)
    assert figures.summarise([baseline])["sure_share"] is None


def test_overlap_counts_every_species():
    a = {"O": np.array([1.0, 0.0]), "Si": np.array([0.0, 1.0])}
    assert figures.rdf_overlap(a, a) == 1
    assert figures.rdf_overlap(a, {"O": np.array([1.0, 0.0])}) == pytest.approx(2 / 3)
    assert figures.rdf_overlap(a, {"Al": np.array([1.0, 1.0])}) == 0
    assert np.isnan(figures.rdf_overlap({}, a))


@settings(max_examples=30, deadline=None)
@given(
    inside=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    foreign=st.lists(st.integers(0, 9), min_size=1, max_size=30),
)
def test_ood_auc_is_that_of_scikit_learn(inside, foreign):
    labels = [0] * len(inside) + [1] * len(foreign)
    expected = roc_auc_score(labels, inside + foreign)
    assert figures.ood_auc(np.array(inside), np.array(foreign)) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_scores_do_not_change_when_samples_are_turned_and_shuffled(seed, truth):
    rng = np.random.default_rng(seed)
    clusters = TETRAHEDRON * 1.6 + rng.normal(0, 0.1, (3, 4, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    before = figures.score(answer_of(*clusters), truth)
    after = figures.score(answer_of(*[(c @ turn)[rng.permutation(4)] for c in clusters]), truth)
    for field in dataclasses.fields(figures.Score)[1:]:
        value = getattr(before, field.name)
        assert getattr(after, field.name) == pytest.approx(value, abs=1e-3, nan_ok=True)


def test_rdf_of_the_truth_reaches_the_grid(truth):
    assert truth.rdf["O"].shape == geometry.rdf_grid().shape
