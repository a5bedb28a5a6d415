"""Principal components of a series, and its end members."""

import numpy as np
import pytest

from nearedge.models.comparing.common import CompareError, NamedSpectrum
from nearedge.models.comparing.series import analyse, indicator, series_mixtures
from nearedge.models.spectrum import Array
from tests.models.comparing.test_combination import ENERGY, members, named, shape


def series(shares: Array, *names: str, noise: float = 0.01) -> list[NamedSpectrum]:
    rng = np.random.default_rng(1)
    ends = np.array([shape(ENERGY, name) for name in names])
    flat = shares @ ends + rng.normal(0, noise, (len(shares), len(ENERGY)))
    return [named(f"scan {k}", ENERGY, one) for k, one in enumerate(flat)]


@pytest.fixture
def two() -> list[NamedSpectrum]:
    share = np.linspace(0, 1, 40)
    return series(np.column_stack([share, 1 - share]), "four", "six")


def test_two_end_members_that_add_up_to_one_make_one_component(two: list[NamedSpectrum]) -> None:
    found = analyse(two)
    assert found.components.rank == 1
    assert found.indicated == 1
    assert found.shares[0] > 0.99
    assert found.shares.sum() == pytest.approx(1.0)


def test_three_end_members_make_two_components() -> None:
    rng = np.random.default_rng(0)
    found = analyse(series(rng.dirichlet(np.ones(3), 60), "four", "five", "six"))
    assert (found.components.rank, found.indicated) == (2, 2)


def test_an_end_member_lies_in_the_space_of_the_series_and_a_stranger_does_not(
    two: list[NamedSpectrum],
) -> None:
    found = analyse(two)
    at = found.energy
    assert found.off(shape(at, "four")) < 0.01
    assert found.off(shape(at, "metal")) > 0.1


def test_the_weights_over_a_series_are_what_was_mixed(two: list[NamedSpectrum]) -> None:
    found, common = series_mixtures(two, members("four", "six"))
    assert found.fractions[:, 0] == pytest.approx(np.linspace(0, 1, 40), abs=0.01)
    assert found.fractions.sum(axis=1) == pytest.approx(np.ones(40), abs=0.01)
    assert common.flat.shape == (42, len(common.energy))


def test_a_series_of_two_has_no_components(two: list[NamedSpectrum]) -> None:
    with pytest.raises(CompareError, match="found 2 spectra; expected 3 or more"):
        analyse(two[:2])


def test_too_many_end_members_for_a_series_are_refused(two: list[NamedSpectrum]) -> None:
    many = [named(f"m{k}", ENERGY, shape(ENERGY, "four") ** (1 + k / 9)) for k in range(9)]
    with pytest.raises(CompareError, match="found 9 end members; expected 1 to 8"):
        series_mixtures(two, many)


def test_the_indicator_is_least_where_noise_begins() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 30)) + rng.normal(0, 0.05, (50, 30))
    strengths = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)
    assert int(np.argmin(indicator(strengths, 50))) + 1 == 3
