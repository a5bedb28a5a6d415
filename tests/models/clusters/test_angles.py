import numpy as np
import pytest

from nearedge.models.clusters.angles import AngleDistribution, angle_distribution

OCTAHEDRON = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def found(*shapes: np.ndarray, weights: tuple[float, ...] = (1.0,)) -> AngleDistribution:
    most = max(map(len, shapes))
    species = np.array([["O"] * len(s) + [""] * (most - len(s)) for s in shapes])
    positions = np.array([np.pad(1.7 * s, ((0, most - len(s)), (0, 0))) for s in shapes])
    return angle_distribution("Si", species, positions, weights=np.array(weights))


@pytest.mark.parametrize(
    ("shape", "peaks"),
    [(OCTAHEDRON, (90, 180)), (TETRAHEDRON, (109,)), (OCTAHEDRON[:2], (180,))],
)
def test_peaks_are_the_angles_of_the_polyhedron(shape, peaks):
    of_one = found(shape)
    assert of_one.peaks == peaks
    assert np.trapezoid(of_one.density) == pytest.approx(1.0)


def test_each_sample_counts_by_its_weight():
    mixed = found(OCTAHEDRON, TETRAHEDRON, weights=(0.25, 0.75))
    assert mixed.peaks == (90, 109, 180)
    assert np.trapezoid(mixed.density[170:]) == pytest.approx(0.25 * 3 / 15, rel=0.05)


def test_one_bond_has_no_angle():
    alone = found(OCTAHEDRON[:1])
    assert alone.peaks == ()
    assert not alone.density.any()
