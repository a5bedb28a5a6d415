"""What the service makes of simulated documents: every mode through its shipped profile."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from nearedge.callbacks import Assembler, Measurement, reduce
from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Reason, Rejected, Technique
from nearedge.models.answering.card import shipped
from nearedge.sim.beamline import measurement
from nearedge.sim.plans import dark_run, pressure_ramp
from nearedge.sim.station import Station, build_station
from nearedge.streaming.settings.configuration import load_profile
from nearedge.streaming.settings.profile import Profile

PROFILES = ("sim", "xanes-transmission", "xanes-fluorescence", "eels", "eels-files")


@pytest.fixture
def measured(engine: RunEngine, clock: Any, tmp_path: Path) -> Callable[[str], tuple]:
    """Measure a dark, 0 and 60 GPa with a shipped profile; the station and its measurements."""

    def run(name: str) -> tuple[Profile, Station, list[Measurement]]:
        root = {"NEAREDGE__INSTRUMENT__READABLE_ROOTS": f"[{tmp_path}]"}
        profile = load_profile((name,), environ=root)
        station = build_station(profile, directory=tmp_path, clock=clock.clock, sleep=clock.sleep)
        got: list[Measurement] = []
        engine.subscribe(Assembler(profile.instrument, emit=got.append))
        engine(dark_run(station, technique=profile.instrument.technique))
        engine(pressure_ramp(station, [0.0, 60.0], measurement(profile)))
        return profile, station, [m for m in got if m.final]

    return run


@pytest.mark.parametrize("name", PROFILES)
def test_simulated_runs_become_spectra(name: str, measured: Callable) -> None:
    profile, station, (dark, *rest) = measured(name)
    assert reduce(dark, profile.instrument).reason is Reason.NOT_A_SAMPLE
    assert {m.context["press-pressure"] for m in rest} == {0.0, 60.0}
    for one in rest:
        spectrum = reduce(one, profile.instrument)
        assert not isinstance(spectrum, Rejected), spectrum
        outcome = normalise(spectrum, profile.instrument.normalise)
        assert isinstance(outcome, NormalisedSpectrum), outcome
        assert set(outcome.flags) <= {"dark-subtracted"}
        assert likeness(outcome, station, one.context["press-pressure"]) > 0.95


@pytest.mark.skipif("siox" not in shipped(), reason="no weights are shipped")
@pytest.mark.parametrize("name", ["eels", "sim"])
def test_the_model_finds_nothing_unlike_in_its_own_silica(name: str, measured: Callable) -> None:
    from nearedge.models.answering.inverter import Inverter

    profile, _, (_, *rest) = measured(name)
    spectra = [
        normalise(reduce(one, profile.instrument), profile.instrument.normalise) for one in rest
    ]
    inverter = Inverter.load("siox", device="cpu", threads=1)
    answers = inverter.invert(spectra, seeds=range(len(spectra)), samples=4)
    assert len(answers) >= 2
    assert not any(answer.ood_flag for answer in answers)


def likeness(spectrum: NormalisedSpectrum, station: Station, pressure: float) -> float:
    """Correlation of the normalised spectrum with the specimen's, over the structure."""
    hutch = station.hutch
    shift = hutch.energy_offset_ev if spectrum.technique is Technique.XANES else 0.0
    energy = spectrum.energy - shift
    near = (energy > spectrum.e0 - 10) & (energy < spectrum.e0 + 50)
    true = hutch.specimen.mu(energy[near], pressure=pressure, fwhm=hutch.resolution_ev)
    return float(np.corrcoef(true, spectrum.flat[near])[0, 1])


def test_foil_takes_the_energy_offset_away(engine: RunEngine, clock: Any, tmp_path: Path) -> None:
    corrected = {
        "NEAREDGE__INSTRUMENT__NORMALISE__ENERGY_SHIFT": "reference",
        "NEAREDGE__INSTRUMENT__NORMALISE__REFERENCE_EDGE": "Si K",
        "NEAREDGE__SIMULATOR__ENERGY_OFFSET_EV": "2.0",
    }
    profile = load_profile(("sim",), environ=corrected)
    station = build_station(profile, clock=clock.clock, sleep=clock.sleep)
    got: list[Measurement] = []
    engine.subscribe(Assembler(profile.instrument, emit=got.append))
    engine(partial(measurement(profile), station)())
    outcome = normalise(
        reduce(next(m for m in got if m.final), profile.instrument), profile.instrument.normalise
    )
    assert isinstance(outcome, NormalisedSpectrum), outcome
    assert outcome.energy_shift == pytest.approx(-2.0, abs=0.3)
