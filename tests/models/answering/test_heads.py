"""The heads answer many spectra as they answer one."""

from dataclasses import replace

import numpy as np
import pytest

from nearedge.models import Reason, Technique
from nearedge.models.answering.estimate import Calibration, Head, cn_distribution, mean_interval
from nearedge.models.answering.heads import HEADS_ONLY, answer_all, cn_probabilities
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.several import Several
from nearedge.models.many_spectra import Spectra
from nearedge.models.normalise.many.xanes import normalise_many_xanes
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import GRID, condition
from nearedge.models.parts.many_conditions import conditions


def edge(energy, at, *, peak):
    rise = 1 / (1 + np.exp(-np.clip((energy - at) / 0.8, -50, 50)))
    return rise * (1 + peak * np.exp(-0.5 * ((energy - at - 4) / 2) ** 2))


def block(count=40, *, before=45.0, after=60.0, seed=0, at=1842.0, **changes):
    rng = np.random.default_rng(seed)
    energy = np.arange(at - before, at + after, 0.4)
    counts = rng.choice([1e3, 1e5], count)
    mu = np.stack(
        [
            rng.poisson(n * (0.3 + edge(energy, at + s, peak=p))) / n
            for n, s, p in zip(
                counts, rng.normal(0, 1, count), rng.uniform(0, 2, count), strict=True
            )
        ]
    )
    mu[3] = np.nan  # nothing was measured
    mu[5, 100] += 40.0  # a glitch
    told = {"technique": Technique.XANES, "absorber": "Si", "edge": "K"}
    return Spectra(energy=energy, mu=mu, **{**told, **changes})


@pytest.fixture(scope="module")
def siox():
    return Inverter.load("siox", device="cpu", threads=1)


@pytest.mark.parametrize("sides", [(45.0, 60.0), (8.0, 60.0), (30.0, 18.0), (90.0, 200.0)])
def test_every_spectrum_is_read_as_it_is_alone(sides):
    spectra = block(before=sides[0], after=sides[1])
    found = conditions(normalise_many_xanes(spectra))
    for k, values, mask, origin in zip(
        found.rows, found.values, found.mask, found.origin, strict=True
    ):
        one = condition(normalise_xanes(spectra.one(k)))
        assert np.array_equal(mask, one.mask)
        assert values == pytest.approx(one.values, abs=1e-6)
        assert origin == pytest.approx(one.origin, abs=1e-7)
    assert 3 not in found.rows
    assert 5 in found.rows


def test_what_has_nothing_on_the_grid_is_refused():
    found = conditions(normalise_many_xanes(block()), span=(500.0, 560.0, 0.5))
    assert not len(found.rows)
    assert "no point between 500 and 560 eV" in found.refused[0]
    assert len(condition(normalise_xanes(block().one(0)), span=GRID).values) == 141


def test_the_heads_say_of_many_what_they_say_of_one(siox):
    spectra = block()
    normalised = normalise_many_xanes(spectra)
    found = answer_all(siox, normalised, span=siox.card.grid)
    for k in (0, 5, 17):
        one = normalise_xanes(spectra.one(k))
        (expected,) = siox.expect([one])
        assert found.bond[k] == pytest.approx(float(expected.mean[0, -3]), abs=1e-4)
        read = condition(one, span=siox.card.grid)
        alone = siox._parts.familiar.distance(
            read.values, read.mask, edge=siox.card.edges.index(("Si", "K"))
        )
        assert found.ood_score[k] == pytest.approx(alone, rel=1e-3)


def test_the_figures_of_every_spectrum_are_whole(siox):
    found = answer_all(siox, normalise_many_xanes(block()), span=siox.card.grid)
    good = [k for k in range(len(found)) if k not in found.rejected]
    assert found.cn_prob[good].sum(axis=1) == pytest.approx(1.0)
    for name in ("cn_mean", "bond", "angle"):
        mean, lo, hi = (getattr(found, name + end)[good] for end in ("", "_lo", "_hi"))
        assert (lo <= mean).all()
        assert (mean <= hi).all()
    assert all(HEADS_ONLY in found.flags[k] for k in good)
    assert found.model == siox.card.digest


def test_a_rejected_spectrum_has_its_reason_and_no_figure(siox):
    found = answer_all(siox, normalise_many_xanes(block()), span=siox.card.grid)
    assert found.rejected[3].reason is Reason.NOT_FINITE
    assert found.flags[3] == ()
    assert np.isnan(found.cn_mean[3])
    assert not found.ood_flag[3]


def test_where_all_are_rejected_all_reasons_are_told(siox):
    spectra = block()
    nothing = Spectra(
        energy=spectra.energy,
        mu=np.full(spectra.mu.shape, np.nan),
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )
    found = answer_all(siox, normalise_many_xanes(nothing), span=siox.card.grid)
    assert len(found.rejected) == len(spectra)
    assert np.isnan(found.bond).all()


def test_unlike_spectra_and_foreign_elements_are_flagged(siox):
    spectra = block(8)
    wild = 1 + 3 * np.sin(spectra.energy / 2) * (spectra.energy > 1845)
    odd = Spectra(
        energy=spectra.energy,
        mu=edge(spectra.energy, 1842, peak=0) * wild + 0 * spectra.mu[:2],
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )
    normalised = normalise_many_xanes(odd)
    assert not normalised.rejected
    normalised = replace(normalised, elements=("Na", "O", "Si"))
    found = answer_all(siox, normalised, span=siox.card.grid)
    assert found.ood_flag.all()
    assert "out-of-distribution" in found.flags[0]
    assert "other-elements: Na" in found.flags[0]


def test_the_model_of_all_edges_says_the_same_as_of_one():
    model = Several.load("any", device="cpu", threads=1)
    spectra = block(8, at=7115.0, absorber="Fe")
    found = answer_all(model, normalise_many_xanes(spectra), span=model.cards.grid)
    (one,) = model.invert([normalise_xanes(spectra.one(0))], seeds=[1], samples=4)
    assert found.cn_prob[0] == pytest.approx(one.estimates.cn_prob, abs=1e-4)
    assert found.bond[0] == pytest.approx(one.estimates.bond.mean, abs=1e-4)
    assert found.bond_lo[0] == pytest.approx(one.estimates.bond.lo, abs=1e-4)
    assert found.ood_score[0] == pytest.approx(one.ood_score, rel=1e-3)


def test_an_edge_that_no_model_knows_is_refused(siox):
    spectra = block(8, absorber="Al")
    normalised = normalise_many_xanes(spectra, e0=1842.0)
    with pytest.raises(ValueError, match="not Al K"):
        siox.heads(conditions(normalised), absorber="Al", edge="K")


def test_the_probabilities_are_those_of_the_head_alone():
    head = np.array([0.05, 0.15, 0.5, 0.3])
    calibration = Calibration(head_weight=1.0, temperature=1.3, doubt=0.5, usual=0.04)
    wanted = cn_distribution(
        np.array([2]), np.ones(1), calibration=calibration, head=Head(cn=head, bond=0.07, angle=1)
    )
    (found,) = cn_probabilities(head[None], np.array([0.07]), calibration)
    assert found == pytest.approx(wanted)
    assert mean_interval(found, calibration.cn_mean).mean == pytest.approx(found @ np.arange(13))
