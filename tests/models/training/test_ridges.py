import numpy as np
import pytest
import torch

from nearedge.models.data.views import Bank
from nearedge.models.parts.device import CPU
from nearedge.models.training import ridges
from nearedge.models.training.ridges import NUGGET


@pytest.fixture
def lesson():
    """Spectra whose level, and whose peak's place, fix two numbers."""
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-1, 1, (60, 2))
    grid = np.linspace(0, 6, 40)
    values = 1 + 0.3 * numbers[:, :1] + np.exp(-((grid - 3 - numbers[:, 1:]) ** 2))
    told = values.astype(np.float32)
    return told, np.ones_like(told), np.column_stack([numbers, np.full(60, np.nan)])


def asked(values):
    return torch.from_numpy(values.astype(np.float32)), torch.ones(values.shape)


def test_it_interpolates_between_training_spectra(lesson):
    values, mask, truth = lesson
    fitted = ridges.fit(values[:50], mask[:50], truth[:50])
    found = fitted(*asked(values[50:]))[0].numpy()
    scatter = np.abs(truth[50:, :2] - truth[:50, :2].mean(0)).mean(0)
    assert (np.abs(found[:, :2] - truth[50:, :2]).mean(0) < 0.2 * scatter).all()


def test_what_is_never_defined_is_answered_with_its_mean(lesson):
    values, mask, truth = lesson
    fitted = ridges.fit(values, mask, truth)
    assert np.isnan(truth[:, 2]).all()
    assert torch.equal(fitted(*asked(values))[0][:, 2], torch.zeros(60))


def test_what_was_not_measured_does_not_matter(lesson):
    values, mask, truth = lesson
    mask = mask.copy()
    mask[::2, 25:] = 0
    fitted = ridges.fit(values, mask, truth)
    other = np.where(mask > 0, values, 9.0)
    assert torch.equal(ridges.fit(other, mask, truth).factor, fitted.factor)
    cut = torch.from_numpy(mask)
    found, again = (fitted(torch.from_numpy(v), cut)[0] for v in (values, other))
    assert torch.equal(found, again)


def test_noise_is_expected(lesson):
    """A training spectrum is not answered with its own target alone."""
    values, mask, truth = lesson
    off = truth.copy()
    off[0, 0] += 2
    moved = ridges.fit(values, mask, off)(*asked(values[:1]))[0][0, 0]
    still = ridges.fit(values, mask, truth)(*asked(values[:1]))[0][0, 0]
    assert 0 < moved - still < 2 * (1 - NUGGET / 4)


def bank_of(values, mask):
    """Views that are each of one site."""
    members = np.broadcast_to(np.arange(values.shape[1])[:, None], (*values.shape[:2], 1))
    return Bank(values=values, mask=mask, members=members)


@pytest.fixture
def bank(lesson):
    """Four views: two of whole spectra, one of half of them, one of a third."""
    values, mask, _ = lesson
    views, masks = np.stack([values] * 4), np.stack([mask] * 4)
    masks[2, :, 22:], masks[3, :, 13:] = 0, 0
    return bank_of(views, masks)


SITES = np.arange(40)


@pytest.fixture
def described(bank, lesson):
    return np.stack([lesson[2]] * len(bank.values))


def test_each_band_learns_from_its_own_spectra(bank, described):
    fitted = ridges.fit_bands(bank, SITES, described, views=2, device=CPU)
    measured = [(~one.values.isnan()).sum(1) for one in fitted.bands]
    assert [len(rows) for rows in measured] == [40, 40, 80]
    assert [set(rows.tolist()) for rows in measured] == [{13}, {22}, {40}]
    assert [one.values.shape[1] for one in fitted.bands] == [13, 22, 40]


def test_no_more_views_of_a_site_than_asked_for(bank, described):
    fitted = ridges.fit_bands(bank, SITES, described, views=1, device=CPU)
    assert [len(one.values) for one in fitted.bands] == [40, 40, 40]


def test_a_band_without_spectra_learns_from_the_clean_ones(bank, described):
    whole = bank_of(bank.values[:2], bank.mask[:2])
    fitted = ridges.fit_bands(whole, SITES, described[:2], views=1, device=CPU)
    assert torch.equal(fitted.bands[0].factor, fitted.bands[2].factor)


def test_each_spectrum_is_answered_by_its_band(bank, described):
    fitted = ridges.fit_bands(bank, SITES, described, views=2, device=CPU)
    picked = [
        (torch.from_numpy(bank.values[v, :1]), torch.from_numpy(bank.mask[v, :1]))
        for v in (2, 0, 3)
    ]
    together, near = fitted(*(torch.cat(part) for part in zip(*picked, strict=True)))
    alone = [fitted.bands[number](*one) for number, one in zip((1, 2, 0), picked, strict=True)]
    assert torch.allclose(together, torch.cat([said for said, _ in alone]))
    assert torch.allclose(near, torch.ones(3), atol=1e-3)  # they are training spectra


def test_share_goes_to_who_errs_less():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (200, 2))
    good, bad = (truth + rng.normal(0, size, (3, 200, 2)) for size in (0.05, 1.0))
    bands = np.tile([0, 2], (3, 100))
    ensemble = np.where((bands == 0)[..., None], good, bad)
    other = np.where((bands == 0)[..., None], bad, good)
    share = ridges.best_share(other, ensemble, np.stack([truth] * 3), bands, np.ones((3, 200)))
    assert (share[0] < 0.2).all()
    assert (share[2, 2] > 0.8).all()
    assert (share[2, :2] == 0).all()  # none is so far
    assert (share[1] == 0).all()  # no spectrum lies there
