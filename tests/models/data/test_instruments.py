import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models.data import instruments
from nearedge.models.data.dataset import Site
from nearedge.models.data.instruments import InputCondition
from nearedge.models.spectrum import NormalisedSpectrum


def site(key="a", *, structure="s", peak=1.0, e0=1840.0):
    """A core-hole step with a white line, on points like those of a calculation."""
    x = np.concatenate([np.arange(-8, -3, 1.0), np.arange(-3, 12, 0.4), np.arange(12, 62, 2.0)])
    mu = 0.5 + np.arctan(x / 0.3) / np.pi + peak * np.exp(-(((x - 2) / 1.5) ** 2))
    return Site(
        id=key,
        split="val",
        group="",
        family="",
        structure=structure,
        source="",
        absorber="Si",
        edge="K",
        rattle=0,
        strain=0,
        species=np.array(["O"]),
        positions=np.array([[1.6, 0, 0]]),
        energy=e0 + x,
        mu=mu,
        mu0=np.zeros(0),
        e_fermi=0.0,
    )


def one(condition, sites=None, **options):
    (case,) = instruments.cases(sites or [site()], condition=condition, **options)
    return case


@pytest.mark.parametrize("condition", [c for c in InputCondition if c is not InputCondition.MEAN])
def test_every_condition_gives_a_normalised_spectrum(condition):
    spectrum = one(condition).spectrum
    assert isinstance(spectrum, NormalisedSpectrum)
    assert spectrum.e0 == pytest.approx(1840, abs=3)
    assert spectrum.complete == (condition.share == 1)


def test_partial_scans_end_where_they_should():
    ends = [
        one(c).spectrum.energy[-1] - 1840
        for c in (InputCondition.PARTIAL_40, InputCondition.PARTIAL_60, InputCondition.PARTIAL_80)
    ]
    assert ends == pytest.approx([12, 28, 44], abs=1)


def test_noise_depends_on_seed_and_site_only():
    both = [site("a"), site("b")]
    alone = one(InputCondition.MEASURED).spectrum
    among = list(instruments.cases(both, condition=InputCondition.MEASURED))
    np.testing.assert_array_equal(among[0].spectrum.mu, alone.mu)
    assert not np.array_equal(among[1].spectrum.mu[:20], alone.mu[:20])
    assert not np.array_equal(one(InputCondition.MEASURED, seed=1).spectrum.mu[:20], alone.mu[:20])


def test_more_counts_mean_less_noise():
    def noise(counts):
        instrument = instruments.SimulatedInstrument(
            counts=(counts, counts), step=(1, 1), slope=(0, 0)
        )
        rng = np.random.default_rng(0)
        seen = instruments.measure(site().spectrum, rng=rng, instrument=instrument)
        before = seen.mu[seen.energy < 1830]
        return np.std(
            before
            - np.polyval(np.polyfit(np.arange(len(before)), before, 2), np.arange(len(before)))
        )

    assert noise(1e4) == pytest.approx(10 * noise(1e6), rel=0.2)


@settings(max_examples=20, deadline=None)
@given(fwhm=st.floats(0.2, 2.0))
def test_resolution_broadens_and_keeps_the_area(fwhm):
    line = np.linspace(-40, 40, 1601)
    peak = 0.5 + np.arctan(line / 0.3) / np.pi + np.exp(-0.5 * ((line - 5) / 0.5) ** 2)
    sharp = dataclasses.replace(site().spectrum, energy=1840 + line, mu=peak)
    points = np.arange(-20, 30, 0.05)
    seen = instruments.scan(sharp, points, fwhm=fwhm).mu
    assert seen.max() < instruments.scan(sharp, points).mu.max()
    assert seen.sum() == pytest.approx(instruments.scan(sharp, points).mu.sum(), rel=5e-3)


def test_tail_joins_the_calculation_and_falls_away():
    spectrum = site().spectrum
    energy = np.array([1700.0, 1800.0, 1831.99, 1832.0, 1832.01])
    mu = instruments.absorption(spectrum, energy)
    assert (np.diff(mu) > 0).all()
    assert mu[2] == pytest.approx(mu[4], rel=0.01)
    assert mu[0] == pytest.approx(0.3 / np.pi / 140, rel=0.2)


def test_spectra_of_different_edges_have_no_mean():
    spectrum = site().spectrum
    other = dataclasses.replace(spectrum, energy=spectrum.energy - 900)
    with pytest.raises(ValueError, match="expected those of one edge"):
        instruments.average([spectrum, other])


def test_a_mean_is_of_the_sites_of_one_structure():
    sites = [site("a"), site("b", peak=3.0), site("c", structure="other")]
    case = one(InputCondition.MEAN, sites)
    assert [s.id for s in case.sites] == ["a", "b"]
    expected = instruments.average([sites[0].spectrum, sites[1].spectrum])
    np.testing.assert_allclose(expected.mu, (sites[0].mu + sites[1].mu) / 2)
    np.testing.assert_array_equal(case.spectrum.mu, expected.mu)
