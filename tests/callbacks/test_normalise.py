import numpy as np
import pytest

from nearedge.callbacks.instrument import EelsSettings, XanesSettings
from nearedge.callbacks.normalise import normalise
from nearedge.models import Spectrum, Technique
from nearedge.models.normalise.eels import normalise_eels
from nearedge.models.normalise.xanes import normalise_xanes

ENERGY = 1841 + np.arange(-60, 80, 0.5)
MU = 0.2 + 1 / (1 + np.exp(-(ENERGY - 1841))) + np.exp(-(((ENERGY - 1845) / 2) ** 2))


def spectrum(technique):
    return Spectrum(energy=ENERGY, mu=MU, technique=technique, absorber="Si", edge="K")


def test_the_settings_of_the_profile_are_used():
    settings = XanesSettings(e0=1840.0, norm1=30.0, norm2=60.0, nnorm=1, energy_shift=0.5)
    ours = normalise(spectrum(Technique.XANES), settings)
    assert (ours.e0, ours.energy_shift) == (1840.0, 0.5)
    assert (ours.parameters["norm1"], ours.parameters["norm2"]) == (30.0, 60.0)


@pytest.mark.parametrize("section", [XanesSettings(), EelsSettings()], ids=["xanes", "eels"])
@pytest.mark.parametrize(
    ("technique", "alone"),
    [(Technique.XANES, normalise_xanes), (Technique.EELS, normalise_eels)],
)
def test_the_spectrum_decides_the_technique(section, technique, alone):
    ours, direct = normalise(spectrum(technique), section), alone(spectrum(technique))
    np.testing.assert_array_equal(ours.norm, direct.norm)
    assert ours.parameters == direct.parameters
