"""Linear combinations of end members, with Larch and SciPy as oracles."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nearedge.models import NormalisedSpectrum, Technique
from nearedge.models.comparing.combination import (
    Combination,
    best_combinations,
    combine,
    weights_of,
)
from nearedge.models.comparing.common import CompareError, NamedSpectrum, on_common_energies
from nearedge.models.spectrum import Array

E0 = 1846.5
ENERGY = np.arange(1810.0, 1920.0, 0.5)
PEAKS = {"four": (4.0, 1.8), "five": (6.0, 1.2), "six": (9.0, 2.2), "metal": (-4.0, 0.4)}


def named(name: str, energy: Array, flat: Array, *, edge: str = "K") -> NamedSpectrum:
    spectrum = NormalisedSpectrum(
        energy=energy,
        mu=flat,
        norm=flat,
        flat=flat,
        e0=E0,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber="Si",
        edge=edge,
    )
    return NamedSpectrum(name=name, spectrum=spectrum)


def shape(energy: Array, name: str) -> Array:
    """An edge with a white line of its own."""
    at, height = PEAKS[name]
    edge = 0.5 + np.arctan((energy - E0 - at / 8) / 1.2) / np.pi
    return edge + height * np.exp(-(((energy - E0 - at) / 2.5) ** 2))


def members(*names: str, energy: Array = ENERGY) -> list[NamedSpectrum]:
    return [named(name, energy, shape(energy, name)) for name in names]


def mixed(
    weights: Sequence[float], *names: str, noise: float = 0.0, shift: float = 0.0, seed: int = 0
) -> NamedSpectrum:
    flat = sum(w * shape(ENERGY - shift, name) for w, name in zip(weights, names, strict=True))
    flat = flat + noise * np.random.default_rng(seed).normal(size=len(ENERGY))
    return named("mixture", ENERGY, flat)


def test_what_was_mixed_is_found() -> None:
    found = combine(mixed([0.3, 0.6], "four", "six"), members("four", "six"))
    assert found.weights == pytest.approx([0.3, 0.6], abs=1e-12)
    assert found.total == pytest.approx(0.9)
    assert found.misfit == pytest.approx(0.0, abs=1e-12)
    assert found.shift == 0.0
    assert (found.energy[0], found.energy[-1]) == (1826.5, 1896.5)  # 20 eV before, 50 eV past e0


@pytest.mark.parametrize("to_one", [False, True])
def test_larch_finds_the_same(to_one: bool) -> None:
    math = pytest.importorskip("larch.math.lincombo_fitting")
    larch = pytest.importorskip("larch")
    target = mixed([0.3, 0.25, 0.5], "four", "five", "six", noise=0.02)
    some = members("four", "five", "six")

    def group(one: NamedSpectrum) -> object:
        spectrum = one.spectrum
        return larch.Group(energy=spectrum.energy, norm=spectrum.flat, filename=one.name)

    wanted = math.lincombo_fit(
        group(target),
        [group(one) for one in some],
        minvals=[0.0] * 3,
        maxvals=[10.0] * 3,
        weights=[0.3] * 3,
        xmin=E0 - 20.0,
        xmax=E0 + 50.0,
        sum_to_one=to_one,
    )
    found = combine(target, some, to_one=to_one)
    assert found.energy == pytest.approx(wanted.xdata)
    assert (found.weights > 0.005).all()  # none at its bound, where Larch's errors mean nothing
    for name, weight, error in zip(found.members, found.weights, found.errors, strict=True):
        assert weight == pytest.approx(wanted.params[name].value, abs=2e-4), name
        assert error == pytest.approx(wanted.params[name].stderr, rel=0.02), name
    assert found.chi_square == pytest.approx(wanted.chisqr, rel=1e-5)
    assert found.reduced_chi_square == pytest.approx(wanted.redchi, rel=1e-5)
    assert found.r_factor == pytest.approx(wanted.rfactor, rel=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5))
def test_weights_that_add_up_to_one_are_the_best_of_those(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    design, y = rng.normal(1.0, 0.5, (40, count)), rng.normal(1.0, 0.5, 40)
    found = weights_of(design, y, to_one=True)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0)
    wanted = minimize(
        lambda w: ((design @ w - y) ** 2).sum(),
        np.full(count, 1 / count),
        jac=lambda w: 2 * design.T @ (design @ w - y),
        bounds=[(0, None)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
        options={"ftol": 1e-14},
    )
    assert ((design @ found - y) ** 2).sum() <= wanted.fun + 1e-6


def test_the_errors_are_those_of_many_noisy_copies() -> None:
    some = members("four", "six")
    fits = [
        combine(mixed([0.3, 0.6], "four", "six", noise=0.03, seed=seed), some)
        for seed in range(300)
    ]
    told = np.mean([one.errors for one in fits], axis=0)
    assert np.std([one.weights for one in fits], axis=0) == pytest.approx(told, rel=0.15)
    assert np.std([one.total for one in fits]) == pytest.approx(fits[0].total_error, rel=0.15)
    assert np.mean([one.noise for one in fits]) == pytest.approx(0.03, rel=0.1)


def test_a_sum_of_one_has_no_error() -> None:
    found = combine(
        mixed([0.4, 0.6], "four", "six", noise=0.03), members("four", "six"), to_one=True
    )
    assert found.total == pytest.approx(1.0)
    assert found.total_error == pytest.approx(0.0, abs=1e-9)
    assert found.errors[0] == pytest.approx(found.errors[1])  # what one gains the other loses


def test_a_member_that_is_not_there_has_no_weight_and_no_error() -> None:
    found = combine(mixed([1.0], "four", noise=0.001), members("four", "metal", "six"))
    assert (found.weights >= 0).all()
    assert np.isnan(found.errors[found.weights == 0]).all()


def test_no_spectrum_is_shifted_unless_that_is_asked_for() -> None:
    target, some = mixed([0.4, 0.6], "four", "six", shift=0.8), members("four", "six")
    still = combine(target, some)
    assert still.shift == 0.0
    assert still.misfit > 0.03
    found = combine(target, some, most_shift=2.0)
    assert found.shift == pytest.approx(-0.8, abs=1e-3)
    assert found.weights == pytest.approx([0.4, 0.6], abs=1e-3)
    assert combine(target, some, most_shift=0.5).shift == pytest.approx(-0.5, abs=1e-3)


def test_members_on_other_energies_are_interpolated() -> None:
    coarse = members("four", "six", energy=np.arange(1805.0, 1930.0, 0.8))
    found = combine(mixed([0.3, 0.6], "four", "six"), coarse)
    assert found.weights == pytest.approx([0.3, 0.6], abs=2e-3)


def test_the_best_subset_comes_first() -> None:
    target = mixed([0.45, 0.55], "four", "six", noise=0.005)
    found = best_combinations(target, members("metal", "four", "five", "six"), most=3)
    assert set(found[0].members) >= {"four", "six"}
    scores = [one.reduced_chi_square for one in found]
    assert scores == sorted(scores)
    pair = next(one for one in found if set(one.members) == {"four", "six"})
    assert scores[0] > 0.95 * pair.reduced_chi_square  # a third member gains nothing
    assert all((one.weights > 0).all() for one in found)
    assert max(len(one.members) for one in found) <= 3


def test_larch_ranks_the_subsets_alike() -> None:
    math = pytest.importorskip("larch.math.lincombo_fitting")
    larch = pytest.importorskip("larch")
    target, some = mixed([0.45, 0.55], "four", "six", noise=0.02), members("four", "five", "six")

    def group(one: NamedSpectrum) -> object:
        spectrum = one.spectrum
        return larch.Group(energy=spectrum.energy, norm=spectrum.flat, filename=one.name)

    wanted = math.lincombo_fitall(
        group(target),
        [group(one) for one in some],
        minvals=[0.0] * 3,
        maxvals=[10.0] * 3,
        xmin=E0 - 20.0,
        xmax=E0 + 50.0,
        sum_to_one=False,
    )
    found: list[Combination] = best_combinations(target, some)
    pairs = [one for one in found if len(one.members) > 1]  # Larch tries no single member
    assert [one.members for one in pairs] == [tuple(one.weights) for one in wanted]
    assert [one.reduced_chi_square for one in pairs] == pytest.approx(
        [one.redchi for one in wanted], rel=1e-4
    )


def test_other_edges_are_refused_by_name() -> None:
    other = named("foil", ENERGY, shape(ENERGY, "four"), edge="L3")
    with pytest.raises(CompareError, match=r"other edges than Si K of mixture: foil \(Si L3\)"):
        combine(mixed([1.0], "four"), [*members("four"), other])


def test_spectra_without_common_energies_are_refused_with_their_ranges() -> None:
    far = named("far", ENERGY + 60.0, shape(ENERGY, "four"))
    with pytest.raises(CompareError, match=r"far 1870\.0 to 1979\.5 eV"):
        combine(mixed([1.0], "four"), [far])
    with pytest.raises(CompareError, match="on both sides of e0"):
        on_common_energies(members("four", "six"), span=(5.0, 50.0))


def test_copies_among_the_members_are_refused() -> None:
    with pytest.raises(CompareError, match="six is the same as another end member"):
        combine(mixed([1.0], "four"), members("four", "six", "six"))
    with pytest.raises(CompareError, match="found no end member"):
        combine(mixed([1.0], "four"), [])


def test_too_many_subsets_are_refused() -> None:
    some = [named(f"m{k}", ENERGY, shape(ENERGY, "four") + k) for k in range(60)]
    with pytest.raises(CompareError, match="subsets of up to 6 of 60"):
        best_combinations(mixed([1.0], "four"), some, most=6)
