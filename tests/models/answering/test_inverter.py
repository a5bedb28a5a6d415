from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearedge.models.answering.inverter import Inverter, head_of
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import RISING_SCAN, cut, scan
from nearedge.models.inversion import Quality
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import condition
from nearedge.models.parts.outlier import score

DATA = Path(__file__).parents[2] / "data" / "siox.parquet"


@pytest.fixture(scope="module")
def sites():
    return [s for s in read_dataset(DATA) if s.split == "val"]


@pytest.fixture(scope="module")
def spectra(sites):
    return [normalise_xanes(site.spectrum) for site in sites]


@pytest.fixture(scope="module")
def inverter():
    return Inverter.load("siox", device="cpu", threads=1)


def same(a, b):
    return (
        np.array_equal(a.samples.positions, b.samples.positions)
        and np.array_equal(a.samples.species, b.samples.species)
        and np.array_equal(a.estimates.cn_prob, b.estimates.cn_prob)
        and a.ood_score == b.ood_score
    )


def outlier_distance(inverter, spectrum):
    read = condition(spectrum, span=inverter.card.grid)
    edge = inverter.card.edges.index((spectrum.absorber, spectrum.edge))
    return inverter._parts.familiar.distance(read.values, read.mask, edge=edge)


def test_an_answer_does_not_depend_on_its_batch_mates(inverter, spectra):
    alone = [inverter.invert([s], seeds=[k], samples=3)[0] for k, s in enumerate(spectra[:3])]
    together = inverter.invert(spectra[:3], seeds=[0, 1, 2], samples=3)
    backwards = inverter.invert(spectra[2::-1], seeds=[2, 1, 0], samples=3)
    for one, two, three in zip(alone, together, backwards[::-1], strict=True):
        assert same(one, two)
        assert same(one, three)


def test_the_seed_makes_the_samples(inverter, spectra):
    a, b = inverter.invert([spectra[0]] * 2, seeds=[5, 6], samples=2)
    assert not np.array_equal(a.samples.positions, b.samples.positions)
    assert a.seed == 5


@pytest.mark.parametrize("quality", list(Quality))
def test_every_quality_gives_the_same_answer_again(inverter, spectra, quality):
    first, second = (
        inverter.invert([spectra[0]], seeds=[2**63 + 5], samples=2, quality=quality)[0]
        for _ in range(2)
    )
    assert same(first, second)
    assert first.quality is quality


def test_samples_are_clusters_sorted_by_distance(inverter, spectra):
    answer = inverter.invert([spectra[0]], seeds=[0], samples=4)[0]
    lengths = np.linalg.norm(answer.samples.positions, axis=-1)
    assert lengths.shape == (4, inverter.card.atoms)
    assert (np.diff(lengths, axis=1) >= 0).all()
    assert set(answer.samples.species.ravel()) <= set(inverter.card.species)
    assert answer.samples.weights.sum() == pytest.approx(1)
    assert answer.estimates.cn_prob.sum() == pytest.approx(1)
    assert len(answer.grid) == len(answer.condition)
    assert answer.model == inverter.card.digest


def test_a_scan_that_still_runs_is_answered_and_flagged(inverter, sites):
    part = normalise_xanes(cut(scan(sites[0].spectrum, RISING_SCAN), share=0.6))
    answer = inverter.invert([part], seeds=[0], samples=2)[0]
    assert "partial" in answer.flags
    assert np.isnan(answer.condition[-10:]).all()


def test_the_misfit_of_a_whole_scan_makes_its_score(inverter, sites, spectra):
    def usual(misfit):
        card = replace(inverter.card, outlier=inverter.card.outlier | {"misfit": misfit})
        return Inverter(card, inverter._parts, device=inverter.device)

    part = normalise_xanes(cut(scan(sites[0].spectrum, RISING_SCAN), share=0.6))
    asked = {"seeds": [0, 0], "samples": 2}
    for misfit in (0.05, 0.2):
        whole, partial = usual(misfit).invert([spectra[0], part], **asked)
        distances = [outlier_distance(inverter, spectrum) for spectrum in (spectra[0], part)]
        assert whole.ood_score == pytest.approx(score(distances[0], whole.misfit, usual=misfit))
        assert partial.ood_score == pytest.approx(distances[1])


def test_an_unknown_edge_is_refused_with_what_is_known(inverter, spectra):
    foreign = replace(spectra[0], absorber="Fe")
    assert not inverter.card.supports("Fe", "K")
    with pytest.raises(ValueError, match="knows O K, Si K, not Fe K"):
        inverter.invert([foreign], seeds=[0])


def test_seeds_and_spectra_must_pair(inverter, spectra):
    with pytest.raises(ValueError, match="1 seeds for 2 spectra"):
        inverter.invert(spectra[:2], seeds=[0])


def test_nothing_to_invert_is_no_trouble(inverter):
    assert inverter.invert([], seeds=[]) == []


def test_heads_answer_at_once(inverter, spectra):
    told = inverter.expect(spectra[:1])[0]
    prob = head_of(told).cn
    assert prob.sum() == pytest.approx(1)
    assert (prob >= 0).all()


def test_clusters_are_drawn_for_an_expectation_alone(inverter, spectra):
    told = inverter.expect(spectra[:1])[0]
    drawn = inverter.draw(told, seed=3, samples=2)
    again = inverter.draw(told, seed=3, samples=2)
    assert drawn.positions.shape[0] == 2
    assert np.array_equal(drawn.positions, again.positions)
    assert drawn.weights.sum() == pytest.approx(1)


def test_the_mean_coordination_has_an_interval(inverter, spectra):
    found = inverter.invert(spectra[:1], seeds=[0], samples=2)[0].estimates
    assert found.cn_mean_lo <= found.cn_mean <= found.cn_mean_hi


def test_a_spectrum_that_is_no_oxide_is_flagged(inverter, spectra):
    x = spectra[0].energy - spectra[0].e0
    odd = 0.5 + np.arctan(x) / np.pi + 0.6 * np.sin(1.7 * x) * (x > 5)
    answer = inverter.invert([replace(spectra[0], flat=odd)], seeds=[0], samples=2)[0]
    assert answer.ood_flag
    assert "out-of-distribution" in answer.flags


def test_answers_for_familiar_spectra_are_not_flagged(inverter, spectra):
    answers = inverter.invert(spectra, seeds=range(len(spectra)), samples=1)
    assert sum(a.ood_flag for a in answers) <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_devices_agree(inverter, spectra):
    there = Inverter.load("siox", device="cuda").invert(spectra[:3], seeds=[0, 1, 2], samples=4)
    here = inverter.invert(spectra[:3], seeds=[0, 1, 2], samples=4)
    for a, b in zip(there, here, strict=True):
        assert np.abs(a.samples.positions - b.samples.positions).max() < 0.05
