import numpy as np
import pytest

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import FAR, RADII

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def test_symbols_are_numbered_by_the_vocabulary():
    kinds = np.array([["O", "Si"], ["Si", "Si"]])
    assert descriptors.numbers(kinds, ("Al", "O", "Si")).tolist() == [[1, 2], [2, 2]]
    with pytest.raises(KeyError, match="Si"):
        descriptors.numbers(kinds, ("O",))


def test_a_tetrahedron_is_described_by_its_bonds_and_angles():
    kinds, positions = np.array(["O"] * 4), 1.61 * TETRAHEDRON
    found = descriptors.describe("Si", kinds, positions, vocabulary=("O", "Si"))
    assert found[:5] == pytest.approx([1.61] * 4 + [FAR])
    assert (found[RADII : 2 * RADII] == FAR).all()
    assert found[2 * RADII :] == pytest.approx([1.61, -1 / 3, 0], abs=1e-9)
