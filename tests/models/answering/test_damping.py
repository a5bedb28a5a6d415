from dataclasses import replace

import numpy as np
import pytest

from nearedge.models import Spectrum, Technique
from nearedge.models.answering.card import shipped
from nearedge.models.answering.damping import looks_damped
from nearedge.models.normalise.self_absorption import damped
from nearedge.models.normalise.xanes import normalise_xanes

GRID = np.arange(-10.0, 60.5, 0.5)
STEP = 0.5 + np.arctan(GRID / 0.5) / np.pi
IMPLIED = STEP * (1 + 1.6 * np.exp(-(((GRID - 3) / 2) ** 2)) + 0.1 * np.sin(GRID / 5))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_damped_spectrum_is_told(whole, alpha):
    assert looks_damped(whole, damped(IMPLIED, alpha), IMPLIED)


@pytest.mark.parametrize(
    "measured",
    [IMPLIED, IMPLIED * 1.1, np.roll(IMPLIED, 3), damped(IMPLIED, 30.0), 2 * IMPLIED - STEP],
    ids=["alike", "scaled", "shifted", "hardly damped", "higher"],
)
def test_other_differences_are_none(whole, measured):
    assert not looks_damped(whole, measured, IMPLIED)


def test_parts_of_scans_and_eels_are_not_judged(whole):
    measured = damped(IMPLIED, 1.0)
    assert not looks_damped(replace(whole, complete=False), measured, IMPLIED)
    assert not looks_damped(replace(whole, technique=Technique.EELS), measured, IMPLIED)


def test_what_was_not_measured_does_not_count(whole):
    measured = np.where(GRID > 20, np.nan, damped(IMPLIED, 1.0))
    assert looks_damped(whole, measured, IMPLIED)
    assert not looks_damped(whole, np.full(len(GRID), np.nan), IMPLIED)


@pytest.mark.skipif("siox" not in shipped(), reason="no weights are shipped")
def test_the_shipped_model_flags_thick_silica_and_not_thin():
    from nearedge.models.answering.inverter import Inverter
    from nearedge.sim.silica import silica

    specimen = silica("Si", "K")
    energy = specimen.edge_energy + np.arange(-40.0, 60.0, 0.4)
    mu = specimen.mu(energy, pressure=0.0, fwhm=0.5)
    inverter = Inverter.load("siox", device="cpu", threads=1)
    about = {"energy": energy, "technique": Technique.XANES, "absorber": "Si", "edge": "K"}
    spectra = [normalise_xanes(Spectrum(mu=m, **about)) for m in (mu, damped(mu, 1.0))]
    thin, thick = inverter.invert(spectra, seeds=[1, 1], samples=16)
    assert thin.flags == ()
    assert "maybe-self-absorbed" in thick.flags
