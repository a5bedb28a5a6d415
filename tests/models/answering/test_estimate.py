import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models.answering.estimate import (
    CN_CLASSES,
    Calibration,
    Head,
    Widening,
    cn_distribution,
    conformal_quantile,
    estimate,
    even_weights,
    fit_calibration,
    interval,
    prediction_set,
)
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Samples

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def site(bond=1.62, cn=4):
    positions = np.vstack([TETRAHEDRON[:cn] * bond, [[0, 0, 3.05]]])
    return Site(
        id="",
        split="val",
        group="",
        family="",
        structure="",
        source="",
        absorber="Si",
        edge="K",
        rattle=0,
        strain=0,
        species=np.array(["O"] * cn + ["Si"]),
        positions=positions,
        energy=np.zeros(0),
        mu=np.zeros(0),
        mu0=np.zeros(0),
        e_fermi=0.0,
    )


def answer(rng, *, bond=1.62, spread=0.02, count=16, lost=0):
    """Tetrahedra of scattered bond lengths; the first `lost` of them have one atom too few."""
    positions = TETRAHEDRON * rng.normal(bond, spread, (count, 1, 1))
    positions[:lost, 3] *= 3
    outer = np.tile([[[0, 0, 3.05]]], (count, 1, 1))
    return Samples(
        species=np.tile(["O"] * 4 + ["Si"], (count, 1)),
        positions=np.concatenate([positions, outer], 1).astype(np.float32),
        weights=np.full(count, 1 / count),
    )


def test_estimates_of_a_tetrahedron():
    found = estimate(
        answer(np.random.default_rng(0), lost=4), absorber="Si", calibration=Calibration(spill=0.0)
    )
    assert found.cn_map == 4
    assert found.cn_prob[3] == pytest.approx(0.25)
    assert found.cn_mean == pytest.approx(3.75)
    assert found.cn_set == (4,)
    assert found.bond.lo < 1.62 < found.bond.hi
    assert found.angle.mean == pytest.approx(109.47, abs=0.01)
    assert found.bridge.mean == pytest.approx(3.05)
    assert found.sample_cn.tolist() == [3] * 4 + [4] * 12
    assert found.rdf["O"].sum() * 0.02 == pytest.approx(3.75, abs=1e-3)
    assert set(found.rdf) == {"O", "Si"}


def test_weights_count():
    samples = answer(np.random.default_rng(0), count=2, lost=1)
    weighted = Samples(
        species=samples.species, positions=samples.positions, weights=np.array([0.9, 0.1])
    )
    assert estimate(weighted, absorber="Si", calibration=Calibration()).cn_map == 3


def test_samples_without_any_bond_have_no_interval():
    far = Samples(
        species=np.array([["O"], ["O"]]),
        positions=np.full((2, 1, 3), 3.0, np.float32),
        weights=np.array([0.5, 0.5]),
    )
    found = estimate(far, absorber="Si", calibration=Calibration())
    assert found.bond is None
    assert found.angle is None
    assert found.bridge is None
    assert found.cn_map == 0
    assert np.isnan(found.sample_bond).all()


def test_the_head_is_blended_in():
    weights, cn = np.full(4, 0.25), np.array([4, 4, 4, 4])
    head = Head(cn=np.array([0, 0, 0, 0, 0, 1.0]), bond=0.05, angle=1.0)
    calibration = Calibration(head_weight=0.75, spill=0.0)
    prob = cn_distribution(cn, weights, calibration=calibration, head=head)
    assert prob[4] == pytest.approx(0.25)
    assert prob[5] == pytest.approx(0.75)
    longer = Head(cn=np.eye(20)[15], bond=0.05, angle=1.0)
    assert cn_distribution(cn, weights, calibration=calibration, head=longer)[-1] == 0.75


def test_a_head_that_is_unsure_of_the_bond_flattens_the_distribution():
    calibration = Calibration(head_weight=1.0, doubt=1.0, usual=0.05)
    sure, unsure = (
        cn_distribution(
            np.array([4]),
            np.ones(1),
            calibration=calibration,
            head=Head(cn=np.array([0, 0, 0, 0, 0.7, 0.3]), bond=bond, angle=1.0),
        )
        for bond in (0.01, 0.2)
    )
    assert sure[4] > 0.95
    assert 0.5 < unsure[4] < 0.6


@settings(max_examples=50, deadline=None)
@given(
    cn=st.lists(st.integers(0, 30), min_size=1, max_size=40),
    spill=st.floats(0, 0.2),
    temperature=st.floats(0.5, 3),
    threshold=st.floats(0.5, 1),
)
def test_any_distribution_sums_to_one_and_its_set_grows_with_the_threshold(
    cn, spill, temperature, threshold
):
    calibration = Calibration(spill=spill, temperature=temperature)
    prob = cn_distribution(np.array(cn), np.full(len(cn), 1 / len(cn)), calibration=calibration)
    assert prob.shape == (CN_CLASSES,)
    assert prob.sum() == pytest.approx(1)
    chosen = prediction_set(prob, threshold=threshold)
    assert prob.argmax() in chosen
    assert set(chosen) <= set(prediction_set(prob, threshold=1.0))


def test_conformal_quantile_covers():
    rng = np.random.default_rng(1)
    inside = [rng.random() <= conformal_quantile(rng.random(39), level=0.9) for _ in range(2000)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_weighted_quantile_is_that_of_scores_repeated_as_often():
    rng = np.random.default_rng(2)
    scores, times = rng.random(200), rng.integers(1, 4, 200)
    weighted = conformal_quantile(scores, level=0.8, weights=times.astype(float))
    repeated = conformal_quantile(np.repeat(scores, times), level=0.8)
    assert weighted == pytest.approx(repeated, abs=0.02)
    assert conformal_quantile(scores, level=0.8, weights=np.full(200, 7.0)) == conformal_quantile(
        scores, level=0.8
    )


def test_groups_count_alike_however_many_sites_they_have():
    sites = [replace(site(), group=g) for g in ["iza"] * 2 + ["hypo"] * 6]
    weights = even_weights(sites)
    assert weights[:2].sum() == pytest.approx(weights[2:].sum())


def test_interval_is_spread_times_scale():
    found = interval(np.array([1.0, 3.0, np.nan]), np.full(3, 1 / 3), Widening(scale=2, floor=0.5))
    assert (found.mean, found.lo, found.hi) == (2, -1, 5)


def test_the_spread_that_a_head_tells_goes_before_that_of_the_samples():
    widening = Widening(scale=2, floor=0.0, power=2.0)
    found = interval(np.array([1.0, 3.0]), np.full(2, 0.5), widening, told=0.5)
    assert (found.lo, found.hi) == (1.5, 2.5)


def test_intervals_follow_a_head_that_knows_what_it_does_not_know():
    """Half of the answers are ten times as wrong as the others, and only the head knows which."""
    rng = np.random.default_rng(6)

    def draw(count):
        hard = rng.random(count) < 0.5
        error = np.where(hard, 0.1, 0.01) * rng.standard_normal(count)
        sites = [site(bond=1.65) for _ in range(count)]
        answers = [answer(rng, bond=1.65 + e, spread=0.05, lost=0) for e in error]
        heads = [Head(cn=np.eye(5)[4], bond=0.1 if h else 0.01, angle=1.0) for h in hard]
        return answers, sites, heads, hard

    answers, sites, heads, _ = draw(300)
    calibration = fit_calibration(answers, sites, heads=heads)
    answers, sites, heads, hard = draw(300)
    found = [
        estimate(a, absorber="Si", calibration=calibration, head=h)
        for a, h in zip(answers, heads, strict=True)
    ]
    width = np.array([f.bond.hi - f.bond.lo for f in found])
    covered = np.array([f.bond.lo <= 1.65 <= f.bond.hi for f in found])
    assert np.median(width[hard]) > 3 * np.median(width[~hard])
    assert 0.82 <= covered.mean() <= 0.97
    assert abs(covered[hard].mean() - covered[~hard].mean()) < 0.12


def test_fitted_calibration_covers_new_answers():
    """Samples twice too narrow and biased by noise: the fitted intervals hold the truth anyway."""
    rng = np.random.default_rng(5)

    def draw(count):
        sites = [site(bond=rng.uniform(1.55, 1.75)) for _ in range(count)]
        shells = [np.linalg.norm(s.positions[0]) for s in sites]
        lost = rng.integers(0, 8, count)
        answers = [
            answer(rng, bond=rng.normal(b, 0.03), spread=0.015, lost=k)
            for b, k in zip(shells, lost, strict=True)
        ]
        return answers, sites

    calibration = fit_calibration(*draw(150))
    answers, sites = draw(300)
    found = [estimate(a, absorber="Si", calibration=calibration) for a in answers]
    truth = [float(np.linalg.norm(s.positions[0])) for s in sites]
    covered = [f.bond.lo <= t <= f.bond.hi for f, t in zip(found, truth, strict=True)]
    assert 0.82 <= np.mean(covered) <= 0.97
    assert np.mean([4 in f.cn_set for f in found]) >= 0.9


def test_a_few_wrong_heads_do_not_blur_the_numbers_of_all():
    """One in six is told wrongly: the likeliest blend would answer 3.85, but one that errs less
    in the mean is as likely within what so few answers can tell."""
    rng = np.random.default_rng(6)
    head = Head(cn=np.array([0, 0, 0, 0.1, 0.9]), bond=0.05, angle=1.0)
    answers, sites = [answer(rng)] * 72, [site()] * 60 + [site(cn=3)] * 12
    calibration = fit_calibration(answers, sites, heads=[head] * 72)
    found = estimate(answers[0], absorber="Si", calibration=calibration, head=head)
    assert found.cn_mean == pytest.approx(4, abs=0.1)


def test_calibration_survives_json():
    calibration = fit_calibration([answer(np.random.default_rng(0))] * 3, [site()] * 3)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_a_calibration_needs_an_answer_for_each_site():
    with pytest.raises(ValueError, match="0 answers for 1 sites"):
        fit_calibration([], [site()])


def test_the_set_has_no_holes():
    prob = np.array([0.01, 0.02, 0.02, 0.02, 0.6, 0.03, 0.3])
    assert prediction_set(prob, threshold=0.94) == (4, 5, 6)
    assert prediction_set(prob, threshold=0.6) == (4,)
