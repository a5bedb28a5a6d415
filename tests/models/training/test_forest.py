"""Growing trees, with scikit-learn as the oracle of what they answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.gap import read_views
from nearedge.models.parts.forest import Forest
from nearedge.models.training.forest import ForestRecipe, bond_tables, grow_forest, share_tables
from nearedge.models.training.general import GeneralRecipe, lessons
from nearedge.models.training.measured import MeasuredLessons, TuneRecipe

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "any-01.parquet"
TREES = ForestRecipe(trees=8, views=4, leaf=2)


@pytest.fixture(scope="module")
def data():
    sites = [s for s in read_dataset(DATA) if s.absorber in ("Cu", "S") and s.formula]
    return lessons([s for s in sites if s.split == "train"][:60])


@pytest.fixture(scope="module")
def forest(data):
    return grow_forest(data, GeneralRecipe(), TREES)


def clean(data):
    values = read_views(data.levels[:, 2])
    return values, torch.ones_like(values), data.absorber, data.hint


def numbers_and_targets(classes):
    """Whole numbers: thresholds are kept in half precision, so few come to lie on a number."""
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 9, size=(300, 6)).astype(np.float32)
    return x, rng.choice(classes, 300), x[:, 0] + 0.1 * rng.normal(size=300)


def test_tables_answer_as_the_trees_they_are_made_of():
    x, cn, bond = numbers_and_targets([2, 4, 6])
    shares = ExtraTreesClassifier(5, min_samples_leaf=3, random_state=1).fit(x, cn)
    lengths = ExtraTreesRegressor(5, min_samples_leaf=3, random_state=1).fit(x, bond)
    told = share_tables(shares, 15).answers(torch.from_numpy(x)).mean(1).numpy()
    np.testing.assert_allclose(told[:, [2, 4, 6]], shares.predict_proba(x), atol=1e-3)
    assert told.shape == (300, 15)
    mean, spread = bond_tables(lengths).answers(torch.from_numpy(x)).unbind(-1)
    np.testing.assert_allclose(mean.mean(1).numpy(), lengths.predict(x), atol=5e-3)
    assert (spread >= 0).all()
    assert spread.max() > 0.01


def test_the_spread_of_a_leaf_is_that_of_what_it_holds():
    x = np.zeros((4, 2), np.float32)
    trees = ExtraTreesRegressor(1).fit(x, [1.0, 1.2, 1.0, 1.2])
    told = bond_tables(trees).answers(torch.from_numpy(x))
    np.testing.assert_allclose(told[0, 0].numpy(), [1.1, 0.1], atol=1e-3)


def test_a_forest_knows_what_it_learned(data, forest):
    told = forest(*clean(data))
    assert (told.cn.argmax(1) == data.cn).float().mean() > 0.8
    assert (told.kind.argmax(1) == data.kind).float().mean() > 0.9
    known = ~data.bond.isnan()
    assert (told.bond[:, 0] - data.bond)[known].abs().median() < 0.05
    torch.testing.assert_close(told.cn.sum(1), torch.ones(len(data)), atol=2e-3, rtol=0)


def test_a_forest_answers_without_composition_and_for_half_a_scan(data, forest):
    values, mask, absorber, hint = clean(data)
    mask[:, 60:] = 0
    told = forest(values * mask, mask, absorber, torch.zeros_like(hint))
    assert torch.isfinite(told.cn).all()
    assert torch.isfinite(told.bond).all()


def test_a_forest_that_was_stored_answers_the_same(data, forest):
    told, again = forest(*clean(data)), Forest.of(forest.tensors())(*clean(data))
    for name in ("cn", "kind", "bond"):
        torch.testing.assert_close(getattr(again, name), getattr(told, name))


def test_the_same_seed_grows_the_same_forest(data, forest):
    again = grow_forest(data, GeneralRecipe(), TREES).tensors()
    for name, tensor in forest.tensors().items():
        torch.testing.assert_close(again[name], tensor)


def test_measured_scans_teach_what_calculated_spectra_do_not(data):
    """Scans of copper with nine neighbours, of which no calculated site has an example."""
    values, mask, absorber, hint = (part[:6] for part in clean(data))
    scans = MeasuredLessons(
        values=values,
        mask=mask,
        absorber=absorber,
        hint=hint,
        cn=torch.full((6,), 9),
        bond=torch.full((6,), 1.3),
    )
    assert not (data.cn == 9).any()
    how = replace(TREES, weight=20.0)
    taught = grow_forest(data, GeneralRecipe(), how, measured=scans, tune=TuneRecipe())
    told = taught(values, mask, absorber, hint)
    assert (told.cn.argmax(1) == 9).all()
    assert (told.bond[:, 0] - 1.3).abs().max() < 0.15
