import numpy as np
import pytest

from nearedge.models import Reason, Rejected, Spectrum, Technique
from nearedge.streaming.sources.files import FileSpectrum, merged

ENERGY = np.arange(1800.0, 1900.0, 0.5)


def scan(number, *, height=1.0, shift=0.0, edge="K", noise=0.002, peak=0.0):
    rng = np.random.default_rng(number)
    mu = height / (1 + np.exp(-(ENERGY - 1845.0 - shift)))
    mu += peak * np.exp(-(((ENERGY - 1850) / 3) ** 2)) + noise * rng.standard_normal(len(ENERGY))
    read = Spectrum(energy=ENERGY, mu=mu, technique=Technique.XANES, absorber="Si", edge=edge)
    return FileSpectrum(id=f"a.spec#scan {number}.1", spectrum=read, file="a.spec")


def test_repeats_become_their_mean():
    scans = [scan(n) for n in range(4)]
    (one,) = merged(scans)
    assert one.id == "a.spec#mean of 4 scans"
    expected = np.mean([each.spectrum.mu for each in scans], axis=0)
    np.testing.assert_allclose(one.spectrum.mu, expected)


def test_unlike_scans_are_refused_and_the_odd_one_is_named():
    (one,) = merged([scan(0), scan(1), scan(2, peak=0.5), scan(3)])
    assert one.spectrum.reason is Reason.UNLIKE
    assert "scan 2.1" in one.spectrum.detail


def test_scans_that_share_no_energies_are_refused():
    other = scan(1)
    far = Spectrum(
        energy=ENERGY + 500, mu=other.spectrum.mu, technique="xanes", absorber="Si", edge="K"
    )
    (one,) = merged([scan(0), FileSpectrum(id="a.spec#scan 1.1", spectrum=far)])
    assert one.spectrum.reason is Reason.UNLIKE


LOST = FileSpectrum(id="x", spectrum=Rejected(reason=Reason.NO_DATA, detail=""))


@pytest.mark.parametrize("other", [scan(1, edge="L1"), LOST])
def test_only_spectra_of_one_edge_are_merged(other):
    assert [one.id for one in merged([scan(0), other])] == ["a.spec#scan 0.1", other.id]
