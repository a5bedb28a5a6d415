import numpy as np
import pytest

from nearedge.models import Samples
from nearedge.models.clusters.angles import angle_distribution

OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def samples(*shapes: np.ndarray, weights: tuple[float, ...] = (1.0,)) -> Samples:
    most = max(map(len, shapes))
    species = np.array([["O"] * len(s) + [""] * (most - len(s)) for s in shapes])
    positions = np.array([np.pad(1.7 * s, ((0, most - len(s)), (0, 0))) for s in shapes])
    return Samples(
        species=species, positions=positions.astype(np.float32), weights=np.array(weights)
    )


@pytest.mark.parametrize(
    ("shape", "peaks"),
    [(OCTAHEDRON, (90, 180)), (TETRAHEDRON, (109,)), (OCTAHEDRON[:2], (180,))],
)
def test_peaks_are_the_angles_of_the_polyhedron(shape, peaks):
    found = angle_distribution(samples(shape), absorber="Si")
    assert found.peaks == peaks
    assert found.density.sum() == pytest.approx(1.0)


def test_each_sample_counts_by_its_weight():
    mixed = samples(OCTAHEDRON, TETRAHEDRON, weights=(0.25, 0.75))
    found = angle_distribution(mixed, absorber="Si")
    assert found.peaks == (90, 109, 180)
    assert found.density[170:].sum() == pytest.approx(0.25 * 3 / 15, rel=0.05)


def test_one_bond_has_no_angle():
    found = angle_distribution(samples(OCTAHEDRON[:1]), absorber="Si")
    assert found.peaks == ()
    assert not found.density.any()
