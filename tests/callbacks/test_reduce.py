import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason, Rejected, Spectrum, Technique

ENERGY = np.linspace(1830.0, 1890.0, 60)


def measured(columns, **changes):
    run = Run(uid="a", scan_id=1, time=0.0, start=changes.pop("start", {}))
    settings = {"stream": "primary", "spectrum": "0", "complete": True, "final": True, "time": 1.0}
    return Measurement(run=run, columns=columns, **(settings | changes))


def instrument(**settings):
    return Instrument.model_validate(settings)


TRANSMISSION = instrument(roles={"energy": "e", "i0": "a", "it": "b", "ir": "c"})


def chambers(**changes):
    mu = 0.5 + np.arctan(ENERGY - 1845.0) / np.pi
    i0 = np.full(60, 1e6)
    return {
        "energy": ENERGY,
        "i0": i0,
        "it": i0 * np.exp(-mu),
        "ir": i0 * np.exp(-3 * mu),
        **changes,
    }


def test_transmission_and_its_reference():
    spectrum = reduce(measured(chambers()), TRANSMISSION)
    mu = 0.5 + np.arctan(ENERGY - 1845.0) / np.pi
    assert np.allclose(spectrum.mu, mu, atol=1e-12)
    assert np.allclose(spectrum.reference, 2 * mu, atol=1e-12)
    assert spectrum.energy.tolist() == ENERGY.tolist()
    assert (spectrum.absorber, spectrum.edge, spectrum.technique) == ("Si", "K", Technique.XANES)
    assert spectrum.complete and spectrum.flags == ()


def test_the_reference_as_the_signal():
    other = instrument(signal="reference", roles={"energy": "e", "it": "b", "ir": "c"})
    spectrum = reduce(measured(chambers()), other)
    assert np.allclose(spectrum.mu, 1.0 + 2 * np.arctan(ENERGY - 1845.0) / np.pi)
    assert spectrum.reference is None


def test_mu_as_it_is():
    spectrum = reduce(
        measured({"energy": ENERGY, "mu": ENERGY * 2}),
        instrument(signal="mu", roles={"energy": "e", "mu": "m"}),
    )
    assert spectrum.mu.tolist() == (ENERGY * 2).tolist()


def test_kilo_electron_volts():
    spectrum = reduce(
        measured(chambers(energy=ENERGY / 1000)), TRANSMISSION.model_copy(update={"units": "keV"})
    )
    assert np.allclose(spectrum.energy, ENERGY, rtol=1e-15)


FLUORESCENCE = instrument(
    signal="fluorescence",
    roles={"energy": "e", "i0": "a", "if_": ("f1", "f2"), "icr": ("c1", "c2"), "ocr": ("o1", "o2")},
)


def elements():
    true = np.outer(1e4 + 10 * np.arange(60), [1.0, 2.0])
    rate = true * 50
    live = np.exp(-rate * 2e-7)
    return true, {"energy": ENERGY, "i0": np.full(60, 1e6), "if_": true * live, "icr": rate,
                  "ocr": rate * live}  # fmt: skip


def test_fluorescence_is_corrected_for_dead_time():
    true, columns = elements()
    spectrum = reduce(measured(columns), FLUORESCENCE)
    assert np.allclose(spectrum.mu, true.sum(axis=1) / 1e6, rtol=1e-12)


def test_elements_are_left_out():
    true, columns = elements()
    spectrum = reduce(measured(columns), FLUORESCENCE.model_copy(update={"omit_elements": (0,)}))
    assert np.allclose(spectrum.mu, true[:, 1] / 1e6, rtol=1e-12)
    rejected = reduce(measured(columns), FLUORESCENCE.model_copy(update={"omit_elements": (0, 1)}))
    assert rejected.reason is Reason.MISSING_SIGNAL


def test_fluorescence_without_rates_is_not_corrected():
    _, columns = elements()
    plain = instrument(signal="fluorescence", roles={"energy": "e", "i0": "a", "if_": ("f1", "f2")})
    spectrum = reduce(measured(columns), plain)
    assert np.allclose(spectrum.mu, columns["if_"].sum(axis=1) / 1e6)


def test_a_rate_that_was_lost_is_a_rejection():
    _, columns = elements()
    del columns["ocr"]
    rejected = reduce(measured(columns, keys=("e", "f1")), FLUORESCENCE)
    assert rejected.reason is Reason.MISSING_SIGNAL
    assert "found data keys e, f1; expected o1, o2 as ocr" in rejected.detail


def test_a_dead_element_is_left_out_and_named():
    true, columns = elements()
    columns = {k: v.copy() for k, v in columns.items()}
    for role in ("if_", "icr", "ocr"):
        columns[role][:, 1] = 0.0
    spectrum = reduce(measured(columns), FLUORESCENCE)
    assert np.allclose(spectrum.mu, true[:, 0] / 1e6, rtol=1e-12)
    assert spectrum.flags == ("dead-element: 2",)


def test_an_element_without_rates_is_left_out():
    true, columns = elements()
    columns = columns | {"ocr": columns["ocr"] * [0.0, 1.0]}
    spectrum = reduce(measured(columns), FLUORESCENCE)
    assert np.allclose(spectrum.mu, true[:, 1] / 1e6, rtol=1e-12)
    assert spectrum.flags == ("dead-element: 1",)


def test_an_element_that_dies_within_the_scan_is_left_out():
    """Its counts would end as a step that looks like an edge."""
    true = np.outer(np.linspace(1e3, 2e3, 60), [1.0, 1.0, 0.5])
    columns = {"energy": ENERGY, "i0": np.full(60, 1e6), "if_": true.copy()}
    columns["if_"][40:, 1] = 0.0
    plain = instrument(signal="fluorescence", roles={"energy": "e", "i0": "a", "if_": ("f",)})
    spectrum = reduce(measured(columns), plain)
    assert np.allclose(spectrum.mu, true[:, [0, 2]].sum(axis=1) / 1e6, rtol=1e-12)
    assert spectrum.flags == ("dead-element: 2",)


def test_few_counts_are_no_dead_element():
    counts = np.random.default_rng(5).poisson(np.outer(np.linspace(0.5, 60, 60), [1.0, 1.0, 0.05]))
    columns = {"energy": ENERGY, "i0": np.full(60, 1e6), "if_": counts.astype(float)}
    plain = instrument(signal="fluorescence", roles={"energy": "e", "i0": "a", "if_": ("f",)})
    assert (counts == 0).any(axis=0).all()
    assert reduce(measured(columns), plain).flags == ()


def test_all_elements_dead_is_a_rejection():
    _, columns = elements()
    columns = columns | {role: columns[role] * 0 for role in ("if_", "icr", "ocr")}
    assert reduce(measured(columns), FLUORESCENCE).reason is Reason.NOT_FINITE


EELS = instrument(
    technique="eels",
    signal="spectrum",
    absorber="O",
    roles={
        "spectrum": "s",
        "low_loss": "l",
        "dispersion": "d",
        "offset": "o",
        "low_loss_offset": 0,
    },
)


def camera(**changes):
    return {
        "spectrum": np.linspace(900.0, 100.0, 64),
        "low_loss": np.ones(32),
        "dispersion": np.array([0.5]),
        "offset": np.array([500.0]),
        "low_loss_offset": np.array([-4.0]),
        **changes,
    }


def test_eels_makes_its_axes():
    spectrum = reduce(measured(camera()), EELS)
    assert spectrum.technique is Technique.EELS
    assert spectrum.energy.tolist() == (500 + 0.5 * np.arange(64)).tolist()
    assert spectrum.low_loss_energy.tolist() == (-4 + 0.5 * np.arange(32)).tolist()
    assert spectrum.low_loss.tolist() == [1.0] * 32


def test_an_axis_in_a_data_key_comes_first():
    axis = np.linspace(510.0, 570.0, 64)
    assert reduce(measured(camera(energy=axis)), EELS).energy.tolist() == axis.tolist()
    rejected = reduce(measured(camera(energy=axis[:-1])), EELS)
    assert rejected.reason is Reason.BAD_ENERGIES and "63 energies for 64" in rejected.detail


def test_a_low_loss_spectrum_without_an_axis_is_left_out_and_flagged():
    columns = camera()
    del columns["low_loss_offset"]
    spectrum = reduce(measured(columns), EELS)
    assert spectrum.low_loss is None and spectrum.flags == ("low-loss-without-axis",)


def test_a_partial_measurement_makes_a_partial_spectrum():
    spectrum = reduce(measured(chambers(), complete=False, flags=("partial",)), TRANSMISSION)
    assert not spectrum.complete and spectrum.flags == ("partial",)


def test_points_without_light_are_nan_and_flagged():
    it = chambers()["it"].copy()
    it[3], it[4], it[5] = 0.0, -2.0, np.nan
    spectrum = reduce(measured(chambers(it=it)), TRANSMISSION)
    assert np.flatnonzero(np.isnan(spectrum.mu)).tolist() == [3, 4, 5]
    assert spectrum.flags == ("bad-points",)


def test_of_negative_currents_the_ratio_counts():
    currents = {role: chambers()[role] * -1e-11 for role in ("i0", "it", "ir")}
    spectrum = reduce(measured(chambers(**currents)), TRANSMISSION)
    expected = reduce(measured(chambers()), TRANSMISSION)
    assert np.allclose(spectrum.mu, expected.mu, atol=1e-12)
    assert np.allclose(spectrum.reference, expected.reference, atol=1e-12)
    assert spectrum.flags == ()


def test_one_negative_chamber_is_a_rejection():
    rejected = reduce(measured(chambers(i0=-chambers()["i0"])), TRANSMISSION)
    assert rejected.reason is Reason.NOT_FINITE and "transmission" in rejected.detail


def test_a_point_of_positive_currents_where_both_are_negative_is_bad():
    columns = {role: chambers()[role].copy() for role in ("i0", "it")}
    columns["i0"][3] = columns["it"][3] = -1.0
    spectrum = reduce(measured(chambers(**columns)), TRANSMISSION)
    assert np.flatnonzero(np.isnan(spectrum.mu)).tolist() == [3]


def test_negative_currents_in_fluorescence():
    diode = instrument(signal="fluorescence", roles={"energy": "e", "i0": "a", "if_": ("f",)})
    current = np.linspace(-1e-9, -2e-9, 60)
    columns = {"energy": ENERGY, "i0": np.full(60, -1e-6), "if_": current[:, None]}
    spectrum = reduce(measured(columns), diode)
    assert np.allclose(spectrum.mu, current / -1e-6)


def test_no_other_signal_takes_the_place_of_the_one_asked_for():
    """Fluorescence was asked for; there is all that transmission needs, and a reference foil."""
    rejected = reduce(measured(chambers(), keys=("e", "a", "b", "c")), FLUORESCENCE)
    assert rejected.reason is Reason.MISSING_SIGNAL
    assert "found data keys e, a, b, c; expected f1, f2 as if_" in rejected.detail
    foil = {role: column for role, column in chambers().items() if role != "i0"}
    rejected = reduce(measured(foil, keys=("e", "b", "c")), TRANSMISSION)
    assert rejected.reason is Reason.MISSING_SIGNAL
    assert "found data keys e, b, c; expected a as i0" in rejected.detail


def test_a_scan_in_the_dark_is_a_rejection():
    rejected = reduce(measured(chambers(it=np.zeros(60))), TRANSMISSION)
    assert rejected.reason is Reason.NOT_FINITE and "60 of 60" in rejected.detail


def test_saturation():
    it = np.minimum(chambers()["it"], 5e5)
    assert reduce(measured(chambers(it=it)), TRANSMISSION).flags == ("maybe-saturated",)
    known = TRANSMISSION.model_copy(update={"saturation": 5e5})
    rejected = reduce(measured(chambers(i0=np.full(60, 4e5), it=it)), known)
    assert rejected.reason is Reason.SATURATED and "instrument.saturation" in rejected.detail


@pytest.mark.parametrize("scan_type", ["reference", "calibration", "dark"])
def test_what_is_no_sample(scan_type):
    rejected = reduce(measured(chambers(), start={"scan_type": scan_type}), TRANSMISSION)
    assert rejected.reason is Reason.NOT_A_SAMPLE and scan_type in rejected.detail


def test_a_role_that_the_profile_does_not_name():
    rejected = reduce(measured({"energy": ENERGY}), instrument(roles={"energy": "e"}))
    assert rejected.reason is Reason.MISSING_SIGNAL and "instrument.roles.i0" in rejected.detail


def test_a_run_without_readings():
    empty = measured({}, flags=("empty", "partial"), keys=("e", "a"))
    assert reduce(empty, TRANSMISSION).reason is Reason.NO_DATA
    other = measured({}, flags=("empty", "partial"), keys=("x",))
    rejected = reduce(other, TRANSMISSION)
    assert rejected.reason is Reason.MISSING_SIGNAL and "found data keys x" in rejected.detail


def test_columns_of_unequal_length():
    rejected = reduce(measured(chambers(it=np.ones(59))), TRANSMISSION)
    assert isinstance(rejected, Rejected) and "60 and 59" in rejected.detail


def test_nothing_is_changed_in_place():
    columns = chambers()
    for column in columns.values():
        column.flags.writeable = False
    dark = {"i0": np.array(10.0)}
    measurement = measured(columns, dark=dark, dark_runs=("d",))
    assert isinstance(reduce(measurement, TRANSMISSION), Spectrum)
