import numpy as np
import pytest

from nearedge.models.dataset import Site


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
