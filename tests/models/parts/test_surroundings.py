from pathlib import Path

import numpy as np
import pytest

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import read_dataset
from nearedge.models.parts.sought import Sought
from nearedge.models.parts.surroundings import REACH, draw
from nearedge.models.training.general_release import surroundings_of

DATA = Path(__file__).parents[3] / "benchmarks" / "data" / "any-01.parquet"
OXYGEN = np.array([1.0, 0, 0, 0])


@pytest.fixture(scope="module")
def known():
    sites = read_dataset(DATA, split="train")
    return surroundings_of([s for s in sites if s.absorber in ("Zn", "Mn", "Cr", "S")])


def sought(**changes):
    cn = np.zeros(13)
    cn[[4, 6]] = 0.7, 0.3
    settings = {"absorber": "Mn", "cn": cn, "kind": OXYGEN, "bond": (2.1, 0.03)}
    settings |= {"radii": np.tile([0.0, 1.0], (12, 1))}
    return Sought(**(settings | {"cosine": (-0.2, 0.3)} | changes))


def test_shares_of_coordination_and_bonds_are_those_asked_for(known):
    species, positions = draw(known, sought(), 100, rng=np.random.default_rng(0))
    assert species.shape == (100, REACH)
    cn = geometry.coordination("Mn", species, positions)
    shares = np.bincount(cn, minlength=13) / 100
    assert shares[4] == pytest.approx(0.7, abs=0.12)
    assert shares[6] == pytest.approx(0.3, abs=0.12)
    bonds = geometry.mean_bond("Mn", species, positions)
    assert bonds.mean() == pytest.approx(2.1, abs=0.03)
    assert bonds.std() == pytest.approx(0.03, abs=0.02)


def test_ligands_are_of_the_kind_that_is_read(known):
    soft = sought(kind=np.array([0, 1.0, 0, 0]), bond=(2.4, 0.03))
    species, positions = draw(known, soft, 50, rng=np.random.default_rng(0))
    bonded = geometry.first_shell("Mn", species, positions)
    assert np.isin(species[bonded], ["S", "Se", "Br", "I"]).mean() > 0.8


def test_atoms_take_the_elements_of_the_sample(known):
    held = sought(held=("Mn", "O", "H", "Og"))
    species, positions = draw(known, held, 50, rng=np.random.default_rng(0))
    assert set(np.unique(species)) <= {"Mn", "O", ""}
    bonded = geometry.first_shell("Mn", species, positions)
    assert (species[bonded] == "O").mean() > 0.9


def test_angles_choose_among_clusters_of_one_coordination(known):
    four = np.zeros(13)
    four[4] = 1.0
    tight = sought(cn=four, cosine=(-1 / 3, 0.01))
    species, positions = draw(known, tight, 40, rng=np.random.default_rng(0))
    angles = geometry.mean_angle("Mn", species, positions)
    assert np.nanmean(angles) == pytest.approx(109.5, abs=2)
