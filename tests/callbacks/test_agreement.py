"""Repeats are averaged when they agree; two things never are, whatever the noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.callbacks.agreement import agreement
from nearedge.callbacks.sweeps import sweeps_of

ENERGIES = np.concatenate(
    [np.arange(1800, 1835, 3.0), np.arange(1835, 1860, 0.4), np.arange(1860, 1900, 2.0)]
)


def mu(energy, white_line, shift=0.0):
    e = energy - shift
    return 0.5 + np.arctan(e - 1845.0) / np.pi + white_line * np.exp(-(((e - 1847.0) / 2) ** 2))


def sweep(rng, white_line=1.0, *, photons=1e6, energy=ENERGIES, shift=0.0):
    i0 = rng.poisson(photons, len(energy))
    it = rng.poisson(photons * np.exp(-mu(energy, white_line, shift)))
    return energy, np.log(i0 / np.maximum(it, 1))


@given(
    photons=st.sampled_from([300, 3e3, 1e5, 1e7]),
    count=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_repeats_agree_whatever_the_noise(photons, count, seed):
    rng = np.random.default_rng(seed)
    assert agreement([sweep(rng, photons=photons) for _ in range(count)]).difference < 0.2
    clean = agreement([sweep(rng, photons=max(photons, 3e3)) for _ in range(count)])
    assert clean.alike or clean.difference < 0.06


@pytest.mark.parametrize("photons", [3e3, 1e5, 1e7])
@pytest.mark.parametrize("count", [2, 3, 20])
def test_the_one_that_differs_is_named(photons, count):
    rng = np.random.default_rng(1)
    sweeps = [sweep(rng, photons=photons) for _ in range(count - 1)]
    found = agreement([*sweeps, sweep(rng, 0.3, photons=photons)])
    assert not found.alike and found.difference > 0.05
    assert count == 2 or found.repeat == count - 1


def test_a_slow_change_of_many_noisy_repeats():
    rng = np.random.default_rng(2)
    changing = [sweep(rng, 1.0 - k / 40, photons=1e3) for k in range(40)]
    assert not agreement(changing).alike
    assert agreement([sweep(rng, photons=1e3) for _ in range(40)]).alike


@pytest.mark.parametrize(("shift", "alike"), [(0.02, True), (1.0, False)])
def test_a_shift_in_energy(shift, alike):
    rng = np.random.default_rng(3)
    assert agreement([sweep(rng), sweep(rng, shift=shift)]).alike is alike


def test_scale_offset_and_slope_are_no_difference():
    rng = np.random.default_rng(4)
    energy, signal = sweep(rng)
    assert agreement([(energy, signal), (energy, 0.7 * signal + 3 + (energy - 1800) / 500)]).alike


def test_a_sweep_beside_the_sample_differs():
    rng = np.random.default_rng(5)
    energy, _ = sweep(rng)
    found = agreement([sweep(rng), sweep(rng), (energy, rng.normal(0, 1e-3, len(energy)))])
    assert not found.alike


def test_single_glitches_and_bad_points_are_no_difference():
    rng = np.random.default_rng(6)
    energy, signal = sweep(rng)
    signal = signal.copy()
    signal[30], signal[50] = 9.0, np.nan
    assert agreement([(energy, signal), sweep(rng)]).alike


def test_energies_of_their_own_in_any_order():
    rng = np.random.default_rng(7)
    other = ENERGIES[::-1] + rng.normal(0, 0.02, len(ENERGIES))
    assert agreement([sweep(rng), sweep(rng, energy=other)]).alike
    assert not agreement([sweep(rng), sweep(rng, 0.2, energy=other)]).alike


def test_frames_of_an_edge_on_a_decaying_background():
    rng = np.random.default_rng(8)
    energy = np.arange(450.0, 650.0, 0.5)

    def frame(height, counts):
        edge = height * 80 * (energy > 532) * (1 + np.exp(-(((energy - 540) / 4) ** 2)))
        return energy, rng.poisson(counts * (1e3 * (energy / 450) ** -3 + edge)).astype(float)

    assert all(agreement([frame(1, n) for _ in range(6)]).alike for n in (0.3, 3, 30))
    assert not agreement([frame(1, 3), frame(0.5, 3)]).alike


@pytest.mark.parametrize("sweeps", [[], [(ENERGIES, ENERGIES)], [(ENERGIES[:3], ENERGIES[:3])] * 2])
def test_what_cannot_be_compared_agrees(sweeps):
    assert agreement(sweeps).alike


def rows(energy):
    return [some.tolist() for some in sweeps_of(np.asarray(energy, dtype=float))]


def test_sweeps():
    up = list(range(20))
    assert rows(up) == [up] and rows(up[::-1]) == [up]
    assert rows(up + up[::-1]) == [up, list(range(20, 40))]
    assert rows(up * 3) == [up, list(range(20, 40)), list(range(40, 60))]
    assert rows(np.repeat(up, 2)) == [list(range(0, 40, 2)), list(range(1, 40, 2))]
    assert rows([0, 1, 2, 3, 4, 3.5, 5, 6, 7, 8]) == [list(range(10))]
    assert rows([1.0, np.nan, 2.0]) == [[0, 2]] and rows([]) == [[]]


@given(st.integers(2, 2000), st.floats(0, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_one_pass_is_one_sweep_however_it_jitters(count, jitter, seed):
    rng = np.random.default_rng(seed)
    energy = np.linspace(0, 100, count) + rng.normal(0, jitter, count)
    assert sum(map(len, rows(energy))) == count
    if jitter < 2:
        assert len(rows(energy)) == 1


@given(
    st.lists(
        st.tuples(*[st.floats() | st.sampled_from([1840.0, 1850.0, 1e308, -1e308, 0.0])] * 2),
        max_size=60,
    ),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_numbers_of_any_kind_are_compared_or_passed_over(numbers, count):
    table = np.array(numbers, dtype=float).reshape(-1, 2)
    with np.errstate(all="ignore"):
        assert agreement([(table[:, 0], table[:, 1])] * count).alike
        assert sum(map(len, rows(table[:, 0]))) == np.isfinite(table[:, 0]).sum()
