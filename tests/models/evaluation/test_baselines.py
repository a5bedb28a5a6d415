import dataclasses

import numpy as np
import pytest

from nearedge.models.data.instruments import InputCondition, cases
from nearedge.models.evaluation import figures
from nearedge.models.evaluation.baselines import fit_templates, fit_trees, samples_of


@pytest.fixture(scope="module")
def clean(ringing_sites):
    return list(cases(ringing_sites, condition=InputCondition.CLEAN))


@pytest.mark.parametrize("fit", [fit_templates, lambda c: fit_trees(c, trees=20)])
def test_a_baseline_learns_what_it_is_shown(fit, clean):
    method = fit(clean[:30])
    found = figures.summarise(
        [figures.score(method.answer(c.spectrum), figures.truth_of(c.sites)) for c in clean[30:]]
    )
    assert found["cn_accuracy"] == 1
    assert found["bond_error"] < 0.02
    assert found["angle_mae"] < 1
    assert found["rdf_overlap"] > 0.8
    assert found["cn_coverage"] is None
    assert found["bond_coverage"] is None


def test_templates_find_themselves_even_from_half_a_scan(clean):
    library = fit_templates(clean)
    for case in clean[:6]:
        found = figures.score(library.answer(case.spectrum), figures.truth_of(case.sites))
        assert found.bond_error == pytest.approx(0, abs=1e-6)
        assert found.shell_rmsd == pytest.approx(0, abs=1e-5)
    spectrum = clean[5].spectrum
    first = {name: getattr(spectrum, name)[:60] for name in ("energy", "mu", "norm", "flat")}
    half = dataclasses.replace(spectrum, **first)
    assert library.answer(half).cn_map == clean[5].sites[0].cn


def test_clusters_of_different_size_are_padded(make_site):
    samples = samples_of([make_site(), make_site(species=["O"], positions=np.ones((1, 3)))])
    assert samples.species[1].tolist() == ["O", "", "", ""]
    assert samples.weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("fit", [fit_templates, fit_trees])
def test_nothing_to_learn_from_is_an_error(fit):
    with pytest.raises(ValueError, match="no normalised spectrum"):
        fit([])
