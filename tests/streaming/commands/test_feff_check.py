import json
from dataclasses import replace

import numpy as np
import pytest

from nearedge.models.answering.inverter import Inverter
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.spectrum import Rejected
from nearedge.streaming.commands import feff_check
from nearedge.streaming.workers.feff import Calculation, FeffError


@pytest.fixture(scope="module")
def inverter():
    return Inverter.load("siox", device="cpu")


@pytest.fixture(scope="module")
def site():
    from pathlib import Path

    from nearedge.models.data.dataset import read_dataset

    rows = read_dataset([Path(__file__).parents[2] / "data" / "siox.parquet"])
    return next(row for row in rows if row.absorber == "Si" and len(row.energy))


@pytest.fixture(scope="module")
def answer(inverter, site):
    spectrum = normalise_xanes(site.spectrum)
    assert not isinstance(spectrum, Rejected)
    return inverter.invert([spectrum], seeds=[1], samples=4)[0]


def calculation(site, **changes):
    values = {name: getattr(site, name) for name in ("energy", "mu", "mu0", "e_fermi")}
    return Calculation(**(values | {"converged": True} | changes))


def test_the_cluster_that_gives_the_very_spectrum_fits(monkeypatch, inverter, site, answer):
    asked = []
    monkeypatch.setattr(
        feff_check, "calculate", lambda cards, timeout_s: asked.append(cards) or calculation(site)
    )
    found = feff_check.check(answer, span=inverter.card.grid)
    assert found.misfit < 1e-6
    assert len(found.energy) == len(found.flat) == len(answer.condition)
    nearest = answer.samples.positions[found.sample][0]
    assert "{:.5f} {:.5f} {:.5f}".format(*nearest) in asked[0]


def test_another_spectrum_does_not_fit(monkeypatch, inverter, site, answer):
    wrong = calculation(site, mu=site.mu + 0.5 * np.sin((site.energy - site.energy[0]) / 4))
    monkeypatch.setattr(feff_check, "calculate", lambda cards, timeout_s: wrong)
    assert feff_check.check(answer, span=inverter.card.grid).misfit > 0.1


def test_what_feff_fails_on_is_told_and_the_rest_goes_on(
    monkeypatch, tmp_path, inverter, site, answer
):
    results = iter([calculation(site, converged=False), calculation(site)])
    monkeypatch.setattr(feff_check, "calculate", lambda cards, timeout_s: next(results))
    named = [("a", answer), ("b", answer)]
    rows = list(feff_check.check_all(named, span=inverter.card.grid))
    assert "self-consistent" in feff_check.in_words(rows[0])
    assert "by FEFF" in feff_check.in_words(rows[1])
    assert "surrogate" not in feff_check.in_words(rows[1] | {"misfit": None})
    path = feff_check.write_report(tmp_path / "out.parquet", rows)
    assert path.name == "out.parquet.feff.json"
    assert [row["id"] for row in json.loads(path.read_text())] == ["a", "b"]


def test_a_missing_feff_says_how_to_get_it(monkeypatch, inverter, answer):
    monkeypatch.setattr("nearedge.streaming.workers.feff.find_spec", lambda name: None)
    with pytest.raises(FeffError, match="pip install"):
        feff_check.check(answer, span=inverter.card.grid)


def test_the_heaviest_sample_is_chosen(answer):
    heavy = np.array([0.1, 0.6, 0.2, 0.1])
    weighted = replace(answer, samples=replace(answer.samples, weights=heavy))
    assert feff_check.likeliest(weighted) == 1
