import numpy as np
import pytest
import torch

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.data.dataset import Site
from nearedge.models.data.views import Bank
from nearedge.models.inversion import Samples
from nearedge.models.training.encoders import Targets


def _site(**changes):
    values = {
        "id": "a",
        "split": "val",
        "group": "hypo",
        "family": "f",
        "structure": "s",
        "source": "made by hand",
        "absorber": "Si",
        "edge": "K",
        "rattle": 0.0,
        "strain": 0.0,
        "species": ["O"] * 4,
        "positions": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.935,
        "energy": np.zeros(0),
        "mu": np.zeros(0),
        "mu0": np.zeros(0),
        "e_fermi": 0.0,
    } | changes
    values["species"] = np.array(values["species"])
    return Site(**values)


@pytest.fixture(scope="session")
def make_site():
    """A function that makes a Site: a silicon tetrahedron unless told otherwise."""
    return _site


ENERGY = 1840 + np.concatenate([np.arange(-9, 12, 0.4), np.arange(12, 62, 1.5)])
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
OCTAHEDRON = np.vstack([np.eye(3), -np.eye(3)])


def _ringing(key, shell, bond):
    x, wave = ENERGY - 1840, np.sqrt(np.maximum(ENERGY - 1840, 0)) * 0.51
    rings = len(shell) / 8 * np.sin(2 * bond * wave) * np.exp(-(wave**2) / 12)
    return _site(
        id=key,
        structure=f"s{int(key) // 2}",
        split="train" if int(key) < 30 else "test",
        species=["O"] * len(shell),
        positions=shell * bond,
        energy=ENERGY,
        mu=0.5 + np.arctan(x / 0.3) / np.pi + rings,
    )


@pytest.fixture(scope="session")
def ringing_sites():
    """Octahedra and tetrahedra whose spectra ring with the bond length, as real ones do."""
    rng = np.random.default_rng(0)
    shells = [TETRAHEDRON if k % 2 else OCTAHEDRON for k in range(40)]
    return [_ringing(str(k), shell, rng.uniform(1.55, 1.85)) for k, shell in enumerate(shells)]


def _corner(bond=1.62, cn=4):
    positions = np.vstack([TETRAHEDRON[:cn] * bond, [[0, 0, 3.05]]])
    return _site(species=["O"] * cn + ["Si"], positions=positions)


@pytest.fixture(scope="session")
def corner():
    """A function that makes a Site: a tetrahedron, or what is left of it, and a next silicon."""
    return _corner


def _scattered(rng, *, bond=1.62, spread=0.02, count=16, lost=0):
    positions = TETRAHEDRON * rng.normal(bond, spread, (count, 1, 1))
    positions[:lost, 3] *= 3
    outer = np.tile([[[0, 0, 3.05]]], (count, 1, 1))
    return Samples(
        species=np.tile(["O"] * 4 + ["Si"], (count, 1)),
        positions=np.concatenate([positions, outer], 1).astype(np.float32),
        weights=np.full(count, 1 / count),
    )


@pytest.fixture(scope="session")
def scattered():
    """A function that makes Samples of a corner; the first ``lost`` have one atom too few."""
    return _scattered


def _wiggling(count, *, grid, seed=0):
    rng = np.random.default_rng(seed)
    r = rng.uniform(1.55, 1.75, count)
    positions = torch.tensor(r[:, None, None] * TETRAHEDRON)
    k = np.sqrt(np.maximum(grid, 0) * 0.2625)
    values = (grid > 0) * (1 + 0.3 * np.sin(2 * k * r[:, None]) / r[:, None] ** 2)
    return positions, torch.zeros(count, 4, dtype=torch.long), values


@pytest.fixture(scope="session")
def wiggling():
    """A function that makes tetrahedra and the wiggle that a single scattering of each bond gives.

    Positions (n, 4, 3), species numbers (n, 4) and spectra (n, grid).
    """
    return _wiggling


SITES, GRID, NUMBERS = 40, 30, 4
FOLDS = np.arange(SITES) // 2 % 4


@pytest.fixture
def known():
    """What is true of sites whose spectra tell it."""
    rng = np.random.default_rng(0)
    return Targets(
        described=rng.normal(0, 1, (SITES, NUMBERS)),
        cn=np.full(SITES, 4),
        edge=np.arange(SITES) % 2,
    )


@pytest.fixture
def bank(known):
    """Spectra that tell the first numbers."""
    values = np.zeros((3, SITES, GRID), np.float32)
    values[..., :NUMBERS] = known.described
    values += np.random.default_rng(1).normal(0, 0.02, values.shape)
    members = np.broadcast_to(np.arange(SITES)[:, None], (3, SITES, 1))
    return Bank(values=values, mask=np.ones_like(values), members=members)


@pytest.fixture
def told(known):
    """What an ensemble expects that knows nothing."""
    edge = torch.from_numpy(known.edge)
    nothing = torch.zeros(SITES, NUMBERS)
    return [Expectation(nothing, nothing + 1, torch.zeros(SITES, EXPECTED_CN_CLASSES), edge)] * 3
