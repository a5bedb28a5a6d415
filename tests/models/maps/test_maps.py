"""Pixels together: components, noise, bins and groups."""

import numpy as np
import pytest

from nearedge.models import Technique
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.binning import bin_pixels, binned_shape
from nearedge.models.maps.components import components, noise_factor
from nearedge.models.maps.denoising import denoise
from nearedge.models.maps.groups import group_pixels, k_means
from nearedge.models.normalise.many.eels import normalise_many_eels
from nearedge.models.normalise.many.xanes import normalise_many_xanes

ENERGY = 1790.0 + 0.5 * np.arange(256)


def edge(peak):
    off = ENERGY - 1843.0
    rise = 1 / (1 + np.exp(-np.clip(off / 0.8, -50, 50)))
    return rise * (1 + peak * np.exp(-0.5 * ((off - 4) / 2) ** 2))


def spectrum_image(*, counts, shape=(12, 16), seed=0, thickness=None):
    """Half of the pixels of one kind, half of another: the kinds, the truth and the counts."""
    rng = np.random.default_rng(seed)
    kinds = np.zeros(shape, dtype=int)
    kinds[:, shape[1] // 2 :] = 1
    kinds = kinds.ravel()
    background = 3 * (ENERGY / 1843) ** -3
    truth = counts * (background + 0.4 * np.array([edge(0.3), edge(1.6)])[kinds])
    if thickness is not None:
        truth = truth * thickness.reshape(-1, 1)
    told = {"technique": Technique.EELS, "absorber": "Si", "edge": "K"}
    return kinds, truth, Spectra(energy=ENERGY, mu=rng.poisson(truth).astype(float), **told)


def test_the_threshold_is_that_of_gavish_and_donoho():
    assert noise_factor(1.0) == pytest.approx(2.858, abs=2e-3)
    for ratio in (0.05, 0.3, 0.5, 0.8, 1.0):
        # their own approximation, good to 0.02
        near = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
        assert noise_factor(ratio) == pytest.approx(near, abs=0.02)


@pytest.mark.parametrize("shape", [(300, 80), (80, 300), (200, 200)])
def test_noise_alone_has_no_components(shape):
    rng = np.random.default_rng(1)
    assert components(rng.normal(size=shape)).rank == 0


def test_as_many_components_are_found_as_there_are():
    rng = np.random.default_rng(2)
    made = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 120)) * 2 + rng.normal(size=(400, 120))
    found = components(made)
    assert found.rank == 3
    assert found.vectors @ found.vectors.T == pytest.approx(np.eye(3), abs=1e-9)


def test_denoising_brings_spectra_nearer_to_the_truth():
    _, truth, image = spectrum_image(counts=300.0)
    found = denoise(image)
    before, after = (np.abs(mu - truth).mean() for mu in (image.mu, found.spectra.mu))
    assert after < before / 4
    assert found.rank == 1
    assert found.spectra.flags == ("denoised",)


def test_denoising_finds_no_edge_where_there_is_none():
    thickness = np.ones((12, 16))
    thickness[:3] = 0.02
    _, _, image = spectrum_image(counts=300.0, thickness=thickness)
    flat = image.mu.copy()
    flat[:48] = np.random.default_rng(3).poisson(6.0, (48, len(ENERGY)))  # vacuum: counts, no edge
    nothing = Spectra(energy=ENERGY, mu=flat, technique=Technique.EELS, absorber="Si", edge="K")
    found = normalise_many_eels(denoise(nothing).spectra)
    assert not found.good[:48].any()
    assert found.good[48:].all()


def test_denoising_leaves_what_is_spoilt_as_it_is():
    _, _, image = spectrum_image(counts=300.0)
    mu = image.mu.copy()
    mu[7, 20] = np.nan
    mu[9, 40] += 1e5
    spoilt = Spectra(energy=ENERGY, mu=mu, technique=Technique.EELS, absorber="Si", edge="K")
    found = denoise(spoilt).spectra
    assert np.array_equal(found.mu[[7, 9]], mu[[7, 9]], equal_nan=True)


def test_few_spectra_are_not_denoised():
    _, _, image = spectrum_image(counts=300.0, shape=(2, 4))
    with pytest.raises(ValueError, match="8 whole spectra; expected at least 16"):
        denoise(image)


def test_binning_adds_counts_and_their_noise():
    _, _, image = spectrum_image(counts=2000.0, shape=(16, 16))
    whole = bin_pixels(image, (16, 16), 4)
    assert len(whole) == 16
    assert whole.mu.sum() == pytest.approx(image.mu.sum())
    assert whole.flags == ("binned",)
    one, many = normalise_many_eels(image), normalise_many_eels(whole)
    relative = [np.median((f.edge_step_error / f.edge_step)[f.good]) for f in (one, many)]
    assert relative[0] / relative[1] == pytest.approx(4.0, rel=0.15)


def test_binning_averages_absorption_and_passes_over_what_is_missing():
    mu = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    stack = Spectra(
        energy=np.array([1.0, 2.0]), mu=mu, technique=Technique.XANES, absorber="Si", edge="K"
    )
    assert bin_pixels(stack, (3,), 2).mu.tolist() == [[2.0, 2.0], [5.0, 6.0]]
    assert binned_shape((3, 8), 2) == (2, 4)
    with pytest.raises(ValueError, match="expected one for each pixel"):
        bin_pixels(stack, (2, 2), 2)


def test_groups_are_the_kinds_of_pixels():
    rng = np.random.default_rng(5)
    kinds = rng.permutation(np.repeat([0, 1], [120, 60]))
    spectra = np.array([edge(0.3), edge(1.6)])[kinds] + rng.normal(0, 0.05, (180, 256))
    spectra[4] = np.nan
    found = group_pixels(spectra, most=6, rng=np.random.default_rng(0))
    assert found.count == 2
    assert found.labels[4] == -1
    kept = np.arange(180) != 4
    assert (found.labels[kept] == kinds[kept]).all()


def test_the_same_seed_makes_the_same_groups():
    rng = np.random.default_rng(5)
    points = rng.normal(size=(200, 3))
    one, other = (k_means(points, 4, rng=np.random.default_rng(9)) for _ in range(2))
    assert (one == other).all()
    assert len(np.unique(one)) == 4


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_pixels_are_one_group_or_none(rows):
    spectra = np.full((3, 10), np.nan)
    spectra[:rows] = 1.0
    found = group_pixels(spectra, most=4, rng=np.random.default_rng(0))
    assert found.count == rows
    assert (found.labels >= 0).sum() == rows


def test_told_noise_counts_in_both_ways_of_normalising():
    _, _, image = spectrum_image(counts=2000.0)
    told = Spectra(
        energy=ENERGY,
        mu=image.mu,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
        noise=np.full(len(image), 1e9),
    )
    assert len(normalise_many_xanes(told).rejected) == len(image)
