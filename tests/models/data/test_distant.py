"""Distant views: as many as asked for, of the right sites, and further off than an instrument."""

from dataclasses import replace

import numpy as np

from nearedge.models.data.distant import make_distant_bank
from nearedge.models.data.views import Mixture, make_bank
from nearedge.models.parts.condition import grid_of

ALONE = Mixture(measured=0, partial=0, mean=0, unlike=0)


def test_views_lie_further_off_than_those_of_an_instrument(ringing_sites):
    sites = ringing_sites[:6]
    clean = make_bank(sites, views=1, seed=0, mix=ALONE).values[0]
    instrument = make_bank(sites, views=9, seed=0, mix=replace(ALONE, measured=1))
    far = make_distant_bank(sites, views=8, seed=0, mix=ALONE)

    def off(bank):
        return np.sqrt(((bank.values - clean) ** 2)[bank.mask > 0].mean())

    assert far.values.shape == far.mask.shape == (8, 6, clean.shape[1])
    assert off(far) > 1.5 * off(instrument)
    assert far.mask.all()
    assert (far.members[..., 0] == np.arange(6)).all()
    assert (far.members[..., 1:] == -1).all()


def test_the_same_seed_gives_the_same_views(ringing_sites):
    one, same, other = (
        make_distant_bank(ringing_sites[:4], views=2, seed=seed, mix=Mixture()).values
        for seed in (3, 3, 4)
    )
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_parts_of_scans_end_early_and_averages_keep_to_their_part(ringing_sites):
    sites, cells = ringing_sites[:6], np.array([0, 0, 0, 1, 1, 1])
    mix = Mixture(partial=0.6, least=0.4, mean=0, unlike=0.8)
    bank = make_distant_bank(sites, views=20, seed=0, mix=mix, cells=cells)
    grid = grid_of((-10.0, 60.0, 0.5))
    ends = np.where(bank.mask > 0, grid, -np.inf).max(-1)
    assert 0.4 < (ends < grid[-1]).mean() < 0.8
    assert ends.min() >= 0.4 * 80 - 20 - 0.5
    assert (bank.values[bank.mask == 0] == 0).all()
    averaged = bank.members[..., 1] >= 0
    assert 0.5 < averaged.mean() <= 0.9
    own = np.arange(6)[None, :, None]
    same = cells[np.maximum(bank.members, 0)] == cells[own]
    assert (same | (bank.members < 0)).all()
