import sys

import numpy as np
import pytest

from nearedge.models import Samples
from nearedge.streaming.answers import clusters

SAMPLES = Samples(
    species=np.array([["O", "O", ""]]),
    positions=np.array([[[1.6, 0, 0], [0, 1.6, 0], [0, 0, 0]]], np.float32),
    weights=np.ones(1),
)


def test_places_without_an_atom_are_left_out():
    atoms = clusters.atoms(SAMPLES, 0, absorber="Si")
    assert atoms.get_chemical_symbols() == ["Si", "O", "O"]
    assert atoms.get_distance(0, 1) == pytest.approx(1.6)


def test_without_ase_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase", None)
    with pytest.raises(ImportError, match=r"nearedge\[ase\]"):
        clusters.atoms(SAMPLES, 0, absorber="Si")
