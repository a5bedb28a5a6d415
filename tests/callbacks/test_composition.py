import numpy as np
import pytest

from nearedge.callbacks.composition import formula_of, with_elements
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.prepare import prepare
from nearedge.models import NormalisedSpectrum, Spectrum, Technique

ENERGY = np.arange(1780.0, 1920.0, 0.5)
MU = 0.2 + 0.5 + np.arctan(ENERGY - 1841.0) / np.pi


@pytest.mark.parametrize(
    ("start", "formula"),
    [
        ({"sample": {"formula": "Fe2O3", "composition": "FeO"}}, "Fe2O3"),
        ({"sample": {"composition": {"Fe": 2, "O": 3}}}, "Fe O"),
        ({"sample": {"elements": ["Si", "O"]}}, "Si O"),
        ({"sample.formula": " SiO2 "}, "SiO2"),
        ({"chemical_formula": "SiO2"}, "SiO2"),
        ({"composition": "SiO2", "sample": "wafer 3"}, "SiO2"),
        ({"sample": {"formula": 7}}, ""),
        ({"sample": {"name": "quartz"}}, ""),
        ({}, ""),
    ],
)
def test_a_runs_start_document_may_say_it_in_several_places(start, formula):
    assert formula_of(start) == formula


def spectrum(**changes):
    return Spectrum(
        **({"energy": ENERGY, "mu": MU, "absorber": "Si", "edge": "K"} | changes),
        technique=Technique.XANES,
    )


def prepared(raw, **settings):
    found = prepare(raw, Instrument(**settings), supports=lambda absorber, edge: True)
    assert isinstance(found, NormalisedSpectrum), found
    return found


def run_of(start):
    run = Run(uid="a", scan_id=1, time=0.0, start=start)
    columns = {"energy": ENERGY, "spectrum": MU}
    return Measurement(
        run=run,
        stream="primary",
        spectrum="0",
        columns=columns,
        complete=True,
        final=True,
        time=1.0,
    )


def test_the_profile_comes_before_the_file_and_the_run():
    file = spectrum(formula="SiO2")
    assert prepared(file).elements == ("O", "Si")
    assert prepared(file, composition="Si C").elements == ("C", "Si")
    run = run_of({"sample": {"formula": "Si3N4"}})
    assert prepared(run, signal="spectrum").elements == ("N", "Si")
    assert prepared(run, signal="spectrum", composition="SiC").elements == ("C", "Si")
    assert prepared(spectrum()).elements == ()


@pytest.mark.parametrize(
    ("formula", "flag"), [("quartz", "unreadable-formula"), ("Al2O3", "formula-without-absorber")]
)
def test_a_formula_that_cannot_be_used_is_flagged(formula, flag):
    found = prepared(spectrum(formula=formula))
    assert found.elements == ()
    assert flag in found.flags
    assert with_elements(found, "") is found
