"""Lists and places are learned from crystals, step by step, and again after a stop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import read_dataset
from nearedge.models.parts.general import elements
from nearedge.models.parts.general_growth import closest
from nearedge.models.parts.listing import Listing, ListingSize
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.training.general_growth import (
    GrowthRecipe,
    list_loss,
    listed_of,
    stated_of,
    surrounded,
    told_of,
    train_lists,
    train_places,
    usable,
)

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "surroundings.parquet"
RECIPE = GrowthRecipe(atoms=12, lists=8, places=2, list_batch=16, place_batch=6, every=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def sites():
    found = [s for s in read_dataset(DATA, absorber="Zn") if usable(s, atoms=12)]
    return found[:20]


@pytest.fixture(scope="module")
def data(sites):
    return surrounded(sites, atoms=12, copies=1, rng=np.random.default_rng(0))


def test_sites_become_tensors_as_they_are(sites, data):
    cluster = ("Zn", sites[0].species[:12], sites[0].positions[:12])
    assert int(data.cn[0]) == int(geometry.coordination(*cluster))
    assert float(data.bond[0]) == pytest.approx(float(geometry.mean_bond(*cluster)), abs=1e-4)
    assert [elements()[k] for k in data.kinds[0]] == sites[0].species[:12].tolist()
    angles = np.radians(geometry.shell_angles(*cluster))
    assert float(data.cosine[0]) == pytest.approx(np.cos(angles).mean(), abs=1e-4)
    assert float(data.scatter[0]) == pytest.approx(np.cos(angles).std(), abs=1e-4)


def test_what_is_stated_is_off_by_as_much_as_it_says(data):
    many = data[torch.arange(len(data)).repeat(60)]
    stated = stated_of(many, generator=seeded())
    off = (stated.cosine[:, 0] - many.cosine) / stated.cosine[:, 1]
    assert float(off.std()) == pytest.approx(1, abs=0.1)
    true = many.positions[:, :12].norm(dim=-1) - many.bond[:, None]
    assert float(((stated.radii[..., 0] - true) / stated.radii[..., 1]).std()) == pytest.approx(
        1, abs=0.1
    )
    known = stated.hint[:, -1].mean()
    assert float(known) == pytest.approx(0.5, abs=0.1)


def test_places_are_told_with_their_own_atoms(data):
    told = told_of(data, generator=seeded())
    off = (told.positions.norm(dim=-1) - told.given.radii).abs()
    assert (told.given.radii.diff(dim=1) >= 0).all()
    assert (off <= 5 * told.given.slack + 1e-4).all()
    assert (told.given.bonded.sum(1) == data.cn).all()


@torch.no_grad()
def lost(net, data):
    return float(list_loss(net.eval(), data, generator=seeded(3)))


def test_lists_are_learned(data):
    few = replace(RECIPE, lists=60, every=60, ema=0.9)
    torch.manual_seed(few.weights)
    ignorant = Listing(ListingSize(atoms=12)).eval()
    learned = train_lists(data, few)
    assert lost(learned, data) < lost(ignorant, data) - 1
    assert listed_of(data).radii.shape == (len(data), 12)


@pytest.mark.parametrize(("train", "steps"), [(train_lists, "lists"), (train_places, "places")])
def test_a_training_goes_on_where_it_was_stopped(train, steps, data, tmp_path):
    recipe = replace(RECIPE, every=1)
    whole = train(data, recipe)

    def stop(done, total, loss):
        if done == 1:
            raise KeyboardInterrupt

    path = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(data, recipe, checkpoint=path, progress=stop)
    again = train(data, recipe, checkpoint=path)
    for own, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-6)
    assert getattr(recipe, steps) > 1


def test_places_go_on_from_those_of_others(data):
    torch.manual_seed(9)
    start = Placement(PlacementSize(atoms=12), elements=elements())
    found = train_places(data, replace(RECIPE, places=1, place_rate=1e-9), start=start)
    assert found is not start
    for own, other in zip(found.parameters(), start.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-6)


def test_pairs_keep_the_distance_that_crystals_have(data):
    found = closest(data.positions, data.kinds, least=20)
    oxygen = elements().index("O")
    apart = torch.cdist(data.positions, data.positions)
    both = (data.kinds[:, :, None] == oxygen) & (data.kinds[:, None] == oxygen)
    own = apart[both & (apart > 0.1)]
    assert found[oxygen, oxygen] == pytest.approx(float(own.min()), abs=0.1)
    assert (found == found.T).all()
