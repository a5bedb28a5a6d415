from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from larch import Group
from larch.xafs import pre_edge as larch_pre_edge

from nearedge.models import NormalisedSpectrum, Reason, Spectrum, Technique
from nearedge.models.normalise.e0 import find_threshold
from nearedge.models.normalise.edges import edge_energy
from nearedge.models.normalise.xanes import normalise_xanes

DATA = Path(__file__).parents[2] / "data"
FEFF = pq.read_table(DATA / "feff.parquet").to_pylist()
GRID = np.concatenate([np.arange(-30, -6, 1.5), np.arange(-6, 20, 0.4), np.arange(20, 80, 1.5)])


def spectrum(energy, mu, absorber="Si", edge="K", **changes):
    return Spectrum(
        energy=np.asarray(energy, dtype=float),
        mu=np.asarray(mu, dtype=float),
        technique=Technique.XANES,
        absorber=absorber,
        edge=edge,
        **changes,
    )


def feff(row):
    return spectrum(row["energy"], row["mu"], row["absorber"])


def beamline(row, *, resolution=0.8, slope=0.0005):
    """Absorption on a beamline's grid: broadened, on a sloping background."""
    energy, mu = np.array(row["energy"]), np.array(row["mu"])
    fine = np.arange(energy[0] - 40, energy[-1] + 40, 0.1)
    kernel = np.exp(-4 * np.log(2) * (np.arange(-30, 31) * 0.1 / resolution) ** 2)
    padded = np.pad(np.interp(fine, energy, mu), 30, mode="edge")
    broad = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    x = energy[10] + GRID
    return x, np.interp(x, fine, broad) + 0.3 + slope * GRID


def edge(x, at=1841.0, width=1.0):
    """A smooth edge with a white line."""
    step = 0.5 + 0.5 * np.tanh((x - at) / width / 2)
    return 0.2 + step + np.exp(-(((x - at - 4) / 2) ** 2))


X = 1841.0 + GRID


def same(a, b, atol=1e-8):
    assert isinstance(a, NormalisedSpectrum), a
    assert isinstance(b, NormalisedSpectrum), b
    assert a.e0 == pytest.approx(b.e0, abs=1e-6)
    np.testing.assert_allclose(a.norm, b.norm, atol=atol)
    np.testing.assert_allclose(a.flat, b.flat, atol=atol)


@given(scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3), row=st.sampled_from(FEFF))
@settings(max_examples=50, deadline=None)
def test_scale_and_offset_do_not_matter(scale, offset, row):
    energy, mu = beamline(row)
    plain = normalise_xanes(spectrum(energy, mu, row["absorber"]))
    scaled = normalise_xanes(spectrum(energy, scale * (mu + offset), row["absorber"]))
    same(scaled, plain, atol=1e-6)
    assert scaled.edge_step == pytest.approx(scale * plain.edge_step, rel=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    repeats=st.lists(st.integers(0, len(GRID) - 1), max_size=6),
    spoilt=st.integers(0, 4),
)
@settings(max_examples=30, deadline=None)
def test_order_repeats_and_nan_do_not_matter(seed, repeats, spoilt):
    mu = edge(X)
    energy = np.concatenate([X, X[repeats], np.full(spoilt, 1850.2)])
    signal = np.concatenate([mu, mu[repeats], np.full(spoilt, np.nan)])
    order = np.random.default_rng(seed).permutation(len(energy))
    shuffled = normalise_xanes(spectrum(energy[order], signal[order]))
    same(shuffled, normalise_xanes(spectrum(X, mu)))
    assert ("dropped-rows" in shuffled.flags) == (spoilt > 0)


@pytest.mark.parametrize(
    ("name", "edge"), [("Cu_CuO_tenorite_13K_01", "K"), ("As_as2o3_roomt_scan1", "K"),
                       ("Ce_CeO2", "L3"), ("Fe_Fe2O3_rt_01", "K")]
)  # fmt: skip
def test_a_full_scan_has_the_numbers_of_larch(name, edge):
    energy, i0, it = np.loadtxt(DATA / "measured" / f"{name}.xdi").T[:3]
    mu = np.log(i0 / it)
    group = Group(energy=energy.copy(), mu=mu.copy())
    larch_pre_edge(group)
    ours = normalise_xanes(spectrum(energy, mu, name[:2], edge))
    assert ours.e0 == group.e0
    np.testing.assert_allclose(ours.norm, group.norm, atol=1e-8)
    np.testing.assert_allclose(ours.flat, group.flat, atol=1e-8)


@pytest.mark.parametrize("row", FEFF, ids=lambda row: row["id"])
def test_calculated_spectra_get_the_step_of_the_atomic_background(row):
    ours = normalise_xanes(feff(row))
    # FEFF divides by the atomic background 50 eV past the edge
    assert ours.edge_step == pytest.approx(1.0, abs=0.15)
    assert abs(ours.e0 - row["energy"][10]) < 4.0
    assert ours.flags == ()


@pytest.mark.parametrize("row", FEFF, ids=lambda row: row["id"])
def test_a_beamline_scan_agrees_with_the_calculation(row):
    energy, mu = beamline(row, resolution=0.3)
    scanned = normalise_xanes(spectrum(energy, mu, row["absorber"]))
    calculated = normalise_xanes(feff(row))
    assert scanned.e0 == pytest.approx(calculated.e0, abs=0.3)
    assert scanned.edge_step == pytest.approx(calculated.edge_step, rel=0.15)


@pytest.mark.parametrize("counts", [1e4, 1e5, 1e6])
def test_noise_does_not_move_e0(counts):
    rng = np.random.default_rng(0)
    moved = []
    for row in FEFF:
        energy, mu = beamline(row)
        noisy = rng.poisson(mu * counts) / counts
        clean_e0 = normalise_xanes(spectrum(energy, mu, row["absorber"])).e0
        moved.append(normalise_xanes(spectrum(energy, noisy, row["absorber"])).e0 - clean_e0)
    assert np.mean(np.abs(moved) < 0.3) >= 0.9


def test_a_growing_scan_is_refused_until_it_has_passed_the_edge():
    energy, mu = beamline(FEFF[1])
    seen = []
    for n in range(12, len(energy) + 1, 4):
        ours = normalise_xanes(spectrum(energy[:n], mu[:n], complete=n == len(energy)))
        after = energy[n - 1] - energy[0] - 30.0
        seen.append(isinstance(ours, NormalisedSpectrum))
        if not seen[-1]:
            assert ours.reason is Reason.TOO_SHORT
            assert after < 15.0
        elif n < len(energy):
            assert "partial" in ours.flags
            assert ("short-post-edge" in ours.flags) == (
                energy[-1] > 0 and ours.energy[-1] - ours.e0 < 40
            )
    assert seen == sorted(seen)
    assert 0 < sum(seen) < len(seen)


def rejected(energy, mu, **changes):
    refusal = normalise_xanes(spectrum(energy, mu, **changes))
    assert not isinstance(refusal, NormalisedSpectrum)
    return refusal.reason


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "background",
    [
        lambda x, rng: rng.normal(0, 1, len(x)),
        lambda x, rng: rng.poisson(3, len(x)),
        lambda x, rng: 0.01 * (x - 1800) + rng.normal(0, 1e-4, len(x)),
        lambda x, rng: 0.01 * (x - 1800) + rng.normal(0, 0.1, len(x)),
        lambda x, rng: (x / 1800) ** -3 + rng.normal(0, 1e-3, len(x)),
        lambda x, rng: ((x - 1800) / 100) ** 2 + rng.normal(0, 1e-3, len(x)),
        lambda x, rng: rng.normal(0, 1, len(x)) + 50 * (np.abs(x - 1843) < 0.3),
    ],
    ids=["noise", "few counts", "ramp", "noisy ramp", "power law", "parabola", "glitch"],
)
def test_what_is_no_edge_is_refused(background, seed):
    rng = np.random.default_rng(seed)
    assert rejected(X, background(X, rng)) in (Reason.NO_EDGE, Reason.TOO_SHORT)


def test_a_flat_signal_is_no_edge():
    assert rejected(X, np.full(len(X), 3.0)) is Reason.NO_EDGE


@pytest.mark.parametrize("row", FEFF, ids=lambda row: row["id"])
def test_an_edge_upside_down_is_a_negative_step(row):
    energy, mu = beamline(row)
    assert rejected(energy, -mu, absorber=row["absorber"]) is Reason.NEGATIVE_STEP


def test_a_pinned_detector_is_saturated():
    assert rejected(X, np.minimum(edge(X), 1.4)) is Reason.SATURATED


@pytest.mark.parametrize(("first", "last"), [(-30, 5), (-1.5, 80), (-30, -10), (10, 80)])
def test_a_scan_that_covers_too_little_is_too_short(first, last):
    inside = (GRID >= first) & (GRID <= last)
    rng = np.random.default_rng(0)
    mu = edge(X) + rng.normal(0, 0.003, len(X))
    assert rejected(X[inside], mu[inside]) is Reason.TOO_SHORT


def test_another_edge_is_the_wrong_edge():
    refusal = normalise_xanes(spectrum(X, edge(X), absorber="P"))
    assert refusal.reason is Reason.WRONG_EDGE
    assert "Si K" in refusal.detail


def test_kev_are_the_wrong_units():
    assert rejected(X / 1000, edge(X)) is Reason.WRONG_UNITS


def test_steps_of_10_ev_are_flagged_and_give_the_edge_of_larch():
    energy, mu = np.loadtxt(DATA / "measured" / "Sr_SrCO3_12K_01.xdi").T[:2]
    group = Group(energy=energy.copy(), mu=mu.copy())
    larch_pre_edge(group)
    ours = normalise_xanes(spectrum(energy, mu, "Sr"))
    assert ours.flags == ("coarse-edge",)
    assert ours.e0 == group.e0


def test_steps_of_25_ev_are_too_few_points():
    energy = 16105.0 + np.arange(-300.0, 600.0, 25.0) + 12.5
    mu = edge(energy, at=16105.0) - 1e-4 * energy
    assert rejected(energy, mu, absorber="Sr") is Reason.TOO_FEW_POINTS


def test_a_coarse_step_over_the_whole_edge_does_not_fool_e0():
    """The white line lies between two points, and the fine part begins past it."""
    x = np.concatenate([np.arange(-200.0, 1.0, 10.0), np.arange(12.0, 60.0), np.arange(60, 400, 4)])
    k = np.sqrt(np.maximum(x - 5, 0) * 0.26)
    mu = edge(x, at=6.0) + 0.25 * (x > 8) * np.exp(-k / 5) * np.sin(4.4 * k)
    ours = normalise_xanes(spectrum(7112.0 + x, mu, "Fe"))
    assert "coarse-edge" in ours.flags
    assert ours.e0 == pytest.approx(7118.0, abs=6.0)
    assert ours.edge_step == pytest.approx(1.0, abs=0.1)


def with_pre_edge_peak(x, *, height, fall=0.0):
    """An edge at 0 eV, a peak of that height 13 eV before it, on a background that falls."""
    step = 0.5 + np.arctan(x / 1.2) / np.pi
    peak = height * np.exp(-(((x + 13.0) / 0.8) ** 2))
    return step + peak + 0.2 * np.exp(-(((x - 4.0) / 3.0) ** 2)) - fall * x


FULL = np.concatenate(
    [np.arange(-150, -25, 5.0), np.arange(-25, 25, 0.4), np.arange(25, 90, 1.5),
     np.arange(90, 400, 3.0)]
)  # fmt: skip


@pytest.mark.parametrize("height", [0.1, 0.3, 0.5, 0.8])
def test_a_full_scan_with_a_strong_pre_edge_peak_has_the_numbers_of_larch(height):
    energy, mu = 5478.0 + FULL, with_pre_edge_peak(FULL, height=height, fall=1e-3)
    group = Group(energy=energy.copy(), mu=mu.copy())
    larch_pre_edge(group)
    ours = normalise_xanes(spectrum(energy, mu, "V"))
    assert ours.e0 == group.e0
    assert ours.edge_step == pytest.approx(group.edge_step)
    assert ours.edge_step == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("height", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize(("first", "last"), [(-40, 80), (-25, 60), (-22, 45)])
def test_a_near_edge_scan_finds_the_edge_behind_a_pre_edge_peak(height, first, last):
    x = FULL[(FULL >= first) & (FULL <= last)]
    ours = normalise_xanes(spectrum(5478.0 + x, with_pre_edge_peak(x, height=height), "V"))
    assert ours.e0 == pytest.approx(5478.0, abs=1.5)
    assert ours.edge_step == pytest.approx(1.0, abs=0.1)


@given(
    at=st.integers(3, 15) | st.integers(95, len(GRID) - 5),
    size=st.integers(1, 3),
    height=st.floats(0.8, 20.0) | st.floats(-20.0, -0.8),
)
@settings(max_examples=60, deadline=None)
def test_a_glitch_changes_nothing(at, size, height):
    mu = edge(X) + np.random.default_rng(0).normal(0, 1e-3, len(X))
    plain = normalise_xanes(spectrum(X, mu))
    mu[at : at + size] += height
    spoilt = normalise_xanes(spectrum(X, mu))
    assert spoilt.flags == ("glitches",)
    assert len(spoilt.energy) == len(X) - size
    assert spoilt.e0 == pytest.approx(plain.e0, abs=0.05)
    assert spoilt.edge_step == pytest.approx(plain.edge_step, rel=0.03)


@pytest.mark.parametrize("error", [-0.002, 0.002])
@pytest.mark.parametrize("absorber", ["Se", "Sr", "Cd"])
def test_an_axis_that_was_never_calibrated_is_flagged(absorber, error):
    at = edge_energy(absorber, "K") * (1 + error)
    energy = at + FULL
    ours = normalise_xanes(spectrum(energy, edge(energy, at=at, width=2.0), absorber))
    assert ours.e0 == pytest.approx(at, abs=3.0)
    assert ours.flags == ("maybe-uncalibrated",)


def test_a_wrong_edge_names_the_shift_that_would_make_it_right():
    energy = 16000.0 + FULL
    refusal = normalise_xanes(spectrum(energy, edge(energy, at=16000.0, width=2.0), "Sr"))
    assert refusal.reason is Reason.WRONG_EDGE
    shift = float(refusal.detail.rsplit(" ", 1)[1])
    moved = normalise_xanes(
        spectrum(energy, edge(energy, at=16000.0, width=2.0), "Sr"), energy_shift=shift
    )
    assert moved.e0 == pytest.approx(16105.0, abs=0.5)


def test_the_declared_edge_wins_over_a_steeper_one_in_the_same_scan():
    mu = edge(X, width=1.5) + 3.0 / (1 + np.exp(-(X - 1905.0)))
    assert normalise_xanes(spectrum(X, mu)).e0 == pytest.approx(1842.0, abs=2.0)


def test_a_noisy_near_edge_scan_is_normalised_by_the_mean_of_its_pre_edge():
    """No line through 24 eV of it could be carried past the edge."""
    x = X[(GRID > -24) & (GRID < 50)]
    found = [
        normalise_xanes(spectrum(x, edge(x) + np.random.default_rng(seed).normal(0, 0.1, len(x))))
        for seed in range(10)
    ]
    assert 0 in {ours.parameters["npre"] for ours in found}
    for ours in found:
        by_level = ours.parameters["npre"] == 0
        assert abs(ours.edge_step - 1.0) < 0.2 if by_level else "noisy" in ours.flags


def test_an_unknown_edge_is_unsupported():
    assert rejected(X, edge(X), edge="L23") is Reason.UNSUPPORTED


def test_a_fixed_shift_is_added_and_recorded():
    plain, moved = (normalise_xanes(spectrum(X, edge(X)), energy_shift=s) for s in (0.0, 1.5))
    assert moved.energy_shift == 1.5
    np.testing.assert_allclose(moved.energy, plain.energy + 1.5)
    np.testing.assert_allclose(moved.norm, plain.norm)


def test_the_foil_gives_the_shift():
    foil = edge(X, at=1839.7)
    ours = normalise_xanes(
        spectrum(X, edge(X), reference=foil), energy_shift="reference", reference_edge="Si K"
    )
    assert ours.energy_shift == pytest.approx(1839.0 - find_threshold(X, foil))
    assert ours.e0 == pytest.approx(find_threshold(X, edge(X)) + ours.energy_shift, abs=1e-3)


def test_the_foil_of_a_measured_scan_gives_the_shift():
    energy, i0, it, ir = np.loadtxt(DATA / "measured" / "As_as2o3_roomt_scan1.xdi").T
    ours = normalise_xanes(
        spectrum(energy, np.log(i0 / it), "As", reference=np.log(it / ir)),
        energy_shift="reference",
    )
    assert abs(ours.energy_shift) < 5.0
    assert ours.energy[0] == energy[0] + ours.energy_shift


def test_a_shift_by_a_foil_that_was_not_measured_is_refused():
    refusal = normalise_xanes(spectrum(X, edge(X)), energy_shift="reference")
    assert refusal.reason is Reason.MISSING_SIGNAL


def test_a_foil_without_an_edge_is_refused():
    noise = np.random.default_rng(0).normal(0, 1, len(X))
    refusal = normalise_xanes(spectrum(X, edge(X), reference=noise), energy_shift="reference")
    assert refusal.detail.startswith("reference foil: ")


def test_the_given_parameters_are_used_and_recorded():
    given = {"pre1": -25.0, "pre2": -10.0, "norm1": 30.0, "norm2": 70.0, "nnorm": 1, "nvict": 1}
    ours = normalise_xanes(spectrum(X, edge(X)), e0=1841.5, step=2.0, **given)
    assert ours.e0 == 1841.5
    assert ours.edge_step == 2.0
    assert {name: ours.parameters[name] for name in given} == given


@given(st.lists(st.tuples(*[st.floats(width=32)] * 2), max_size=60))
@settings(max_examples=100, deadline=None)
def test_nothing_crashes_it(rows):
    energy, mu = np.array(rows, dtype=float).reshape(-1, 2).T
    normalise_xanes(spectrum(energy, mu))


RANGE = st.none() | st.floats(-200, 200)


@given(
    ranges=st.fixed_dictionaries(dict.fromkeys(("pre1", "pre2", "norm1", "norm2"), RANGE)),
    e0=st.none() | st.floats(1800, 1930),
    nnorm=st.none() | st.integers(0, 3),
    nvict=st.integers(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_no_setting_crashes_it(ranges, e0, nnorm, nvict):
    ours = normalise_xanes(spectrum(X, edge(X)), e0=e0, nnorm=nnorm, nvict=nvict, **ranges)
    if e0 is not None and isinstance(ours, NormalisedSpectrum):
        assert ours.e0 == e0
