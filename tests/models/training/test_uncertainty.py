import json
from dataclasses import replace

import numpy as np
import pytest

from nearedge.models.answering.estimate import Calibration, Head, estimate
from nearedge.models.training.uncertainty import (
    conformal_quantile,
    even_weights,
    fit_calibration,
)


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


def test_groups_count_alike_however_many_sites_they_have(corner):
    sites = [replace(corner(), group=g) for g in ["iza"] * 2 + ["hypo"] * 6]
    weights = even_weights([(site,) for site in sites])
    assert weights[:2].sum() == pytest.approx(weights[2:].sum())


def test_intervals_follow_a_head_that_knows_what_it_does_not_know(corner, scattered):
    """Half of the answers are ten times as wrong as the others, and only the head knows which."""
    rng = np.random.default_rng(6)

    def draw(count):
        hard = rng.random(count) < 0.5
        error = np.where(hard, 0.1, 0.01) * rng.standard_normal(count)
        sites = [(corner(bond=1.65),) for _ in range(count)]
        answers = [scattered(rng, bond=1.65 + e, spread=0.05, lost=0) for e in error]
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


def test_fitted_calibration_covers_new_answers(corner, scattered):
    """Samples twice too narrow and biased by noise: the fitted intervals hold the truth anyway."""
    rng = np.random.default_rng(5)

    def draw(count):
        sites = [(corner(bond=rng.uniform(1.55, 1.75)),) for _ in range(count)]
        shells = [np.linalg.norm(s.positions[0]) for (s,) in sites]
        lost = rng.integers(0, 8, count)
        answers = [
            scattered(rng, bond=rng.normal(b, 0.03), spread=0.015, lost=k)
            for b, k in zip(shells, lost, strict=True)
        ]
        return answers, sites

    calibration = fit_calibration(*draw(150))
    answers, sites = draw(300)
    found = [estimate(a, absorber="Si", calibration=calibration) for a in answers]
    truth = [float(np.linalg.norm(s.positions[0])) for (s,) in sites]
    covered = [f.bond.lo <= t <= f.bond.hi for f, t in zip(found, truth, strict=True)]
    assert 0.82 <= np.mean(covered) <= 0.97
    assert np.mean([4 in f.cn_set for f in found]) >= 0.9


def test_a_few_wrong_heads_do_not_blur_the_numbers_of_all(corner, scattered):
    """One in six is told wrongly: the likeliest blend would answer 3.85, but one that errs less
    in the mean is as likely within what so few answers can tell."""
    rng = np.random.default_rng(6)
    head = Head(cn=np.array([0, 0, 0, 0.1, 0.9]), bond=0.05, angle=1.0)
    answers, sites = [scattered(rng)] * 72, [(corner(),)] * 60 + [(corner(cn=3),)] * 12
    calibration = fit_calibration(answers, sites, heads=[head] * 72)
    found = estimate(answers[0], absorber="Si", calibration=calibration, head=head)
    assert found.cn_mean == pytest.approx(4, abs=0.1)


def test_calibration_survives_json(corner, scattered):
    calibration = fit_calibration([scattered(np.random.default_rng(0))] * 3, [(corner(),)] * 3)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_a_calibration_needs_an_answer_for_each_site(corner):
    with pytest.raises(ValueError, match="0 answers for 1 truths"):
        fit_calibration([], [(corner(),)])


def test_the_mean_of_a_mixture_is_covered_and_its_shares_are_learned(corner, scattered):
    """Averages over three- and fourfold sites: the head knows the shares, but for an error."""
    rng = np.random.default_rng(7)

    def draw(count):
        truths, answers, heads = [], [], []
        for _ in range(count):
            many = int(rng.integers(0, 7))
            truths.append((corner(cn=3),) * (6 - many) + (corner(),) * many)
            off = rng.choice([0.02, 0.2])
            share = float(np.clip(many / 6 + off * rng.standard_normal(), 0, 1))
            heads.append(
                Head(cn=np.array([0, 0, 0, 1 - share, share]), bond=0.05, angle=1.0, cn_spread=off)
            )
            answers.append(scattered(rng, lost=round(16 * (1 - share))))
        return answers, truths, heads

    answers, truths, heads = draw(200)
    calibration = fit_calibration(answers, truths, heads=heads)
    answers, truths, heads = draw(200)
    found = [
        estimate(a, absorber="Si", calibration=calibration, head=h)
        for a, h in zip(answers, heads, strict=True)
    ]
    true = [np.mean([s.cn for s in t]) for t in truths]
    held = [f.cn_mean_lo <= t <= f.cn_mean_hi for f, t in zip(found, true, strict=True)]
    assert 0.84 <= np.mean(held) <= 0.97
    width = np.array([f.cn_mean_hi - f.cn_mean_lo for f in found])
    doubt = np.array([h.cn_spread for h in heads])
    assert np.median(width[doubt > 0.1]) > 3 * np.median(width[doubt < 0.1])
