"""Alignment scans and counts are no spectra, and no rejections: counted, and left out."""

import logging

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason

ROLES = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}


def instrument(**changes):
    return Instrument.model_validate({"roles": ROLES, **changes})


def point(**more):
    return {"chambers_i0": 1e6, "chambers_it": 5e5, **more}


def moves(*axes, plan="scan", **more):
    dimensions = [[[axis], "primary"] for axis in axes]
    return {"plan_name": plan, "hints": {"dimensions": dimensions}, **more}


@pytest.mark.parametrize("recording", ["alignment", "count"])
def test_recorded_runs_that_scan_no_energy(hearing, recorded, recording, caplog):
    with caplog.at_level(logging.INFO, logger="nearedge.callbacks.assemble"):
        heard = hearing(instrument(partial_every_s=0.1))
        for document in recorded(recording):
            heard.take([document])
            heard.now += 1.0
    assert not heard.emitted and heard.reasons == ["no-energy-scan"] and not heard.gaps
    assert "scanned no energy: it is left out" in caplog.text


@pytest.mark.parametrize("when", ["stop", "event", "events", "stream"])
def test_an_alignment_with_the_energy_read_along(hearing, compose, when):
    rng = np.random.default_rng(6)
    points = [point(x=k / 10, mono_energy=1850 + rng.normal(0, 0.02)) for k in range(12)]
    settings = instrument(finish={"when": when, "n": 4})
    heard = hearing(settings).take(compose("a", points, metadata=moves("x")))
    assert not heard.emitted and "no-energy-scan" in heard.reasons


def test_a_count_of_the_intensity_alone(hearing, compose):
    documents = compose("a", [{"chambers_i0": 1e6}], metadata=moves("time", plan="count"))
    assert hearing(instrument()).take(documents).reasons[-1] == "no-energy-scan"


def test_a_count_before_the_camera_is_in(hearing, compose):
    camera = Instrument.model_validate(
        {"technique": "eels", "signal": "spectrum", "finish": {"when": "event"},
         "roles": {"spectrum": "s", "offset": 500, "dispersion": 0.5}}
    )  # fmt: skip
    documents = compose("a", [{"diode": 1.0}], metadata=moves("time", plan="count"))
    assert hearing(camera).take(documents).reasons[-1] == "no-energy-scan"
    misnamed = compose("b", [{"other": np.ones(64)}], metadata=moves("time", plan="count"))
    rejected = reduce(hearing(camera).take(misnamed).only, camera)
    assert rejected.reason is Reason.MISSING_SIGNAL


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("dcm_energy", np.linspace(1830, 1890, 30)),  # called so
        ("theta", np.linspace(1830, 1890, 30)),  # near the edge, eV
        ("theta", np.linspace(1.83, 1.89, 30)),  # near the edge, keV
        ("bragg", np.linspace(66.0, 63.0, 30)),
    ],
)
def test_a_scan_of_the_energy_under_another_name_is_a_rejection(hearing, compose, axis, values):
    points = [point(**{axis: float(value)}) for value in values]
    only = hearing(instrument()).take(compose("a", points, metadata=moves(axis))).only
    rejected = reduce(only, instrument())
    assert rejected.reason is Reason.MISSING_SIGNAL and f"{axis}" in rejected.detail


def test_a_plan_that_says_nothing_is_a_rejection(hearing, compose):
    points = [point(theta=float(k)) for k in range(9)]
    rejected = reduce(hearing(instrument()).take(compose("a", points)).only, instrument())
    assert rejected.reason is Reason.MISSING_SIGNAL


def test_a_scan_of_the_energy_with_one_point_is_none_of_something_else(hearing, compose):
    metadata = moves("mono_energy", plan="list_scan")
    only = hearing(instrument()).take(compose("a", [point(mono_energy=1840.0)], metadata=metadata))
    assert only.only.columns["energy"].tolist() == [1840.0]


def test_a_detector_that_is_missing_is_a_rejection(hearing, compose):
    points = [{"mono_energy": e, "chambers_i0": 1e6} for e in np.linspace(1830, 1890, 20)]
    only = hearing(instrument()).take(compose("a", points, metadata=moves("mono_energy"))).only
    rejected = reduce(only, instrument())
    assert rejected.reason is Reason.MISSING_SIGNAL and "chambers_it as it" in rejected.detail


def test_a_count_of_whole_sweeps_is_a_spectrum(hearing, compose):
    fly = instrument(finish={"when": "event"})
    axis = np.linspace(1830, 1890, 30)
    data = {"mono_energy": axis, "chambers_i0": axis * 0 + 1e6, "chambers_it": axis * 0 + 5e5}
    heard = hearing(fly).take(compose("a", [data], metadata=moves("time", plan="count")))
    assert [m.spectrum for m in heard.finals] == ["1"]
