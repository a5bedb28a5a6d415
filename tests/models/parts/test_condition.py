import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nearedge.models.parts.condition import GRID, LIMITS, condition, grid_of, half_way
from nearedge.models.spectrum import NormalisedSpectrum, Technique


def make(energy, flat, *, e0=1840.0):
    energy, flat = np.asarray(energy, float), np.asarray(flat, float)
    return NormalisedSpectrum(
        energy=energy,
        mu=flat,
        norm=flat,
        flat=flat,
        e0=e0,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )


def edge_shape(x):
    return 0.5 + np.arctan(x) / np.pi + 0.2 * np.sin(x / 3)


def test_grid_has_both_ends():
    grid = grid_of(GRID)
    assert grid[0] == -10
    assert grid[-1] == 60
    assert len(grid) == 141


@given(step=st.floats(0.11, 0.4), offset=st.floats(0, 0.3))
@example(step=0.16637178910618608, offset=0.1171875)  # three points of each bin to one side of it
@settings(max_examples=25)
def test_values_do_not_depend_on_the_points_of_the_scan(step, offset):
    x = np.arange(-20 + offset, 65, step)
    read = condition(make(1840 + x, edge_shape(x)))
    assert read.mask.all()
    assert np.abs(read.values - edge_shape(grid_of(GRID))).max() < 0.01


def test_what_was_not_measured_is_masked_and_zero():
    x = np.arange(-5.0, 20.0, 0.25)
    read = condition(make(1840 + x, edge_shape(x)))
    grid = grid_of(GRID)
    assert not read.mask[(grid < -5.5) | (grid > 20.5)].any()
    assert read.mask[(grid > -5) & (grid < 19.5)].all()
    assert not read.values[read.mask == 0].any()
    assert np.isnan(read.known()[read.mask == 0]).all()
    assert np.isfinite(read.known()[read.mask == 1]).all()


def test_a_later_part_does_not_change_an_earlier_one():
    x = np.arange(-10.0, 60.0, 0.25)
    whole = condition(make(1840 + x, edge_shape(x)))
    part = condition(make(1840 + x[:100], edge_shape(x[:100])))
    seen = part.mask > 0
    assert np.allclose(whole.values[seen][:-1], part.values[seen][:-1])


def test_shift_moves_the_spectrum():
    x = np.arange(-20.0, 65.0, 0.25)
    spectrum = make(1840 + x, edge_shape(x))
    here, moved = condition(spectrum), condition(spectrum, shift=1.0)
    assert np.allclose(moved.values[2:], here.values[:-2], atol=1e-6)
    assert moved.origin == pytest.approx(here.origin - 1)


def test_the_grid_does_not_depend_on_where_e0_was_found():
    x = np.arange(-20.0, 65.0, 0.25)
    here, there = (condition(make(1840 + x, edge_shape(x), e0=e0)) for e0 in (1840.0, 1841.7))
    assert np.allclose(here.values, there.values, atol=0.01)
    assert 1840 + here.origin == pytest.approx(1841.7 + there.origin, abs=0.01)


def test_half_way_is_the_last_rise_before_the_edge_is_passed():
    x = np.arange(-20.0, 65.0, 0.1)
    bump = 0.6 * np.exp(-(((x + 8) / 0.8) ** 2))
    assert half_way(x, 0.5 + np.arctan(4 * (x - 2)) / np.pi + bump) == pytest.approx(2, abs=0.1)


def test_half_way_is_e0_where_nothing_rises():
    x = np.arange(-20.0, 65.0, 0.1)
    assert half_way(x, np.zeros_like(x)) == 0
    assert half_way(x, np.ones_like(x)) == 0


def test_glitches_are_clipped():
    x = np.arange(-20.0, 65.0, 0.5)
    flat = edge_shape(x)
    flat[60] = 1e6
    assert condition(make(1840 + x, flat)).values.max() == LIMITS[1]


def test_values_that_are_not_finite_are_bridged():
    x = np.arange(-20.0, 65.0, 0.5)
    flat = edge_shape(x)
    flat[50] = np.nan
    assert np.isfinite(condition(make(1840 + x, flat)).values).all()


def test_a_spectrum_beside_the_grid_is_an_error():
    x = np.arange(100.0, 200.0)
    with pytest.raises(ValueError, match="no point between -10 and 60"):
        condition(make(1840 + x, np.ones(100)))
