from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models.answering.estimate import (
    MANY_KINDS,
    ONE_KIND,
    STATED_CN_CLASSES,
    Calibration,
    Head,
    Widening,
    averaged_distribution,
    cn_distribution,
    estimate,
    interval,
    mean_interval,
    prediction_set,
)
from nearedge.models.inversion import Samples


def test_estimates_of_a_tetrahedron(scattered):
    found = estimate(
        scattered(np.random.default_rng(0), lost=4),
        absorber="Si",
        calibration=Calibration(spill=0.0),
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


def test_weights_count(scattered):
    samples = scattered(np.random.default_rng(0), count=2, lost=1)
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


def test_the_mean_follows_what_learned_averages_and_the_distribution_does_not(scattered):
    shares = np.array([0, 0, 0, 0, 0.4, 0.2, 0.4])
    head = Head(
        cn=np.array([0, 0, 0, 0, 1.0]), bond=0.05, angle=1.0, shares=shares, scatter=MANY_KINDS
    )
    found = [
        estimate(
            scattered(np.random.default_rng(0)),
            absorber="Si",
            calibration=Calibration(shares_weight=weight, cn_mean=Widening(scale=1.0, floor=0.0)),
            head=head,
        )
        for weight in (0.0, 0.5, 1.0)
    ]
    assert found[0].cn_mean == pytest.approx(4, abs=0.1)
    assert found[1].cn_mean == pytest.approx(4.5, abs=0.1)
    assert found[2].cn_mean == pytest.approx(5)
    assert found[2].cn_mean_hi - found[2].cn_mean == pytest.approx(0.8**0.5)
    assert found[2].cn_prob == pytest.approx(found[0].cn_prob)


def test_what_learned_averages_is_not_asked_where_it_finds_one_kind_of_sites():
    prob, calibration = np.eye(13)[4], Calibration(shares_weight=1.0)
    shares = np.array([0, 0, 0, 0, 0.45, 0, 0.55])
    head = Head(cn=prob, bond=0.05, angle=1.0, shares=shares, scatter=ONE_KIND)
    assert averaged_distribution(prob, calibration=calibration, head=head) == pytest.approx(prob)
    between = replace(head, scatter=(ONE_KIND + MANY_KINDS) / 2)
    found = averaged_distribution(prob, calibration=calibration, head=between)
    assert found[6] == pytest.approx(0.55 / 2)


def test_an_absorber_has_an_interval_of_the_mean_of_its_own(scattered):
    own = {"Si": Widening(scale=0.0, floor=0.0)}
    calibration = Calibration(cn_mean=Widening(scale=0.0, floor=0.0), cn_mean_of=own)
    wide = replace(calibration, cn_mean_of={"Si": Widening(scale=2.0, floor=0.5)})
    sure, unsure = (
        estimate(scattered(np.random.default_rng(0)), absorber="Si", calibration=one)
        for one in (calibration, Calibration.from_dict(wide.to_dict()))
    )
    assert sure.cn_mean_hi == sure.cn_mean_lo
    assert unsure.cn_mean_hi - unsure.cn_mean >= 1.0


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
    assert prob.shape == (STATED_CN_CLASSES,)
    assert prob.sum() == pytest.approx(1)
    chosen = prediction_set(prob, threshold=threshold)
    assert prob.argmax() in chosen
    assert set(chosen) <= set(prediction_set(prob, threshold=1.0))


def test_interval_is_spread_times_scale():
    found = interval(np.array([1.0, 3.0, np.nan]), np.full(3, 1 / 3), Widening(scale=2, floor=0.5))
    assert (found.mean, found.lo, found.hi) == (2, -1, 5)


def test_the_spread_that_a_head_tells_goes_before_that_of_the_samples():
    widening = Widening(scale=2, floor=0.0, power=2.0)
    found = interval(np.array([1.0, 3.0]), np.full(2, 0.5), widening, told=0.5)
    assert (found.lo, found.hi) == (1.5, 2.5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e3])
@pytest.mark.parametrize("absorber", ["Si", "O"])
def test_no_interval_holds_what_cannot_be(scattered, absorber, scale):
    wide = Widening(scale=scale, floor=1.0)
    drawn = scattered(np.random.default_rng(0), lost=4)
    if absorber == "O":
        drawn = replace(drawn, species=np.where(drawn.species == "O", "Si", "O"))
    found = estimate(
        drawn,
        absorber=absorber,
        calibration=Calibration(cn_mean=wide, bond=wide, angle=wide, bridge=wide),
    )
    assert 0 <= found.cn_mean_lo <= found.cn_mean <= found.cn_mean_hi
    assert 0 < found.bond.lo <= found.bond.mean <= found.bond.hi
    assert 0 <= found.angle.lo <= found.angle.mean <= found.angle.hi <= 180
    highest = 180 if absorber == "O" else np.inf
    assert 0 <= found.bridge.lo <= found.bridge.mean <= found.bridge.hi <= highest


def test_the_set_has_no_holes():
    prob = np.array([0.01, 0.02, 0.02, 0.02, 0.6, 0.03, 0.3])
    assert prediction_set(prob, threshold=0.94) == (4, 5, 6)
    assert prediction_set(prob, threshold=0.6) == (4,)


@pytest.mark.parametrize(
    ("prob", "threshold", "expected"),
    [
        ([0, 0.5, 0.5, 0], 0.9, (1, 2)),
        ([0, 0.4, 0.2, 0.4], 0.7, (1, 2, 3)),
        ([0.25, 0.5, 0.25], 0.8, (1,)),
        ([0, 0.6, 0.4, 0], 0.9, (1,)),
    ],
)
def test_a_set_never_cuts_a_tie(prob, threshold, expected):
    assert prediction_set(np.array(prob), threshold=threshold) == expected


def test_the_interval_of_the_mean_is_as_wide_as_the_distribution_says():
    widening = Widening(scale=2.0, floor=0.05)
    found = mean_interval(np.array([0, 0, 0, 0, 0.5, 0, 0.5]), widening)
    assert (found.mean, found.lo, found.hi) == pytest.approx((5, 2.9, 7.1))
    sure = mean_interval(np.eye(7)[4], widening)
    assert (sure.lo, sure.hi) == pytest.approx((3.9, 4.1))
    assert mean_interval(np.array([0.9, 0.1]), widening).lo == 0
