import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from nearedge.models.answering.estimate import Calibration, estimate
from nearedge.models.data.instruments import InputCondition, half_height
from nearedge.models.evaluation import baselines
from nearedge.models.evaluation.evaluate import EvaluationPlan, evaluate
from nearedge.models.evaluation.plots import plot
from nearedge.models.inversion import Inversion, Quality, Samples


class Oracle:
    """Knows the true cluster of every spectrum by its length of ringing, and shakes it a little."""

    def __init__(self, sites):
        self.sites = sites
        self.asked = []
        self.told = []

    def supports(self, absorber, edge):
        return (absorber, edge) == ("Si", "K")

    def _nearest(self, spectrum):
        relative = spectrum.energy - spectrum.e0
        inside = relative > 1

        def misfit(site):
            known = np.interp(relative, site.energy - half_height(site.spectrum), site.mu)
            return np.mean((known - spectrum.flat)[inside] ** 2)

        return min(self.sites, key=misfit), min(misfit(s) for s in self.sites)

    def _invert(self, spectrum, seed, samples, quality):
        site, misfit = self._nearest(spectrum)
        rng = np.random.default_rng(seed)
        clusters = site.positions + rng.normal(0, 0.01, (samples, *site.positions.shape))
        drawn = Samples(
            species=np.tile(site.species, (samples, 1)),
            positions=clusters.astype(np.float32),
            weights=np.full(samples, 1 / samples),
        )
        return Inversion(
            absorber=spectrum.absorber,
            edge=spectrum.edge,
            samples=drawn,
            estimates=estimate(drawn, absorber="Si", calibration=Calibration()),
            grid=np.zeros(1),
            condition=np.zeros(1),
            ood_score=misfit,
            ood_flag=bool(misfit > 0.02),
            misfit=None,
            model="oracle",
            seed=seed,
            quality=quality,
            seconds=0.0,
        )

    def invert(self, spectra, *, seeds, samples, quality):
        self.asked += [(s.absorber, s.edge) for s in spectra]
        self.told += [s.elements for s in spectra]
        return [
            self._invert(s, seed, samples, quality) for s, seed in zip(spectra, seeds, strict=True)
        ]


@pytest.fixture(scope="module")
def sites(ringing_sites, make_site):
    x = np.arange(-9, 60, 0.5)
    wiggle = 0.5 + np.arctan(x / 0.5) / np.pi + np.exp(-(((x - 20) / 3) ** 2))
    foreign = make_site(id="fe", split="foreign", absorber="Fe", energy=7112 + x, mu=wiggle)
    return [*ringing_sites, foreign]


@pytest.fixture(scope="module")
def report(sites, ringing_sites):
    plan = EvaluationPlan(splits=("test",), samples=4, quality=Quality.FAST, most=6, trees=10)
    return evaluate(Oracle(ringing_sites), sites, plan=plan)


def test_every_condition_and_method_is_scored(report):
    figures = report.figures()
    assert set(figures) == {c.value for c in InputCondition}
    for methods in figures.values():
        assert set(methods) == {"model", "templates", "trees"}
    clean = figures["clean"]["model"]["test"]
    assert set(clean) == {"all", "Si"}
    assert clean["all"]["rows"] == 10
    assert clean["all"]["cn_accuracy"] == 1
    assert clean["all"]["bond_error"] < 0.01
    assert figures["partial-60"]["model"]["test"]["all"]["rows"] == 6
    assert figures["mean"]["model"]["test"]["all"]["rows"] == 5


def test_foreign_spectra_are_asked_as_ours_and_told_apart(report):
    assert {one.asked_as for one in report.foreign} == {"Si"}
    found = report.ood()
    assert set(found) == {"clean", "measured"}
    assert found["clean"]["ood_auc"] == 1
    assert found["clean"]["flagged_foreign"] == 1


def test_noise_levels_are_those_of_the_counts(report):
    assert [level.counts for level in report.noise] == [1e3, 1e4, 1e5, 1e6]
    assert all(len(level.scores) == 6 for level in report.noise)


def test_json_and_markdown_hold_the_figures(report):
    written = json.loads(report.to_json())
    assert written["settings"]["model"] == "oracle"
    assert written["figures"]["clean"]["model"]["test"]["all"]["rows"] == 10
    text = report.to_markdown()
    for condition in InputCondition:
        assert f"### {condition.value}" in text
    assert "| `cn_accuracy`, % | **100.0** |" in text


def test_the_model_is_compared_with_each_baseline(report):
    found = report.contrasts()["clean"]["test"]
    assert set(found) == {"templates", "trees"}
    assert found["trees"]["bond_mae"].rows == 10
    clean = report.figures()["clean"]
    apart = clean["trees"]["test"]["all"]["bond_mae"] - clean["model"]["test"]["all"]["bond_mae"]
    assert found["trees"]["bond_mae"].gain == pytest.approx(apart)
    assert json.loads(report.to_json())["contrasts"]["clean"]["test"]["trees"]["bond_mae"]["rows"]
    assert "| clean | test | trees |" in report.to_markdown()


def test_it_is_repeatable_and_rows_stand_alone(sites):
    plan = EvaluationPlan(
        splits=("test",),
        samples=2,
        conditions=(InputCondition.MEASURED,),
        baselines=False,
        noise=False,
    )
    whole = evaluate(Oracle(sites), sites, plan=plan)
    half = evaluate(Oracle(sites), [s for s in sites if s.id in ("31", "35")], plan=plan)
    scores = {row.id: row.score for row in whole.rows}
    assert all(repr(row.score) == repr(scores[row.id]) for row in half.rows)
    assert len(half.rows) == 2


def test_rejected_spectra_are_counted(sites, make_site):
    x = np.arange(-9, 60, 0.5)
    dull = make_site(id="dull", split="test", energy=1840 + x, mu=np.full(len(x), 0.3))
    plan = EvaluationPlan(
        splits=("test",), conditions=(InputCondition.CLEAN,), baselines=False, noise=False
    )
    report = evaluate(Oracle(sites), [dull], plan=plan)
    assert sum(report.rejected["clean"]["test"].values()) == 1
    assert report.rows == ()
    assert "- rejected, clean, test: 1 ×" in report.to_markdown()


ONCE = EvaluationPlan(
    splits=("test",), conditions=(InputCondition.CLEAN,), baselines=False, noise=False, samples=2
)


def test_an_edge_that_the_model_does_not_know_is_counted(sites, make_site):
    one = sites[-1]
    iron = make_site(id="fe", split="test", absorber="Fe", energy=one.energy, mu=one.mu)
    report = evaluate(Oracle(sites), [iron], plan=ONCE)
    assert report.rejected["clean"]["test"] == {"unsupported Fe K": 1}


@pytest.mark.parametrize(("composition", "elements"), [(True, ("O", "Si")), (False, ())])
def test_the_model_is_told_the_composition_if_wanted(sites, composition, elements):
    oracle = Oracle(sites)
    quartz = replace(next(site for site in sites if site.split == "test"), formula="SiO2")
    evaluate(oracle, [quartz], plan=replace(ONCE, composition=composition))
    assert oracle.told == [elements]


def test_baselines_are_evaluated_without_a_model(sites):
    plan = EvaluationPlan(splits=("test",), conditions=(InputCondition.CLEAN,), trees=10)
    report = evaluate(None, sites, plan=plan)
    assert set(report.figures()["clean"]) == {"templates", "trees"}
    assert report.cpu_s() is None


def test_an_edge_without_training_spectra_has_no_baselines(sites, make_site):
    x = np.arange(-9, 60, 0.5)
    dull = make_site(id="dull", split="train", absorber="Fe", energy=7112 + x, mu=np.full(138, 0.3))
    plan = EvaluationPlan(splits=("test",), conditions=(InputCondition.CLEAN,), trees=10)
    found = evaluate(None, [*sites, dull], plan=plan).figures()["clean"]
    assert found["trees"]["test"]["all"]["rows"] == 10


def test_baselines_without_scikit_learn_say_what_to_install(sites, monkeypatch):
    oracle = Oracle(sites)
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"nearedge\[evaluate\]"):
        evaluate(oracle, sites, plan=EvaluationPlan(splits=("test",)))
    assert oracle.asked == []


def test_progress_is_told(sites):
    told = []
    plan = EvaluationPlan(
        splits=("test",), conditions=(InputCondition.CLEAN,), samples=2, baselines=False
    )
    evaluate(Oracle(sites), sites, plan=plan, progress=lambda *step: told.append(step))
    assert ("clean", 10, 10) in told


def test_plots_are_drawn(report, tmp_path):
    written = plot(report, tmp_path / "figures")
    assert [p.stem for p in written] == [
        "cn-confusion",
        "bond-parity",
        "rdf",
        "reliability",
        "noise",
        "partial",
    ]
    for path in written:
        pixels = imread(path)
        assert pixels.shape[0] > 300
        assert pixels[..., :3].std() > 0.02


def test_nothing_measured_draws_nothing(tmp_path):
    assert plot(evaluate(None, [], plan=EvaluationPlan(baselines=False)), tmp_path) == []
