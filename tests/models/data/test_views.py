import numpy as np
import pytest

from nearedge.models.data.views import Mixture, make_bank

SHORT = Mixture(measured=0, partial=0.95, mean=0, unlike=0, least=0.3, jitter=0)
COMPANY = Mixture(measured=0, partial=0, mean=0.5, unlike=0.5, jitter=0)


@pytest.fixture
def bank(ringing_sites):
    return make_bank(ringing_sites[:6], views=12, seed=0, mix=SHORT)


def test_the_first_view_is_the_clean_spectrum(ringing_sites, bank):
    clean = make_bank(ringing_sites[:6], views=1, seed=1, mix=Mixture())
    assert np.array_equal(bank.values[0], clean.values[0])


def test_a_refused_view_is_drawn_again(bank):
    """The shortest parts have too little behind the edge; no clean spectrum stands in for them."""
    whole = bank.mask[1:].mean(-1) > 0.9 * bank.mask[0].mean(-1)
    assert whole.mean() < 0.3


def test_views_depend_on_seed_and_site_alone(ringing_sites, bank):
    again = make_bank(ringing_sites[2:4], views=12, seed=0, mix=SHORT)
    assert np.array_equal(again.values, bank.values[:, 2:4])
    other = make_bank(ringing_sites[2:4], views=12, seed=1, mix=SHORT)
    assert not np.array_equal(other.values[1:], again.values[1:])


def of(bank, view, site):
    return [number for number in bank.members[view, site] if number >= 0]


def test_views_are_of_the_sites_that_they_name(ringing_sites):
    """Without disturbances an average of normalised spectra is the normalised average."""
    bank = make_bank(ringing_sites[:6], views=12, seed=0, mix=COMPANY)
    assert all(of(bank, 0, site) == [site] for site in range(6))
    for view, site in np.ndindex(12, 6):
        members = of(bank, view, site)
        assert members[0] == site
        assert len(set(members)) == len(members)
        shares = bank.shares[view, site, : len(members)]
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(bank.values[view, site], shares @ bank.values[0, members], atol=0.03)
    assert len(of(bank, 1, 0)) > 1


def test_sites_of_different_cells_are_never_averaged(ringing_sites):
    cells = np.array([0, 0, 0, 0, 1, 1])
    bank = make_bank(ringing_sites[:6], views=12, seed=0, mix=COMPANY, cells=cells)
    together = [of(bank, view, site) for view, site in np.ndindex(12, 6)]
    assert all(len(set(cells[members])) == 1 for members in together)
    assert max(len(members) for members in together) == 4
