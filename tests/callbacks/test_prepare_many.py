"""Many spectra are prepared as each alone."""

import numpy as np
import pytest

from nearedge.callbacks import prepare_many as module
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.callbacks.prepare_many import prepare_many
from nearedge.models import Reason, Rejected, Technique
from nearedge.models.many_spectra import Spectra


def spectra(count=6, **changes):
    rng = np.random.default_rng(0)
    energy = 1800.0 + 0.4 * np.arange(260)
    rise = 1 / (1 + np.exp(-(energy - 1845.0) / 0.8))
    line = 1 + np.linspace(0, 1.5, count)[:, None] * np.exp(-0.5 * ((energy - 1848) / 2) ** 2)
    mu = rng.poisson(1e4 * (0.3 + rise * line)) / 1e4
    mu[1] = np.nan
    told = {"technique": Technique.XANES, "absorber": "Si", "edge": "K"}
    return Spectra(energy=energy, mu=mu, **{**told, **changes})


def every(absorber, edge):
    return True


INSTRUMENTS = {
    "mu": {},
    "composition": {"composition": "Na2SiO3"},
    "unreadable": {"composition": "Si O?!"},
    "lacks the absorber": {"composition": "Fe2O3"},
    "maybe damped": {"composition": "SiO2", "signal": "fluorescence"},
    "thin": {
        "composition": "SiO2",
        "signal": "fluorescence",
        "self_absorption": {"sample": "thin"},
    },
    "thick": {
        "composition": "SiO2",
        "signal": "fluorescence",
        "self_absorption": {"sample": "thick"},
    },
    "thick, unknown": {"signal": "fluorescence", "self_absorption": {"sample": "thick"}},
    "settings": {"normalise": {"e0": 1846.0, "nnorm": 1}},
}


@pytest.mark.parametrize("told", INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_every_spectrum_is_prepared_as_alone(told):
    instrument, some = Instrument.model_validate(told), spectra()
    found = prepare_many(some, instrument, supports=every)
    for k in range(len(some)):
        one = prepare(some.one(k), instrument, supports=every)
        if isinstance(one, Rejected):
            assert found.rejected[k] == one
            continue
        assert found.flat[k] == pytest.approx(one.flat, rel=1e-9, abs=1e-9)
        assert set(found.flags[k]) == set(one.flags)
        assert found.elements == one.elements


def test_an_edge_that_the_model_lacks_refuses_those_that_are_good():
    found = prepare_many(spectra(), Instrument(), supports=lambda absorber, edge: False)
    assert found.rejected[0].reason is Reason.UNSUPPORTED
    assert found.rejected[1].reason is Reason.NOT_FINITE
    assert not found.good.any()


def test_a_bug_costs_no_spectrum(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(module, "normalise_many", broken)
    found = prepare_many(spectra(), Instrument(), supports=every)
    assert found.good.sum() == 5
    assert "one by one" in caplog.text
