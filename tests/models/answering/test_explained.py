from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nearedge.models.answering.card import shipped
from nearedge.models.answering.explained import Explained, scatter_of
from nearedge.models.answering.inverter import Inverter
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import RISING_SCAN, average, cut, scan
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.training import calibrating

DATA = Path(__file__).parents[2] / "data" / "siox.parquet"
OUTLIER = {"explained": {"misfit": 0.5, "scatter": 0.8, "usual": [0.06, 0.3]}}


def expectation(spread):
    spread = torch.tensor([spread])
    return Expectation(spread, spread, torch.zeros(1, 11), torch.zeros(1, dtype=torch.int64))


def test_a_card_says_what_is_usual_and_an_older_one_flags_nothing():
    found = Explained.of_card(OUTLIER)
    assert found == Explained(misfit=0.5, scatter=0.8, usual=(0.06, 0.3))
    assert not Explained.of_card({"misfit": 0.15, "threshold": 1.5}).fails(9.0, 9.0)


@pytest.mark.parametrize(
    ("misfit", "scatter", "fails"), [(0.4, 0.7, False), (0.6, 0.1, True), (0.1, 0.9, True)]
)
def test_a_misfit_or_a_scatter_that_few_have_is_not_explained(misfit, scatter, fails):
    assert Explained.of_card(OUTLIER).fails(misfit, scatter) is fails


def test_scatter_is_counted_in_that_of_all_sites():
    unit = torch.tensor([2.0, 0.5])
    assert scatter_of(expectation([2.0, 0.5]), unit) == pytest.approx(1.0)
    assert scatter_of(expectation([1.0, 0.25]), unit) == pytest.approx(0.5)


@pytest.mark.parametrize("count", [40, 326])
def test_few_single_sites_are_called_not_explained(count):
    rng = np.random.default_rng(count)
    misfits, scatters = rng.lognormal(-2, 0.5, count), rng.lognormal(-1, 0.4, count)
    numbers = calibrating.explained_scale(
        [SimpleNamespace(misfit=float(one)) for one in misfits], scatters.tolist()
    )
    found = Explained.of_card({"explained": numbers})
    alarms = np.mean([found.fails(*pair) for pair in zip(misfits, scatters, strict=True)])
    assert calibrating.FALSE_ALARMS - 2 / count <= alarms <= calibrating.FALSE_ALARMS
    assert np.mean((misfits >= found.usual[0]) & (misfits <= found.usual[1])) == pytest.approx(
        0.8, abs=0.03
    )


@pytest.fixture(scope="module")
def inverter():
    if "siox" not in shipped():
        pytest.skip("no weights are shipped")
    return Inverter.load("siox", device="cpu", threads=1)


def test_an_average_over_unlike_sites_is_not_explained_and_its_sites_are(inverter):
    silicon = [s for s in read_dataset(DATA) if s.absorber == "Si" and s.cn]
    chosen = [silicon[k] for k in np.random.default_rng(0).choice(len(silicon), 4, replace=False)]
    mixed = normalise_xanes(average([site.spectrum for site in chosen]))
    alone = [normalise_xanes(site.spectrum) for site in chosen]
    whole, *answers = inverter.invert([mixed, *alone], seeds=range(5), samples=4)
    assert "not-explained" in whole.flags
    assert not any("not-explained" in answer.flags for answer in answers)
    assert whole.usual_misfit == tuple(inverter.card.outlier["explained"]["usual"])


def test_a_part_of_a_scan_is_not_called_so(inverter):
    site = next(s for s in read_dataset(DATA) if s.absorber == "Si" and s.cn)
    part = normalise_xanes(cut(scan(site.spectrum, RISING_SCAN), share=0.4))
    (answer,) = inverter.invert([part], seeds=[0], samples=2)
    assert "not-explained" not in answer.flags
