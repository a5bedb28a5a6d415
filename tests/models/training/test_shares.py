from dataclasses import replace

import numpy as np
import pytest
import torch

from nearedge.models.data.dataset import Site
from nearedge.models.training.recipe import SharesRecipe
from nearedge.models.training.shares import draw_averages, draw_members, train_shares

SPAN = (-10.0, 40.0, 0.5)


def site(cn: int, number: int) -> Site:
    """Make a site whose white line is the higher, the more atoms are bonded."""
    energy = np.arange(1830.0, 1910.0, 0.25)
    edge = 1 / (1 + np.exp(-(energy - 1845) / 0.8))
    line = 0.25 * cn * np.exp(-0.5 * ((energy - 1847) / 1.5) ** 2)
    ripple = 0.02 * np.sin(energy / 4 + number)
    return Site(
        id=f"{cn}-{number}",
        split="train",
        group="hypo",
        family=str(number),
        structure=str(number),
        source="made",
        absorber="Si",
        edge="K",
        rattle=0.0,
        strain=0.0,
        species=np.array(["O"] * cn),
        positions=np.eye(3)[np.arange(cn) % 3] * 1.6 * (-1.0) ** np.arange(cn)[:, None],
        energy=energy,
        mu=edge * (1 + line + ripple),
        mu0=np.empty(0),
        e_fermi=float("nan"),
    )


@pytest.fixture(scope="module")
def sites():
    made = [site(cn, number) for cn in (4, 6) for number in range(6)]
    assert {one.cn for one in made} == {4, 6}
    return made


def test_single_sites_averages_and_pairs_of_kinds_are_drawn():
    rng, cn = np.random.default_rng(0), np.array([4] * 30 + [5] * 3 + [6] * 10)
    drawn = [draw_members(cn, rng) for _ in range(600)]
    sizes = np.array([len(members) for members, _ in drawn])
    assert 0.3 < np.mean(sizes == 1) < 0.5
    assert sizes.max() == 8
    assert all(shares.sum() == pytest.approx(1) for _, shares in drawn)
    singles = [cn[members[0]] for members, _ in drawn if len(members) == 1]
    assert np.mean(np.array(singles) == 5) > 1.5 * 3 / 43


def test_some_averages_are_distant_and_the_others_stay_as_they_are(sites):
    usual, far = (
        draw_averages(sites, 40, span=SPAN, rng=np.random.default_rng(1), distant=share)
        for share in (0.0, 0.5)
    )
    assert np.array_equal(usual.shares, far.shares)
    same = (usual.values == far.values).all(1)
    assert 0.3 < same.mean() < 0.7
    assert (far.mask[~same] == 1).all()
    apart = np.sqrt(((usual.values - far.values)[~same] ** 2).mean())
    assert 0.02 < apart < 0.6


def test_averages_know_their_shares(sites):
    found = draw_averages(sites, 40, span=SPAN, rng=np.random.default_rng(1))
    assert found.values.shape == found.mask.shape == (40, 101)
    assert found.shares.sum(1) == pytest.approx(np.ones(40))
    assert set(np.flatnonzero(found.shares.sum(0))) == {4, 6}


def test_the_mean_follows_the_mixture(sites):
    recipe = SharesRecipe(members=1, width=32, spectra=300, steps=300, batch=32, dropout=0.0)
    model = train_shares(sites, [("Si", "K")], recipe=recipe, span=SPAN, seed=0)
    held_out = [replace(one, id=f"new-{one.id}") for one in sites]
    asked = draw_averages(held_out, 60, span=SPAN, rng=np.random.default_rng(2))
    found = model(torch.from_numpy(asked.values), torch.from_numpy(asked.mask), 0).numpy()
    assert found.sum(1) == pytest.approx(np.ones(60), abs=1e-5)
    off = np.abs(found @ np.arange(11) - asked.shares @ np.arange(11))
    assert off.mean() < 0.3
