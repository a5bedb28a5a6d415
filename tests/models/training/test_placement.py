from pathlib import Path

import numpy as np
import pytest
import torch

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation, cn_class, describe
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.rattle import Rattling
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.training.denoiser import draw_pool
from nearedge.models.training.placement import (
    PlacementLesson,
    PlacementTraining,
    surroundings,
    told_by,
    told_exactly,
)
from nearedge.models.training.recipe import PlacementRecipe

DATA = Path(__file__).parents[2] / "data" / "siox.parquet"
ELEMENTS, ATOMS = ("O", "Si"), 12
RECIPE = PlacementRecipe(steps=60, batch=12, labelled=0.4, exact=0.25, ema=0.8)


@pytest.fixture(scope="module")
def sites():
    return [s for s in read_dataset(DATA) if s.split == "train" and len(s.species) >= 24]


@pytest.fixture
def model():
    torch.manual_seed(0)
    size = PlacementSize(atoms=ATOMS, scalars=16, vectors=8, layers=1, filters=8)
    return Placement(size, elements=ELEMENTS)


def told_of(sites, spread=0.1, off=0.0):
    """Expect of each site what is true of it, and something besides."""
    described = np.array(
        [describe(s.absorber, s.species, s.positions, vocabulary=ELEMENTS) for s in sites]
    )
    mean = torch.from_numpy(np.nan_to_num(described)).float()
    mean[:, : -descriptors.SHELL] += off
    edge = torch.tensor([ELEMENTS.index(s.absorber) for s in sites])
    return Expectation(mean, torch.full_like(mean, spread), torch.zeros(len(mean), 11), edge)


def classes(sites):
    return torch.tensor([cn_class(s.absorber, s.species, s.positions) for s in sites])


@pytest.fixture(scope="module")
def lesson(sites):
    rng = np.random.default_rng(0)
    edges = (("O", "K"), ("Si", "K"))
    pool = draw_pool(sites, 20, rng=rng, edges=edges, rattling=Rattling())
    described = [describe(s.absorber, s.species, s.positions, vocabulary=ELEMENTS) for s in pool]
    expected = told_of(sites)
    alike = [
        [k for k, site in enumerate(sites) if site.absorber == one.absorber][:2] for one in pool
    ]
    return PlacementLesson(
        labelled=surroundings(sites, elements=ELEMENTS),
        pool=surroundings(pool, elements=ELEMENTS),
        described=torch.tensor(np.array(described)).float(),
        lenders=expected.mean,
        donors=torch.tensor(alike),
        expected=[expected, told_of(sites, spread=0.2)],
        members=torch.arange(len(sites))[None, :, None].expand(2, -1, 1),
    )


def test_what_is_expected_exactly_is_told_as_the_truth_is(sites, model):
    every = surroundings(sites, elements=ELEMENTS)[torch.arange(len(sites))]
    exact = told_exactly(model, *every)
    found = told_by(model, told_of(sites), classes(sites), *every)
    assert found.there.all()
    near = found.given.radii < 4
    assert torch.allclose(found.given.radii[near], exact.given.radii[near], atol=1e-3)
    # atoms equally far may change places
    apart = torch.cdist(found.positions, every[0]).amin(2)
    assert apart[near].max() < 0.01


def test_an_atom_stays_where_it_is_however_wrongly_it_is_told(sites, model):
    every = surroundings(sites, elements=ELEMENTS)[torch.arange(len(sites))]
    found = told_by(model, told_of(sites, off=0.05), classes(sites), *every)
    off = found.given.radii - found.positions.norm(dim=-1)
    assert float(off.median()) == pytest.approx(0.05, abs=0.01)
    assert (found.given.bonded.sum(1) == classes(sites)).all()


def test_a_batch_holds_every_kind_of_what_is_told(lesson, model):
    told = lesson.batch(model, RECIPE, rng=np.random.default_rng(0))
    assert told.positions.shape == (12, ATOMS, 3)
    slack = told.given.slack[:, 0]
    assert (slack == 0).sum() == 3
    assert {round(float(s), 1) for s in slack} == {0.0, 0.1, 0.2}


def test_training_learns_and_goes_on_where_it_was(lesson, sites, model):
    every = lesson.labelled[torch.arange(len(sites))]
    exam = [told_exactly(model, *every)]
    training = PlacementTraining.start(model, lesson, exam=exam, recipe=RECIPE, seed=0)
    (before,) = training.nats()
    for _ in range(50):
        training.advance()
    (after,) = training.nats()
    assert np.mean(after[1:]) < np.mean(before[1:])
    again = PlacementTraining.start(
        Placement(model.size, elements=ELEMENTS), lesson, exam=exam, recipe=RECIPE, seed=0
    )
    again.descent.restore(training.descent.state())
    assert again.advance() == pytest.approx(training.advance(), abs=1e-6)
