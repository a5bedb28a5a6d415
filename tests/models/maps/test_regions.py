"""The sum over a region is what the sum of the signals without background is."""

import numpy as np
import pytest

from nearedge.models import Technique
from nearedge.models.maps.regions import SUMMED, region_spectrum

ENERGY = np.linspace(1800.0, 1900.0, 51)
SHAPES = np.stack([1 / (1 + np.exp(-(ENERGY - e0))) for e0 in (1840.0, 1846.0)])


def spectrum(norm, steps, shifts=None, **more):
    shifts = np.zeros(len(norm)) if shifts is None else np.array(shifts)
    return region_spectrum(
        ENERGY,
        norm,
        e0=np.array([1840.0, 1846.0])[: len(norm)],
        edge_step=np.array(steps),
        energy_shift=shifts,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
        **more,
    )


def test_pixels_count_as_much_as_their_edges_are_high():
    found = spectrum(SHAPES, [3.0, 1.0])
    signals = SHAPES * np.array([[3.0], [1.0]])
    np.testing.assert_allclose(found.flat, signals.sum(axis=0) / 4.0)
    assert found.e0 == pytest.approx(1841.5)
    assert found.edge_step == 2.0
    assert found.flags == (SUMMED,)


def test_a_single_pixel_is_itself():
    found = spectrum(SHAPES[:1], [0.5], flags=("partial",))
    np.testing.assert_array_equal(found.flat, SHAPES[0])
    assert (found.flags, found.complete) == (("partial",), False)


def test_shifted_pixels_are_aligned():
    moved = np.interp(ENERGY - 2.0, ENERGY, SHAPES[0])  # reads 2 eV too high
    found = spectrum(np.stack([SHAPES[0], moved]), [1.0, 1.0], shifts=[0.0, -2.0])
    inner = slice(3, -3)
    expected = np.interp(found.energy, ENERGY, SHAPES[0])
    np.testing.assert_allclose(found.flat[inner], expected[inner], atol=0.02)


def test_energies_that_nobody_has_are_left_out():
    norm = SHAPES.copy()
    norm[0, 3] = np.nan
    norm[:, 5] = np.nan
    found = spectrum(norm, [1.0, 1.0])
    assert len(found.energy) == 50
    assert found.flat[3] == SHAPES[1, 3]


def test_no_pixel_is_no_spectrum():
    with pytest.raises(ValueError, match="no pixel"):
        spectrum(SHAPES[:0], [])
    with pytest.raises(ValueError, match="found 0 energies"):
        spectrum(np.full_like(SHAPES, np.nan), [1.0, 1.0])
