import time
import tracemalloc

import numpy as np
import pytest

from nearedge.models import NormalisedSpectrum, Spectrum, Technique
from nearedge.models.normalise.evidence import step_deviation
from nearedge.models.normalise.pre_edge import Ranges
from nearedge.models.normalise.rebinning import BIN, MOST_POINTS, rebin
from nearedge.models.normalise.xanes import normalise_xanes

NOISE = 0.004


def scan(points: int, *, seed: int = 0) -> Spectrum:
    """Return a fly scan over an edge, every point with the same noise."""
    energy = np.linspace(1790.0, 1910.0, points)
    x = energy - 1845.0
    step = 0.5 + np.arctan(x / 0.5) / np.pi
    mu = 0.3 + step + 1.2 * np.exp(-(((x - 1.0) / 1.2) ** 2)) + 0.1 * step * np.sin(x / 4)
    return Spectrum(
        energy=energy,
        mu=mu + np.random.default_rng(seed).normal(0, NOISE, points),
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )


def normalised(points: int, *, seed: int = 0) -> NormalisedSpectrum:
    found = normalise_xanes(scan(points, seed=seed))
    assert isinstance(found, NormalisedSpectrum), found
    return found


def test_up_to_the_limit_nothing_is_changed():
    rows = np.column_stack([np.linspace(0.0, 1.0, MOST_POINTS)] * 2)
    assert rebin(rows) is rows


def test_each_bin_holds_the_mean_of_its_points():
    energy = 1800.0 + np.arange(6000) * 0.025 + 0.001
    binned = rebin(np.column_stack([energy, energy**2]))
    assert len(binned) == 1500
    np.testing.assert_allclose(binned[:, 0], energy.reshape(-1, 4).mean(1))
    np.testing.assert_allclose(binned[:, 1], (energy**2).reshape(-1, 4).mean(1))
    assert np.diff(binned[:, 0]).min() > 0.9 * BIN


def test_a_coarser_scan_of_many_points_stays_as_it_is():
    rows = np.column_stack([np.arange(6000) * 0.3] * 2)
    np.testing.assert_array_equal(rebin(rows), rows)


def test_a_long_scan_means_the_same_and_knows_its_error():
    few, many = normalised(1_200), normalised(60_000)
    assert few.flags == ()
    assert many.flags == ("rebinned",)
    assert many.e0 == pytest.approx(few.e0, abs=0.05)
    assert many.edge_step == pytest.approx(few.edge_step, rel=5e-3)
    steps = [normalised(60_000, seed=seed).edge_step for seed in range(12)]
    error = many.parameters["edge_step_error"]
    assert error == pytest.approx(np.std(steps), rel=0.6)
    ratio = few.parameters["edge_step_error"] / error
    assert ratio == pytest.approx(np.sqrt(60_000 / 1_200), rel=0.3)


def test_time_and_memory_of_100000_points_are_small():
    spectrum = scan(100_000)
    tracemalloc.start()
    began = time.process_time()
    found = normalise_xanes(spectrum)
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, NormalisedSpectrum)
    assert seconds < 2.0
    assert peak < 100e6


@pytest.mark.parametrize("npre", [0, 1])
@pytest.mark.parametrize("nnorm", [0, 1, 2])
def test_the_error_of_the_step_is_that_of_its_weights(npre, nnorm):
    """The step is linear in mu: its deviation is the norm of the steps of single points."""
    energy = np.concatenate([np.arange(-60.0, -5.0, 2.0), np.arange(20.0, 150.0, 3.0)])
    pre, post = energy <= -30.0, energy >= 20.0
    ranges = Ranges(
        pre1=-60.0, pre2=-30.0, norm1=20.0, norm2=150.0, nnorm=nnorm, nvict=0, npre=npre
    )
    weights = []
    for k in range(len(energy)):
        mu = (np.arange(len(energy)) == k).astype(float)
        line = np.polynomial.Polynomial.fit(energy[pre], mu[pre], npre)
        rest = mu[post] - line(energy[post])
        weights.append(float(np.polynomial.Polynomial.fit(energy[post], rest, nnorm)(0.0)))
    assert step_deviation(energy, 0.0, ranges) == pytest.approx(np.linalg.norm(weights))
