"""Merging repeats: Larch's mean in the plain case, aligned and weighed, and of repeats alone."""

from dataclasses import replace

import numpy as np
import pytest
from larch import Group
from larch.io import merge_groups

from nearedge.callbacks.merging import merge
from nearedge.models import NormalisedSpectrum, Rejected, Spectrum, Technique
from nearedge.models.normalise.drift import drift
from nearedge.models.normalise.evidence import noise
from nearedge.models.normalise.point_noise import point_noise
from nearedge.models.normalise.xanes import normalise_xanes

ENERGIES = np.concatenate(
    [np.arange(1800, 1835, 1.0), np.arange(1835, 1860, 0.25), np.arange(1860, 1940, 1.0)]
)


def mu(energy, white_line=1.0):
    return (
        0.5
        + np.arctan(energy - 1845.0) / np.pi
        + white_line * np.exp(-(((energy - 1847.0) / 2) ** 2))
    )


def scan(rng, *, noise=0.01, white_line=1.0, shift=0.0, energy=ENERGIES, scale=1.0, **more):
    signal = scale * (mu(energy - shift, white_line) + rng.normal(0, noise, len(energy)))
    found = normalise_xanes(
        Spectrum(
            energy=energy, mu=signal, technique=Technique.XANES, absorber="Si", edge="K", **more
        ),
    )
    assert isinstance(found, NormalisedSpectrum)
    return found


def test_the_mean_is_that_of_larch_where_nothing_differs_but_noise():
    rng = np.random.default_rng(0)
    scans = [scan(rng) for _ in range(4)]
    found = merge(scans, most=0.0)
    groups = [Group(energy=one.energy, norm=one.norm) for one in scans]
    larch = merge_groups(groups, xarray="energy", yarray="norm")
    inside = np.isin(found.spectrum.energy, larch.energy)  # Larch drops the last point
    assert inside[:-1].all()
    assert np.allclose(found.aligned.mean(axis=1)[inside], larch.norm, atol=1e-12)
    # the weights follow the noise that each seems to have, which is alike
    assert np.std(found.spectrum.norm[inside] - larch.norm) < 0.5 * np.mean(found.error)
    exact = np.average(
        [one.norm for one in scans], axis=0, weights=[s.weight for s in found.shares]
    )
    assert np.allclose(found.spectrum.norm, exact, atol=1e-12)
    assert found.alike and not found.spectrum.flags


@pytest.mark.parametrize("noise", [0.001, 0.01])
@pytest.mark.parametrize("seed", range(6))
def test_the_error_is_that_of_the_mean(noise, seed):
    rng = np.random.default_rng(seed)
    found = merge([scan(rng, noise=k * noise) for k in (1, 1, 2)])
    clean = np.interp(found.spectrum.energy, ENERGIES, mu(ENERGIES))
    # a normalisation's own error is a line over the whole scan
    terms = np.column_stack([clean, np.ones_like(clean), found.spectrum.energy - 1845.0])
    left = found.spectrum.norm - terms @ np.linalg.lstsq(terms, found.spectrum.norm, rcond=None)[0]
    assert np.std(left) == pytest.approx(np.mean(found.error), rel=0.3)


def test_the_less_noisy_count_more():
    rng = np.random.default_rng(1)
    found = merge([scan(rng, noise=0.01), scan(rng, noise=0.02), scan(rng, noise=0.02)])
    weights = [share.weight for share in found.shares]
    assert sum(weights) == pytest.approx(1.0)
    assert weights == pytest.approx([2 / 3, 1 / 6, 1 / 6], rel=0.35)
    assert [share.noise for share in found.shares] == pytest.approx([0.01, 0.02, 0.02], rel=0.2)


def test_a_bend_between_coarse_steps_is_no_noise():
    rng = np.random.default_rng(11)
    energy = np.arange(1800, 1940, 0.7)
    sizes = [point_noise(energy, mu(energy) + rng.normal(0, 0.003, len(energy))) for _ in range(9)]
    assert np.mean(sizes) == pytest.approx(0.003, rel=0.1)
    assert point_noise(energy[:4], mu(energy[:4])) == noise(energy[:4], mu(energy[:4]))


@pytest.mark.parametrize("shift", [-0.4, -0.11, 0.2, 0.37])
def test_scans_are_aligned(shift):
    rng = np.random.default_rng(2)
    scans = [scan(rng, noise=0.005), scan(rng, noise=0.01, shift=shift)]
    found = merge(scans)
    assert [share.shift for share in found.shares] == [0.0, pytest.approx(-shift, abs=0.05)]
    assert found.alike
    assert found.spectrum.e0 == pytest.approx(scans[0].e0, abs=0.3)


def test_a_shift_within_its_error_is_none():
    rng = np.random.default_rng(3)
    found = [drift(scan(rng, noise=0.02), scan(rng, noise=0.02), most=0.5) for _ in range(20)]
    assert sum(one.shift == 0.0 for one in found) >= 15
    shifted = [drift(scan(rng, noise=0.02, shift=0.1), scan(rng, noise=0.02), most=0.5).shift
               for _ in range(20)]  # fmt: skip
    assert np.mean([one for one in shifted if one]) == pytest.approx(-0.1, abs=0.04)


def test_scans_on_axes_of_their_own():
    rng = np.random.default_rng(4)
    coarse = np.concatenate([ENERGIES[::2], [1955.0]]) + 0.1
    found = merge([scan(rng), scan(rng, energy=coarse, scale=40.0)])
    axis = found.spectrum.energy
    assert axis[0] >= coarse[0] and axis[-1] == ENERGIES[-1]
    assert np.isin(axis, ENERGIES).all()
    assert found.alike
    assert found.aligned.shape == (len(axis), 2) and found.error.shape == axis.shape


def test_what_is_no_repeat_is_named():
    rng = np.random.default_rng(5)
    scans = [scan(rng), scan(rng, white_line=0.6), scan(rng)]
    found = merge(scans)
    assert not found.alike and found.oddest == 1
    assert not found.shares[1].alike and found.shares[1].difference > 0.03
    assert found.shares[1].chi2 > 10 > found.shares[0].chi2 / 10
    assert "unlike-averaged" in found.spectrum.flags


def test_a_damped_white_line_is_no_repeat():
    rng = np.random.default_rng(12)
    scans = [scan(rng, noise=0.003) for _ in range(3)]
    norm = scans[2].norm * 0.85 + 0.15 * np.clip(scans[2].norm, 0, 1)  # the step stays 1
    found = merge([*scans[:2], replace(scans[2], norm=norm)])
    assert found.oddest == 2 and found.shares[2].scale == pytest.approx(0.91, abs=0.03)
    assert found.shares[2].difference < 0.03 and not found.alike
    assert [share.scale for share in merge(scans).shares] == pytest.approx([1.0] * 3, abs=0.02)


def test_another_oxidation_state_is_not_aligned_away():
    rng = np.random.default_rng(6)
    found = merge([scan(rng), scan(rng, shift=2.0)])
    assert not found.alike


def test_repeats_have_a_chi2_of_one():
    rng = np.random.default_rng(7)
    found = merge([scan(rng, noise=0.02) for _ in range(5)], most=0.0)
    assert [share.chi2 for share in found.shares] == pytest.approx([1.0] * 5, abs=0.5)


def test_the_flags_are_those_of_the_merge():
    rng = np.random.default_rng(8)
    noisy = [scan(rng, noise=0.15, flags=("gap",)) for _ in range(12)]
    noisy = [replace(one, flags=(*one.flags, "noisy")) for one in noisy]
    found = merge(noisy, most=0.0).spectrum
    assert "gap" in found.flags
    assert ("noisy" in found.flags) is (found.parameters["edge_step_error"] > 0.05)
    assert found.parameters["edge_step_error"] < noisy[0].parameters["edge_step_error"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"edge": "L3"}, "Si K and XANES of Si L3"), ({"technique": Technique.EELS}, "EELS of Si K")],
)
def test_other_edges_are_not_merged(changes, said):
    one = scan(np.random.default_rng(9))
    found = merge([one, replace(one, **changes)])
    assert isinstance(found, Rejected) and said in found.detail


def test_scans_that_hardly_overlap_are_not_merged():
    rng = np.random.default_rng(10)
    one, cut = scan(rng), scan(rng)
    part = cut.energy < 1853.0
    names = ("energy", "mu", "norm", "flat")
    short = replace(cut, **{name: getattr(cut, name)[part] for name in names})
    found = merge([one, short])
    assert isinstance(found, Rejected) and "7.5 eV after" in found.detail
    assert isinstance(merge([one]), Rejected)
