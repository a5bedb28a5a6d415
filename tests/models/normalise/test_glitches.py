import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearedge.models.normalise.glitches import LONGEST, find_glitches

ENERGY = np.linspace(-40.0, 60.0, 250)
NOISE = 1e-3


def curve(seed: int = 0, *, white_line: float = 1.5) -> np.ndarray:
    """Return an edge with a white line and an oscillation, and a little noise."""
    step = 0.5 + np.arctan(ENERGY / 0.6) / np.pi
    line = white_line * np.exp(-(((ENERGY - 2.0) / 1.2) ** 2))
    ringing = 0.1 * step * np.sin(ENERGY / 4)
    return step + line + ringing + np.random.default_rng(seed).normal(0, NOISE, len(ENERGY))


@given(
    at=st.integers(12, 70) | st.integers(140, 240),
    size=st.integers(1, LONGEST),
    height=st.floats(1.0, 50.0),
    sign=st.sampled_from([-1, 1]),
)
def test_a_glitch_away_from_the_edge_is_found_and_nothing_else(at, size, height, sign):
    mu = curve()
    mu[at : at + size] += sign * height
    expected = np.zeros(len(mu), dtype=bool)
    expected[at : at + size] = True
    np.testing.assert_array_equal(find_glitches(mu, noise=NOISE), expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("white_line", [0.0, 1.5, 9.0])
def test_a_good_curve_has_none(seed, white_line):
    assert not find_glitches(curve(seed, white_line=white_line), noise=NOISE).any()


def test_a_white_line_between_two_points_is_none():
    coarse = np.array([0.0] * 10 + [9.0] + [1.0] * 20)
    assert not find_glitches(coarse, noise=NOISE).any()


def test_a_pre_edge_peak_is_none():
    peak = 0.6 * np.exp(-(((ENERGY + 12.0) / 0.8) ** 2))
    assert not find_glitches(curve() + peak, noise=NOISE).any()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_first_points_of_a_detector_that_settles_are_glitches(size):
    mu = curve()
    mu[:size] += 3.0
    assert np.flatnonzero(find_glitches(mu, noise=NOISE)).tolist() == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_last_points_far_above_any_edge_are_glitches(size):
    mu = curve()
    mu[-size:] += 50.0
    found = np.flatnonzero(find_glitches(mu, noise=NOISE))
    assert found.tolist() == list(range(len(mu) - size, len(mu)))


def test_a_scan_that_ends_on_its_edge_keeps_it():
    mu = curve()[ENERGY < 3.0]
    assert not find_glitches(mu, noise=NOISE).any()


def test_a_glitch_on_a_slope_is_one():
    mu = curve() - 0.06 * np.clip(np.arange(len(ENERGY)) - 190, 0, 25)
    mu[200:202] += 1.6
    assert np.flatnonzero(find_glitches(mu, noise=NOISE)).tolist() == [200, 201]


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_none(seed):
    rng = np.random.default_rng(seed)
    for mu in (rng.normal(0, 1, 300), rng.poisson(3, 300).astype(float)):
        assert not find_glitches(mu, noise=float(mu.std())).any()


def test_what_happens_often_is_no_glitch():
    mu = curve()
    mu[5:245:12] += 2.0
    assert not find_glitches(mu, noise=NOISE).any()
