from dataclasses import replace

import numpy as np
import pytest

from nearedge.models import Spectrum, Technique
from nearedge.models.answering.card import shipped
from nearedge.models.answering.flags import flags_of
from nearedge.models.normalise.xanes import normalise_xanes


@pytest.mark.parametrize(("numbers", "flags"), [((4,), ()), ((5, 6), ("cn-undecided",))])
def test_a_set_of_several_numbers_is_flagged(whole, numbers, flags):
    assert flags_of(whole, species=["O"], outlier=False, numbers=numbers) == flags
    part = replace(whole, complete=False)
    assert flags_of(part, species=["O"], outlier=False, numbers=numbers) == ("partial",)


@pytest.mark.skipif("siox" not in shipped(), reason="no weights are shipped")
@pytest.mark.parametrize(("pressure", "flagged"), [(0.0, False), (25.7, True)])
def test_silica_between_two_phases_is_flagged_and_its_interval_holds_the_truth(pressure, flagged):
    from nearedge.models.answering.inverter import Inverter
    from nearedge.sim.silica import silica

    specimen = silica("Si", "K")
    energy = specimen.edge_energy + np.arange(-40.0, 60.0, 0.4)
    mu = specimen.mu(energy, pressure=pressure, fwhm=0.6) + 0.2
    spectrum = Spectrum(energy=energy, mu=mu, technique=Technique.XANES, absorber="Si", edge="K")
    seen = normalise_xanes(spectrum)
    (answer,) = Inverter.load("siox", device="cpu").invert([seen], seeds=[0])
    found, truth = answer.estimates, specimen.truth(pressure).cn_mean
    assert ("cn-undecided" in answer.flags) is flagged
    assert found.cn_mean_lo <= truth <= found.cn_mean_hi
