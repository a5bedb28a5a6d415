"""Self-absorption, with Larch's fluo_corr as the oracle."""

import numpy as np
import pytest
from larch import Group
from larch.xafs import fluo_corr

from nearedge.callbacks.instrument import Instrument, SelfAbsorptionSettings
from nearedge.callbacks.prepare import prepare
from nearedge.callbacks.self_absorption import alpha_of
from nearedge.models import NormalisedSpectrum, Spectrum, Technique
from nearedge.models.normalise.self_absorption import damped, undamped

X = np.concatenate([np.arange(-120, -8, 2.0), np.arange(-8, 20, 0.2), np.arange(20, 260, 1.0)])
EDGES = {"Si": 1839.0, "S": 2472.0, "Fe": 7112.0, "Cu": 8979.0}
CASES = [("Si", "SiO2"), ("S", "CaSO4·2H2O"), ("Fe", "Fe2O3"), ("Cu", "CuSO4")]


def absorption() -> np.ndarray:
    """Return the normalised absorption of an edge at 4 eV with a strong white line."""
    step = 0.5 + np.arctan((X - 4.0) / 0.5) / np.pi
    return step + 1.8 * np.exp(-(((X - 5.5) / 1.3) ** 2)) + 0.1 * step * np.sin(X / 5)


def asked(absorber: str, mu: np.ndarray, *, formula: str = "", **settings) -> NormalisedSpectrum:
    instrument = Instrument.model_validate(
        {"absorber": absorber, "signal": "fluorescence"} | settings
    )
    energy = EDGES[absorber] + X
    raw = Spectrum(
        energy=energy, mu=mu, technique=Technique.XANES, absorber=absorber, edge="K",
        formula=formula,
    )  # fmt: skip
    found = prepare(raw, instrument, supports=lambda absorber, edge: True)
    assert isinstance(found, NormalisedSpectrum), found
    return found


@pytest.mark.parametrize("angles", [(45.0, 45.0), (30.0, 60.0), (80.0, 10.0)])
@pytest.mark.parametrize(("absorber", "formula"), CASES)
def test_the_correction_is_that_of_larch(absorber, formula, angles):
    incidence, leaving = angles
    settings = SelfAbsorptionSettings(incidence_deg=incidence, exit_deg=leaving)
    alpha = alpha_of(absorber, "K", formula, settings)
    mu = damped(absorption(), alpha)
    energy = EDGES[absorber] + X
    group = Group(energy=energy.copy(), mu=mu.copy())
    # of a curve that is 0 before the edge and about 1 past it Larch's own formula is exact
    windows = {"pre1": -115.0, "pre2": -40.0, "norm1": 60.0, "norm2": 250.0, "nnorm": 1}
    fluo_corr(group.energy, group.mu, formula.replace("·2H2O", "O2H4"), absorber, group=group,
              anginp=incidence, angout=leaving, **windows)  # fmt: skip
    about = {"sample": "thick", "incidence_deg": incidence, "exit_deg": leaving}
    ours = asked(absorber, mu, formula=formula, self_absorption=about,
                 normalise={"technique": "xanes", **windows})  # fmt: skip
    assert "self-absorption-corrected" in ours.flags
    assert ours.parameters["self_absorption_alpha"] == pytest.approx(alpha)
    near = (X > -5) & (X < 60)
    np.testing.assert_allclose(ours.norm[near], group.norm_corr[near], atol=0.01)


@pytest.mark.parametrize(("absorber", "formula"), CASES)
def test_a_thick_sample_comes_out_as_the_thin_one(absorber, formula):
    alpha = alpha_of(absorber, "K", formula, SelfAbsorptionSettings())
    thin = asked(absorber, absorption(), self_absorption={"sample": "thin"})
    mu = 40.0 * damped(absorption(), alpha) + 3.0
    thick = asked(absorber, mu, formula=formula, self_absorption={"sample": "thick"})
    near = (X > -5) & (X < 60)
    np.testing.assert_allclose(thick.norm[near], thin.norm[near], atol=0.08)
    np.testing.assert_array_equal(thick.mu, mu)


@pytest.mark.parametrize(
    ("formula", "flagged"),
    [("SiO2", True), ("Si", True), ("", False), ("C5000H10000Si", False), ("Si, O", False)],
)
def test_an_unknown_sample_is_flagged_where_its_formula_makes_it_likely(formula, flagged):
    found = asked("Si", absorption(), formula=formula)
    assert ("maybe-self-absorbed" in found.flags) is flagged
    np.testing.assert_array_equal(found.norm, asked("Si", absorption()).norm)


def test_what_is_thin_or_no_fluorescence_is_left_alone():
    thin = asked("Si", absorption(), formula="SiO2", self_absorption={"sample": "thin"})
    through = asked("Si", absorption(), formula="SiO2", signal="transmission")
    assert thin.flags == through.flags == ()


@pytest.mark.parametrize("formula", ["", "sand", "Fe2O3", "Si O"])
def test_a_thick_sample_whose_formula_does_not_help_is_flagged(formula):
    found = asked("Si", absorption(), formula=formula, self_absorption={"sample": "thick"})
    assert "maybe-self-absorbed" in found.flags
    assert "self-absorption-corrected" not in found.flags


def test_a_white_line_higher_than_a_thick_sample_can_show_is_not_corrected():
    found = asked("Si", absorption(), formula="SiO2", self_absorption={"sample": "thick"})
    assert "maybe-self-absorbed" in found.flags


def test_damping_and_its_correction_are_inverse():
    norm = np.linspace(0.0, 5.0, 50)
    for alpha in (2.0, 7.0, 100.0):
        seen = damped(norm, alpha)
        if seen.max() < 0.95 * (alpha + 1):
            np.testing.assert_allclose(undamped(seen, alpha), norm, atol=1e-12)
    assert undamped(np.array([0.0, 1.0, 2.9]), 2.0) is None
