import dataclasses

import numpy as np
import pytest

from nearedge.models import metrics
from nearedge.models.baselines import fit_templates, fit_trees, samples_of
from nearedge.models.conditions import InputCondition, cases

ENERGY = 1840 + np.concatenate([np.arange(-9, 12, 0.4), np.arange(12, 62, 1.5)])
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
OCTAHEDRON = np.vstack([np.eye(3), -np.eye(3)])


@pytest.fixture(scope="module")
def sites(make_site):
    """Octahedra and tetrahedra whose spectra ring with the bond length, as real ones do."""

    def one(key, shell, bond):
        x, wave = ENERGY - 1840, np.sqrt(np.maximum(ENERGY - 1840, 0)) * 0.51
        ringing = len(shell) / 8 * np.sin(2 * bond * wave) * np.exp(-(wave**2) / 12)
        return make_site(
            id=key,
            species=["O"] * len(shell),
            positions=shell * bond,
            energy=ENERGY,
            mu=0.5 + np.arctan(x / 0.3) / np.pi + ringing,
        )

    rng = np.random.default_rng(0)
    shells = [TETRAHEDRON if k % 2 else OCTAHEDRON for k in range(40)]
    return [one(str(k), s, rng.uniform(1.55, 1.85)) for k, s in enumerate(shells)]


@pytest.fixture(scope="module")
def clean(sites):
    return list(cases(sites, condition=InputCondition.CLEAN))


@pytest.mark.parametrize("fit", [fit_templates, lambda c: fit_trees(c, trees=20)])
def test_a_baseline_learns_what_it_is_shown(fit, clean):
    method = fit(clean[:30])
    found = metrics.summarise(
        [metrics.score(method.answer(c.spectrum), metrics.truth_of(c.sites)) for c in clean[30:]]
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
        found = metrics.score(library.answer(case.spectrum), metrics.truth_of(case.sites))
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
