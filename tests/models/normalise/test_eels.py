import importlib
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models import NormalisedSpectrum, Reason, Spectrum, Technique
from nearedge.models.normalise.background import fit_background
from nearedge.models.normalise.deconvolution import fourier_ratio
from nearedge.models.normalise.eels import energy_axis, normalise_eels
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.normalise.zero_loss import elastic_threshold, zero_loss_centre, zero_loss_fwhm

DATA = Path(__file__).parents[2] / "data"
FEFF = pq.read_table(DATA / "feff.parquet").to_pylist()
DISPERSION = 0.25
LOW = energy_axis(-10.0, DISPERSION, 360)
CORE = energy_axis(480.0, DISPERSION, 640)


@pytest.fixture(scope="session")
def eels_signal():
    """A function that makes exspy's EELSSpectrum of a uniform axis and counts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Importing .* is deprecated")
        exspy = importlib.import_module("exspy")

    def make(energy, counts):
        signal = exspy.signals.EELSSpectrum(counts.copy())
        axis = signal.axes_manager[-1]
        axis.offset, axis.scale, axis.units = energy[0], energy[1] - energy[0], "eV"
        return signal

    return make


def zero_loss(centre=0.0, width=0.5, counts=1e6):
    return counts * np.exp(-0.5 * ((LOW - centre) / width) ** 2)


def low_loss(centre=0.0):
    """A zero-loss peak and a plasmon with 0.4 of its area."""
    plasmon = np.exp(-0.5 * ((LOW - centre - 22) / 3) ** 2)
    peak = zero_loss(centre)
    return peak + 0.4 * plasmon * peak.sum() / plasmon.sum()


def single_edge(at=532.0):
    return np.where(
        at < CORE,
        np.exp(-(CORE - at) / 100) * (1 + 0.5 * np.exp(-0.5 * ((CORE - at - 6) / 2) ** 2)),
        0.0,
    )


def background(height=5.0, r=3.0):
    return height * (CORE / 532) ** -r


def scattered(single, loss):
    """The single-scattering signal after plural scattering."""
    zero = int(np.abs(LOW).argmin())
    return np.convolve(single, loss / zero_loss().sum())[zero : zero + len(single)]


def spectrum(energy, counts, absorber="O", **changes):
    return Spectrum(
        energy=np.asarray(energy, dtype=float),
        mu=np.asarray(counts, dtype=float),
        technique=Technique.EELS,
        absorber=absorber,
        edge="K",
        **changes,
    )


def read_msa(name):
    return np.loadtxt(DATA / "measured" / f"{name}.msa", comments="#", delimiter=",").T


def test_energy_axis():
    np.testing.assert_allclose(energy_axis(500, 0.1, 3), [500.0, 500.1, 500.2])
    with pytest.raises(ValueError, match="dispersion is 0"):
        energy_axis(500, 0, 3)


# ---- background


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:hyperspy")
@pytest.mark.parametrize(("A", "r"), [(1e12, 3.0), (1e10, 2.5), (1e14, 3.9)])
def test_the_background_is_the_power_law_that_exspy_fits(eels_signal, A, r):
    counts = A * CORE**-r
    theirs = eels_signal(CORE, counts).remove_background(
        signal_range=(485.0, 525.0), fast=False, zero_fill=False, show_progressbar=False
    )
    ours = fit_background(CORE, counts, window=(485.0, 525.0))
    assert ours.r == pytest.approx(r, rel=1e-9)
    np.testing.assert_allclose(counts - ours(CORE), theirs.data, atol=1e-8 * counts[0])


def test_the_background_of_a_measured_edge_is_that_of_exspy(eels_signal):
    energy, counts = read_msa("Y3Al5O12_OK_eelsdb21692")
    theirs = eels_signal(energy, counts).remove_background(
        signal_range=(510.0, 529.0), fast=False, zero_fill=False, show_progressbar=False
    )
    ours = counts - fit_background(energy, counts, window=(510.0, 529.0))(energy)
    past = (energy > 560) & (energy < 600)
    step = ours[past].mean()
    np.testing.assert_allclose(ours[past], theirs.data[past], atol=0.01 * step)


@pytest.mark.parametrize(
    ("counts", "window"),
    [
        (background() - 6.0, (490, 525)),  # less than zero in places
        (0.0 * CORE, (490, 525)),
        (CORE, (490, 525)),  # rising
        (background(), (490, 493)),  # narrow
    ],
)
def test_where_no_power_law_fits_the_background_is_a_mean(counts, window):
    law = fit_background(CORE, counts, window=window)
    inside = (window[0] <= CORE) & (window[1] >= CORE)
    np.testing.assert_allclose(law(CORE), counts[inside].mean())


def test_an_empty_background_window_is_an_error():
    with pytest.raises(ValueError, match="between 100 and 200"):
        fit_background(CORE, background(), window=(100, 200))


# ---- zero loss


@given(
    centre=st.floats(-3, 3),
    width=st.floats(0.3, 2.0),
    seed=st.integers(0, 2**32 - 1),
    counts=st.floats(1e4, 1e7),
)
@settings(max_examples=60, deadline=None)
def test_the_zero_loss_centre_is_found_within_a_fraction_of_a_channel(centre, width, seed, counts):
    rng = np.random.default_rng(seed)
    noisy = rng.poisson(zero_loss(centre, width, counts)).astype(float)
    assert abs(zero_loss_centre(LOW, noisy) - centre) < 0.1 * DISPERSION + 8 * width / counts**0.5


@pytest.mark.parametrize("centre", [0.13, -0.4, 1.27])
def test_the_zero_loss_peak_goes_where_exspy_puts_it(eels_signal, centre):
    signal = eels_signal(LOW, zero_loss(centre))
    signal.align_zero_loss_peak(subpixel=False, print_stats=False, show_progressbar=False)
    moved = LOW[0] - signal.axes_manager[-1].offset
    assert abs(zero_loss_centre(LOW, zero_loss(centre)) - moved) <= DISPERSION / 2 + 1e-6


def test_the_width_of_the_zero_loss_peak_is_that_of_exspy(eels_signal):
    width = eels_signal(LOW, zero_loss(0.1)).estimate_peak_width(show_progressbar=False)
    assert zero_loss_fwhm(LOW, zero_loss(0.1)) == pytest.approx(float(width.data[0]), rel=0.02)


def test_a_spike_is_no_zero_loss_peak():
    spiked = zero_loss()
    spiked[200] = 1e8
    assert abs(zero_loss_centre(LOW, spiked)) < 1e-3


@pytest.mark.parametrize("counts", [np.ones(len(LOW)), zero_loss(40.0), np.zeros(len(LOW))])
def test_where_there_is_no_zero_loss_peak_none_is_found(counts):
    assert zero_loss_centre(LOW, counts) is None


def test_elastic_scattering_ends_between_the_peak_and_the_plasmon():
    assert 1.0 < elastic_threshold(LOW, low_loss()) < 15.0


# ---- deconvolution


@pytest.mark.parametrize("fwhm", [1.0, 1.5, 2.5])
def test_deconvolution_gives_the_single_scattering(eels_signal, fwhm):
    single = single_edge()
    plural = scattered(single, low_loss())
    ours = fourier_ratio(plural, LOW, low_loss(), dispersion=DISPERSION, fwhm=fwhm)
    gaussian = zero_loss(width=fwhm / 2.3548)
    wanted = np.convolve(single, gaussian / gaussian.sum())[40 : 40 + len(CORE)]
    inside = (CORE > 500) & (CORE < 620)
    assert np.abs(plural - wanted)[inside].max() > 0.2
    np.testing.assert_allclose(ours[inside], wanted[inside], atol=1e-3)
    theirs = eels_signal(CORE, plural).fourier_ratio_deconvolution(
        eels_signal(LOW, low_loss()),
        fwhm=fwhm,
        threshold=5.0,
        extrapolate_lowloss=False,
        extrapolate_coreloss=False,
    )
    # exspy's Gaussian has the area 1 per eV, ours per channel
    np.testing.assert_allclose(ours[inside], theirs.data[inside] * DISPERSION, atol=2e-3)


def test_deconvolution_without_a_zero_loss_peak_is_an_error():
    with pytest.raises(ValueError, match="no zero-loss peak"):
        fourier_ratio(single_edge(), LOW, np.ones(len(LOW)), dispersion=DISPERSION)


# ---- all of it


@given(drift=st.floats(-3, 3), shift=st.floats(-1, 1))
@settings(max_examples=25, deadline=None)
def test_the_zero_loss_peak_sets_the_energies(drift, shift):
    counts = 1e4 * (single_edge() + background())
    ours = normalise_eels(
        spectrum(CORE + drift, counts, low_loss_energy=LOW + drift, low_loss=zero_loss()),
        energy_shift=shift,
    )
    assert ours.energy_shift == pytest.approx(shift - drift, abs=0.01)
    assert ours.e0 == pytest.approx(532 + shift, abs=0.3)


@given(scale=st.floats(1e-3, 1e3), r=st.floats(1.5, 5.0))
@settings(max_examples=25, deadline=None)
def test_scale_and_background_do_not_matter(scale, r):
    plain = normalise_eels(spectrum(CORE, 1e4 * single_edge() + 1.0))
    ours = normalise_eels(spectrum(CORE, scale * 1e4 * (single_edge() + background(r=r))))
    np.testing.assert_allclose(ours.norm, plain.norm, atol=2e-3)
    assert ours.parameters["r"] == pytest.approx(r, rel=1e-3)


@pytest.mark.parametrize("row", FEFF, ids=lambda row: row["id"])
def test_the_background_keeps_clear_of_an_edge_below_its_table_energy(row):
    energy, mu = np.array(row["energy"]), np.array(row["mu"])
    axis = energy_axis(energy[0] - 60, 0.25, 520)
    single = np.interp(axis, energy, mu, left=0.0)
    rng = np.random.default_rng(0)
    counts = rng.poisson(1e4 * (single + 5 * (axis / energy[0]) ** -3.0))
    ours = normalise_eels(spectrum(axis, counts, row["absorber"]))
    bare = normalise_eels(spectrum(energy, mu, row["absorber"]))
    assert ours.parameters["background2"] <= ours.e0
    assert ours.e0 == pytest.approx(bare.e0, abs=0.5)
    assert ours.edge_step == pytest.approx(1e4 * bare.edge_step, rel=0.1)
    assert "constant-background" in bare.flags


def test_the_step_window_has_the_mean_1():
    ours = normalise_eels(spectrum(CORE, single_edge() + background()), step=(20.0, 50.0))
    inside = (ours.energy >= ours.e0 + 20) & (ours.energy <= ours.e0 + 50)
    assert ours.norm[inside].mean() == pytest.approx(1.0)


def test_deconvolution_is_part_of_normalisation():
    plural = scattered(single_edge(), low_loss()) + background()
    arrays = {"low_loss_energy": LOW, "low_loss": low_loss()}
    ours = normalise_eels(spectrum(CORE, plural, **arrays), deconvolve=True)
    wanted = normalise_eels(spectrum(CORE, scattered(single_edge(), zero_loss()) + background()))
    inside = (CORE > 500) & (CORE < 620)
    np.testing.assert_allclose(ours.norm[inside], wanted.norm[inside], atol=0.02)


def test_the_measured_oxygen_edge():
    ours = normalise_eels(spectrum(*read_msa("Y3Al5O12_OK_eelsdb21692")))
    assert 530 < ours.e0 < 538
    assert ours.edge_step == pytest.approx(400, rel=0.05)


def test_the_measured_aluminium_edge():
    ours = normalise_eels(spectrum(*read_msa("Al2O3_AlK_eelsdb21525"), "Al"))
    assert 1562 < ours.e0 < 1570
    assert {"constant-background", "short-post-edge"} <= set(ours.flags)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (background(), Reason.NO_EDGE),
        (np.random.default_rng(1).poisson(1000 * background()), Reason.NO_EDGE),
        (np.random.default_rng(1).poisson(5, len(CORE)), Reason.NO_EDGE),
        (np.minimum(single_edge() + background(), 6.0), Reason.SATURATED),
        (np.full(len(CORE), np.nan), Reason.NOT_FINITE),
    ],
)
def test_what_cannot_be_normalised_is_refused(counts, reason):
    assert normalise_eels(spectrum(CORE, counts)).reason is reason


def test_a_falling_edge_is_a_negative_step():
    refusal = normalise_eels(spectrum(CORE, background() - single_edge()), e0=532.0)
    assert refusal.reason is Reason.NEGATIVE_STEP


def test_another_edge_is_the_wrong_edge():
    counts = single_edge() + 0.01
    assert normalise_eels(spectrum(CORE, counts, "F")).reason is Reason.WRONG_EDGE


def test_deconvolution_without_a_low_loss_is_refused():
    refusal = normalise_eels(spectrum(CORE, single_edge() + background()), deconvolve=True)
    assert refusal.reason is Reason.MISSING_SIGNAL


def test_a_spectrum_that_ends_at_the_edge_is_too_short():
    inside = CORE < 538
    refusal = normalise_eels(spectrum(CORE[inside], (single_edge() + background())[inside]))
    assert refusal.reason is Reason.TOO_SHORT


def test_zero_and_negative_counts_do_not_stop_it():
    rng = np.random.default_rng(0)
    counts = rng.poisson(30 * single_edge()) + rng.normal(0, 1, len(CORE))
    ours = normalise_eels(spectrum(CORE, counts))
    assert isinstance(ours, NormalisedSpectrum)
    assert "constant-background" in ours.flags


@given(st.lists(st.tuples(*[st.floats(width=32)] * 2), max_size=60))
@settings(max_examples=100, deadline=None)
def test_nothing_crashes_it(rows):
    energy, counts = np.array(rows, dtype=float).reshape(-1, 2).T
    normalise_eels(spectrum(energy, counts))


@given(
    background=st.tuples(st.floats(-100, 20), st.floats(-100, 20)),
    step=st.tuples(st.floats(-10, 120), st.floats(-10, 120)),
    e0=st.none() | st.floats(470, 650),
    kept=st.lists(st.integers(0, len(CORE) - 1), min_size=12, max_size=60, unique=True),
)
@settings(max_examples=150, deadline=None)
def test_no_setting_and_no_gap_crashes_it(background, step, e0, kept):
    counts = single_edge() + 5 * (CORE / 532) ** -3.0
    normalise_eels(spectrum(CORE[kept], counts[kept]), background=background, step=step, e0=e0)


@pytest.mark.parametrize("row", FEFF, ids=lambda row: row["id"])
def test_a_core_loss_edge_gets_the_step_of_the_same_edge_in_xanes(row):
    """The model learned from XANES: another window of the step would look unlike all of it."""
    off = np.arange(-60.0, 61.0, 0.3)
    energy = row["energy"][10] + off
    mu = np.interp(energy, row["energy"], row["mu"]) * (off > -8)
    about = {"energy": energy, "absorber": row["absorber"], "edge": "K"}
    decaying = 3 * (energy / energy[0]) ** -3.0
    eels = normalise_eels(Spectrum(mu=1e5 * (mu + decaying), technique=Technique.EELS, **about))
    xanes = normalise_xanes(Spectrum(mu=mu, technique=Technique.XANES, **about))
    assert eels.edge_step / 1e5 == pytest.approx(xanes.edge_step, rel=0.02)
