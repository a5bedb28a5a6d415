"""The shipped model of all edges answers for measured scans, and says how sure it is."""

from pathlib import Path

import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.models import NormalisedSpectrum
from nearedge.models.answering.several import Several
from nearedge.streaming.sources.files import read_spectra

MEASURED = Path(__file__).parents[2] / "data" / "measured"


@pytest.fixture(scope="module")
def both():
    return Several.load("siox+any", device="cpu", threads=1)


def answer(both, name, **settings):
    (read,) = read_spectra(MEASURED / name, Instrument())
    found = prepare(read.spectrum, Instrument(**settings), supports=both.supports)
    assert isinstance(found, NormalisedSpectrum), found
    return both.invert([found], seeds=[1], samples=16)[0]


@pytest.mark.parametrize(
    ("name", "cn", "bond"),
    [
        ("Fe_Fe2O3_rt_01.xdi", 6, 2.029),
        ("Fe_Hansel2001_siderite_xanes_001.xdi", 6, 2.143),
        ("Cu_CuO_tenorite_13K_01.xdi", 4, 1.952),
        ("Mn_Mn2O3_rt_01.xdi", 6, 2.033),
        ("As_as2o3_roomt_scan1.xdi", 3, 1.786),
        ("S_CaSO4_rt_01.xdi", 4, 1.476),
    ],
)
def test_the_truth_of_well_known_compounds_is_held(both, name, cn, bond):
    found = answer(both, name)
    assert cn in found.estimates.cn_set
    assert found.estimates.bond.lo < bond < found.estimates.bond.hi
    assert found.model == both.cards.cards[1].digest
    assert found.samples.positions.shape[0] == 16


def test_the_samples_formula_keeps_other_elements_out(both):
    found = answer(both, "Fe_Fe2O3_rt_01.xdi")
    assert set(found.samples.species.ravel()) <= {"Fe", "O", ""}
    other = answer(both, "Fe_Fe2O3_rt_01.xdi", composition="Fe S")
    assert set(other.samples.species.ravel()) <= {"Fe", "S", ""}
    assert other.estimates.bond.mean > found.estimates.bond.mean
