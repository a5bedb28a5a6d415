import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models import Reason, Rejected
from nearedge.models.normalise.energies import TINY_ENERGY, check_axis, clean

ENERGY = np.arange(1800.0, 1850.0, 0.7)
MU = np.sin(ENERGY / 5)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    repeats=st.lists(st.integers(0, len(ENERGY) - 1), max_size=8),
    spoilt=st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), max_size=5),
)
def test_order_repeats_and_nan_change_nothing(seed, repeats, spoilt):
    energy = np.concatenate([ENERGY, ENERGY[repeats], np.full(len(spoilt), 1820.3)])
    mu = np.concatenate([MU, MU[repeats], spoilt])
    order = np.random.default_rng(seed).permutation(len(energy))
    cleaned = clean(energy[order], mu[order])
    np.testing.assert_allclose(cleaned.energy, ENERGY, rtol=1e-14)
    np.testing.assert_allclose(cleaned.columns[:, 0], MU, rtol=1e-12, atol=1e-14)
    assert cleaned.dropped == len(spoilt)
    assert cleaned.merged == len(repeats)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60))
def test_energies_come_out_strictly_increasing(energies):
    cleaned = clean(np.array(energies), np.array(energies) ** 2)
    assert (np.diff(cleaned.energy) > 0).all()


def test_points_of_one_energy_are_averaged():
    cleaned = clean(
        np.array([1.0, 2.0, 2.0 + TINY_ENERGY / 2, 3.0]), np.array([1.0, 4.0, 6.0, 9.0])
    )
    np.testing.assert_allclose(cleaned.energy, [1.0, 2.0 + TINY_ENERGY / 4, 3.0])
    np.testing.assert_allclose(cleaned.columns[:, 0], [1.0, 5.0, 9.0])
    assert cleaned.flags == ("merged-energies",)


@pytest.mark.parametrize(
    ("energy", "mu", "reason"),
    [
        (np.zeros(0), np.zeros(0), Reason.NO_DATA),
        (ENERGY, MU[:-1], Reason.BAD_ENERGIES),
        (ENERGY, MU.reshape(2, -1), Reason.BAD_ENERGIES),
        (ENERGY, np.full(len(ENERGY), np.nan), Reason.NOT_FINITE),
    ],
)
def test_what_cannot_be_cleaned_is_refused(energy, mu, reason):
    assert clean(energy, mu).reason is reason


@pytest.mark.parametrize(
    ("energy", "reason", "said"),
    [
        (ENERGY / 1000, Reason.WRONG_UNITS, "units: keV"),
        (ENERGY * 1000, Reason.WRONG_UNITS, "units: eV"),
        (np.linspace(78, 84, 50), Reason.WRONG_UNITS, "angles"),
        (ENERGY[:9], Reason.TOO_FEW_POINTS, "9 usable"),
        (np.linspace(0, 1e9, 50), Reason.BAD_ENERGIES, "around one edge"),
    ],
)
def test_axes_in_another_unit_or_too_sparse_are_refused(energy, reason, said):
    refusal = check_axis(energy, expected=1839.0, tolerance=25.0)
    assert isinstance(refusal, Rejected)
    assert refusal.reason is reason
    assert said in refusal.detail


def test_a_scan_around_the_edge_is_accepted():
    assert check_axis(ENERGY, expected=1839.0, tolerance=25.0) is None
