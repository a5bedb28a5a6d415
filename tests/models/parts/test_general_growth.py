"""Clusters of any element agree with what is sought."""

import numpy as np
import pytest
import torch

from nearedge.models.answering.card import read_card
from nearedge.models.answering.general import GeneralInverter
from nearedge.models.clusters import geometry
from nearedge.models.parts.general import RANKS
from nearedge.models.parts.general_growth import crowding, kinds_held, stated_by
from nearedge.models.parts.sought import Sought
from nearedge.models.training.general_release import regrown

OXYGEN = np.array([1.0, 0, 0, 0])
#: Four near atoms, two that may be, and the others well behind.
RADII = np.column_stack([np.repeat([0.0, 0.5, 1.2], [4, 2, RANKS - 6]), np.full(RANKS, 0.6)])


@pytest.fixture(scope="module")
def growth():
    return GeneralInverter.load(read_card("any")).clusters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sought(**changes):
    cn = np.zeros(13)
    cn[[4, 6]] = 0.7, 0.3
    settings = {"absorber": "Mn", "cn": cn, "kind": OXYGEN, "bond": (2.1, 0.03), "radii": RADII}
    return Sought(**(settings | {"cosine": (-0.2, 0.3)} | changes))


@pytest.fixture(scope="module")
def drawn(growth):
    return growth.draw(sought(held=("Mn", "O", "H", "Og")), 40, seed=0)


def test_shares_of_coordination_and_bonds_are_those_asked_for(drawn):
    species, positions = drawn
    assert species.shape == positions.shape[:2] == (40, 24)
    cn = geometry.coordination("Mn", species, positions)
    shares = np.bincount(cn, minlength=13) / 40
    assert shares[4] == pytest.approx(0.7, abs=0.15)
    assert shares[6] == pytest.approx(0.3, abs=0.15)
    bonds = geometry.mean_bond("Mn", species, positions)
    assert bonds.mean() == pytest.approx(2.1, abs=0.03)
    assert bonds.std() == pytest.approx(0.03, abs=0.02)


def test_atoms_are_of_the_elements_of_the_sample(drawn):
    species, positions = drawn
    assert set(np.unique(species)) <= {"Mn", "O", "H"}
    bonded = geometry.first_shell("Mn", species, positions)
    assert (species[bonded] == "O").mean() > 0.9
    assert (np.diff(geometry.distances(positions), axis=1) >= -1e-5).all()


def test_ligands_are_of_the_kind_that_is_read(growth):
    soft = sought(kind=np.array([0, 1.0, 0, 0]), bond=(2.4, 0.03))
    species, positions = growth.draw(soft, 24, seed=0)
    bonded = geometry.first_shell("Mn", species, positions)
    assert np.isin(species[bonded], ["S", "Se", "Br", "I"]).mean() > 0.8


def test_angles_are_those_that_are_read(growth):
    four = np.zeros(13)
    four[4] = 1.0
    tight = sought(cn=four, cosine=(-1 / 3, 0.01), held=("Mn", "O"))
    species, positions = growth.draw(tight, 24, seed=0)
    cosines = np.cos(np.radians(geometry.shell_angles("Mn", species, positions)))
    assert np.nanmedian(np.nanmean(cosines, axis=1)) == pytest.approx(-1 / 3, abs=0.04)


def test_the_least_crowded_of_some_first_shells_is_kept():
    """An even octahedron, one with a bent bond, and one of which an atom is not bonded."""
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)])
    bent = octahedron.clone()
    bent[0] = torch.tensor([0.8, 0.6, 0.0])
    bonded = torch.ones(3, 6, dtype=torch.bool)
    bonded[2, 5] = False
    found = crowding(torch.stack([octahedron, bent, octahedron]) * 2.1, bonded)
    assert found[2] < found[0] < found[1]
    assert found[0] == pytest.approx(12 / 2**3 + 3 / 2**6)


def test_the_same_numbers_give_the_same_clusters(growth):
    first, second = (growth.draw(sought(), 2, seed=4)[1] for _ in range(2))
    assert (first == second).all()


def test_weights_are_written_and_read_again_with_what_grows_clusters(growth, tmp_path):
    card = regrown(read_card("any"), growth, out=tmp_path)
    again = GeneralInverter.load(card)
    assert card.edges == read_card("any").edges
    assert card.start == read_card("any").start
    first, second = (one.draw(sought(), 2, seed=1)[1] for one in (growth, again.clusters))
    assert np.allclose(first, second, atol=1e-5)


def test_a_kind_that_the_sample_does_not_hold_is_not_drawn():
    assert kinds_held(("Fe", "S")).tolist() == [0, 1, 0, 1]
    assert kinds_held(()).tolist() == kinds_held(("H",)).tolist() == [1, 1, 1, 1]
    unlikely = sought(kind=np.array([0.9, 0.1, 0, 0]), held=("Fe", "S"))
    assert set(stated_by(unlikely, 20, generator=seeded()).kind.tolist()) == {1}
