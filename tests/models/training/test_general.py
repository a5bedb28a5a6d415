"""The model of all edges from training to answers, on a few real sites and a tiny network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearedge.models import NormalisedSpectrum, Quality
from nearedge.models.answering.card import CardError, read_card
from nearedge.models.answering.cards import Cards, read_cards
from nearedge.models.answering.general import GeneralInverter, Said, likely_set
from nearedge.models.answering.several import Several
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import read_dataset
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.training.forest import ForestRecipe, grow_forest
from nearedge.models.training.general import (
    GeneralRecipe,
    lessons,
    share_of,
    supported,
    train_member,
)
from nearedge.models.training.general_release import (
    Exam,
    calibrate,
    committee_of,
    examine,
    figures,
    pooled,
    release,
)

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "any-01.parquet"
RECIPE = GeneralRecipe(steps=6, every=3, batch=16, views=2, least_structures=3)

TREES = ForestRecipe(trees=3, views=2)


@pytest.fixture(scope="module")
def sites():
    every = [s for s in read_dataset(DATA) if s.absorber in ("Cu", "S") and s.formula]
    return {
        "train": [s for s in every if s.split == "train"][:40],
        "val": [s for s in every if s.split == "val"][:12],
    }


@pytest.fixture(scope="module")
def growth():
    return GeneralInverter.load(read_card("any")).clusters


@pytest.fixture(scope="module")
def card(sites, growth, tmp_path_factory):
    net = train_member(lessons(sites["train"]), RECIPE)
    return release(
        committee_of([net], grow_forest(lessons(sites["train"]), RECIPE, TREES)),
        sites["train"],
        sites["val"],
        recipe=RECIPE,
        residuals=None,
        growth=growth,
        out=tmp_path_factory.mktemp("weights"),
    )


def spectrum_of(site, **changes):
    found = normalise_xanes(site.spectrum)
    assert isinstance(found, NormalisedSpectrum), found
    return replace(found, **changes)


@pytest.fixture(scope="module")
def copper(sites):
    return next(s for s in sites["train"] if s.absorber == "Cu" and s.rattle == 0)


def test_training_that_was_stopped_goes_on_as_if_it_had_not(sites, tmp_path):
    data, steps = lessons(sites["train"][:10]), []
    whole = train_member(data, RECIPE)
    path = tmp_path / "member.pt"

    class StoppedError(Exception):
        pass

    def stop(done, total, found):
        raise StoppedError

    with pytest.raises(StoppedError):
        train_member(data, RECIPE, checkpoint=path, progress=stop)
    again = train_member(
        data, RECIPE, checkpoint=path, progress=lambda done, total, found: steps.append(done)
    )
    assert steps == [6]
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_lowers_the_loss(sites):
    told = []
    recipe = replace(RECIPE, steps=60, every=5)
    train_member(
        lessons(sites["train"]), recipe, progress=lambda done, total, f: told.append(f["loss"])
    )
    assert np.mean(told[-3:]) < np.mean(told[:3]) - 0.5


def test_enough_structures_make_an_absorber_supported(sites):
    assert supported(sites["train"], least=1) == ["Cu", "S"]
    assert supported(sites["train"], least=999) == []


def test_without_enough_structures_there_is_nothing_to_release(sites, growth, tmp_path):
    data = lessons(sites["train"][:4])
    recipe = replace(RECIPE, steps=1, least_structures=99)
    net = train_member(data, recipe)
    with pytest.raises(ValueError, match="0 absorbers have 99 structures"):
        release(
            committee_of([net]),
            sites["train"],
            sites["val"],
            recipe=recipe,
            residuals=None,
            growth=growth,
            out=tmp_path,
        )


def test_a_share_of_the_families_is_whole_families(sites):
    some = share_of(sites["train"], 0.5)
    kept = {s.family for s in some}
    assert 0 < len(some) < len(sites["train"])
    assert [s.id for s in some] == [s.id for s in sites["train"] if s.family in kept]


def test_calibration_holds_what_it_says_on_what_it_saw(card, sites):
    inverter = GeneralInverter.load(card)
    exam = examine(inverter.committee, sites["val"], gap=RECIPE.gap, residuals=None)
    found = figures(exam, calibrate(exam))
    assert found["cn_held"] >= 0.88
    assert found["bond_held"] >= 0.88


def exam_of(absorbers, off, weight, *, named=True):
    """An exam in which every bond is ``off`` by so many Å."""
    cn = np.zeros(13)
    cn[[4, 6]] = 0.8, 0.2
    one = Said(
        cn=cn,
        kind=np.ones(4) / 4,
        bond=(2.0 + off, 0.05),
        cosine=(0.0, 0.1),
        radii=np.tile([0.0, 0.1], (12, 1)),
    )
    n = len(absorbers)
    return Exam(
        absorber=tuple(absorbers),
        named=(named,) * n,
        said=(one,) * n,
        cn=np.full(n, 4.0),
        bond=np.full(n, 2.0),
        weight=np.full(n, weight),
    )


def test_measured_standards_count_as_much_as_held_out_families():
    calculated, measured = exam_of(["Fe"] * 300, 0.01, 1.0), exam_of(["Fe"] * 10, 0.2, 0.5)
    both = pooled(calculated, measured)
    assert both.weight[:300].sum() == pytest.approx(both.weight[300:].sum())
    alone, together = calibrate(calculated)["3d"], calibrate(both)["3d"]
    assert alone.bond.half(0.05) == pytest.approx(0.01, abs=1e-6)
    assert together.bond.half(0.05) == pytest.approx(
        0.2, abs=1e-6
    )  # half of all are off by so much


def test_sets_of_coordination_numbers_may_have_holes_and_cut_no_tie():
    prob = np.array([0.0, 0.02, 0.5, 0.02, 0.4, 0.03, 0.03])
    assert likely_set(prob, threshold=0.9) == (2, 4)
    assert likely_set(prob, threshold=0.95) == (2, 4)
    assert likely_set(prob, threshold=0.97) == (2, 4, 5, 6)
    assert likely_set(prob, threshold=0.1) == (2,)
    assert likely_set(np.array([0.5, 0.5]), threshold=0.1) == (0, 1)


def test_groups_are_calibrated_for_themselves():
    both = pooled(exam_of(["Fe"] * 20 + ["S"] * 20, 0.01, 1.0), exam_of(["S"] * 20, 0.3, 1.0))
    found = calibrate(both)
    assert found["3d"].bond.half(0.05) == pytest.approx(0.01, abs=1e-6)
    assert found["chalcogen"].bond.half(0.05) == pytest.approx(0.3, abs=1e-6)


def test_answers_without_a_composition_are_calibrated_for_themselves():
    both = pooled(exam_of(["Fe"] * 20, 0.01, 1.0), exam_of(["Fe"] * 20, 0.3, 1.0, named=False))
    found = calibrate(both)
    assert found["3d"].bond.half(0.05) == pytest.approx(0.01, abs=1e-6)
    assert found["3d, unnamed"].bond.half(0.05) == pytest.approx(0.3, abs=1e-6)


def test_an_answer_is_made_of_sound_clusters_that_agree_with_its_figures(card, copper):
    inverter = GeneralInverter.load(card)
    (answer,) = inverter.invert([spectrum_of(copper)], seeds=[3], samples=40)
    estimates = answer.estimates
    assert answer.model == card.digest
    assert answer.samples.positions.shape == (40, card.atoms, 3)
    assert estimates.cn_prob.sum() == pytest.approx(1)
    assert estimates.bond.lo < estimates.bond.mean < estimates.bond.hi
    again = inverter.invert([spectrum_of(copper)], seeds=[3], samples=40)[0]
    np.testing.assert_array_equal(answer.samples.positions, again.samples.positions)
    other = inverter.invert([spectrum_of(copper)], seeds=[4], samples=40)[0]
    assert not np.array_equal(answer.samples.positions, other.samples.positions)


def test_clusters_hold_only_what_the_sample_holds(card, copper):
    inverter = GeneralInverter.load(card)
    known = spectrum_of(copper, elements=("Cu", "H", "O"))
    (answer,) = inverter.invert([known], seeds=[0], samples=20)
    assert set(np.unique(answer.samples.species)) <= {"Cu", "H", "O"}
    strange = spectrum_of(copper, elements=("Cu", "Og"))
    (answer,) = inverter.invert([strange], seeds=[0], samples=4)
    assert "other-elements: Og" in answer.flags


def width_of(card, spectrum):
    (answer,) = GeneralInverter.load(card).invert([spectrum], seeds=[0], samples=4)
    return answer.estimates.bond.hi - answer.estimates.bond.lo


def test_answers_without_a_composition_are_as_wide_as_such_answers_were_wrong(card, copper):
    bare, named = spectrum_of(copper, elements=()), spectrum_of(copper, elements=("Cu", "O"))
    groups = card.calibration["groups"]
    own = groups["3d"] | {"bond": {"scale": 0.1, "floor": 0.0, "power": 0.0}}
    wider = groups["3d, unnamed"] | {"bond": {"scale": 0.2, "floor": 0.0, "power": 0.0}}
    both = replace(card, calibration={"groups": groups | {"3d": own, "3d, unnamed": wider}})
    assert width_of(both, named) < width_of(both, bare)
    earlier = replace(card, calibration={"groups": {"3d": own}})
    assert width_of(earlier, bare) == pytest.approx(width_of(both, named))


def test_what_is_unlike_everything_is_flagged(card, copper):
    inverter = GeneralInverter.load(card)
    good = spectrum_of(copper)
    wild = good.flat + np.where(good.energy > good.e0, np.sin(good.energy - good.e0), 0)
    answers = inverter.invert([good, replace(good, flat=wild)], seeds=[0, 0], samples=4)
    assert answers[1].ood_score > answers[0].ood_score
    assert "out-of-distribution" in answers[1].flags


def test_spectra_are_familiar_among_those_of_their_group_of_elements():
    inverter = GeneralInverter.load(read_card("any"))
    every = read_dataset(DATA.with_name("any-14.parquet"))
    sulfur = [spectrum_of(site) for site in every if site.absorber == "S"][:30]
    iron = [replace(spectrum, absorber="Fe") for spectrum in sulfur]
    own, foreign = (
        np.array([one.ood_score for one in inverter.invert(some, seeds=[0] * 30, samples=1)])
        for some in (sulfur, iron)
    )
    thresholds = inverter.card.outlier["groups"]
    assert np.mean(own / thresholds["chalcogen"]) < 0.8 * np.mean(foreign / thresholds["3d"])


def test_earlier_weights_have_one_threshold_for_all(card, copper):
    inverter = GeneralInverter.load(card)
    own = inverter.invert([spectrum_of(copper)], seeds=[0], samples=1)[0]
    for threshold in (own.ood_score + 1, own.ood_score - 1):
        earlier = GeneralInverter.load(replace(card, outlier={"threshold": threshold}))
        (answer,) = earlier.invert([spectrum_of(copper)], seeds=[0], samples=1)
        assert answer.ood_flag == (threshold < own.ood_score)


def test_edges_without_training_are_refused(card, copper):
    inverter = GeneralInverter.load(card)
    assert inverter.supports("Cu", "K")
    assert not inverter.supports("Mo", "K")
    assert not inverter.supports("Cu", "L3")
    with pytest.raises(ValueError, match="not Mo K"):
        inverter.invert([spectrum_of(copper, absorber="Mo")], seeds=[0])


def test_the_specialist_answers_first_where_it_knows_all_that_there_is(card):
    siox = read_cards("siox").cards[0]
    silicon = replace(card, edges=(*card.edges, ("Si", "K")), species=("O", "Si", "Mg"))
    cards = Cards((siox, silicon))
    assert cards.choose("Si", "K", ()) == 0
    assert cards.choose("Si", "K", ("H", "O", "Si")) == 0
    assert cards.choose("Si", "K", ("Mg", "O", "Si")) == 1
    assert cards.choose("Si", "K", ("Na", "O", "Si")) == 0  # nobody knows sodium
    assert cards.choose("Cu", "K", ("Cu", "S")) == 1
    with pytest.raises(ValueError, match="not Mo K"):
        cards.choose("Mo", "K", ())
    assert cards.supports("O", "K")
    assert cards.supports("Cu", "K")
    assert Cards((siox,)).digest == siox.digest
    assert cards.digest not in (siox.digest, silicon.digest)


def test_each_spectrum_goes_to_its_own_model_and_comes_back_in_place(card, copper):
    both = Several.load(f"siox+{card.path}", device="cpu")
    silicon = read_dataset(DATA.parent / "siox.parquet", absorber="Si")[0]
    asked = [spectrum_of(copper), spectrum_of(silicon), spectrum_of(copper)]
    answers = both.invert(asked, seeds=[1, 2, 3], samples=2, quality=Quality.FAST)
    assert [one.absorber for one in answers] == ["Cu", "Si", "Cu"]
    siox, general = (one.digest for one in both.cards.cards)
    assert [one.model for one in answers] == [general, siox, general]
    assert both.digest == both.cards.digest
    with pytest.raises(ValueError, match="one each"):
        both.invert(asked, seeds=[1])


def test_geometry_of_what_is_drawn_is_that_of_its_coordination(card, copper):
    inverter = GeneralInverter.load(card)
    (answer,) = inverter.invert([spectrum_of(copper)], seeds=[0], samples=20)
    cn = geometry.coordination("Cu", answer.samples.species, answer.samples.positions)
    np.testing.assert_array_equal(cn, answer.estimates.sample_cn)


def test_weights_of_before_clusters_grew_say_so():
    card = read_card("any")
    with pytest.raises(CardError, match=r"grow clusters, expected .*listing"):
        GeneralInverter.load(replace(card, start={"kind": "known"}))
