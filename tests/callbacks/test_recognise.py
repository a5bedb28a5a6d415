import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument, RecogniseSettings
from nearedge.callbacks.recognise import MAX_DARKS, Dark, Darks, Kind, recognise
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ({}, Kind.SAMPLE),
        ({"dark_frame": True}, Kind.DARK),
        ({"dark_frame": False}, Kind.SAMPLE),
        ({"dark_frame": 1}, Kind.SAMPLE),
        ({"scan_type": "Dark"}, Kind.DARK),
        ({"scan_type": "reference"}, Kind.REFERENCE),
        ({"scan_type": "calibration"}, Kind.CALIBRATION),
        ({"scan_type": "sample"}, Kind.SAMPLE),
        ({"dark_frame": True, "scan_type": "reference"}, Kind.DARK),
    ],
)
def test_runs_are_told_apart_by_their_metadata(start, kind):
    assert recognise(start, RecogniseSettings()) is kind


def test_entries_may_be_nested():
    entries = RecogniseSettings(dark={"plan_args.kind": "dark"})
    assert recognise({"plan_args": {"kind": "dark"}}, entries) is Kind.DARK
    assert recognise({"plan_args": "dark"}, entries) is Kind.SAMPLE


def dark(uid, ended, **means):
    return Dark(run_uid=uid, ended=ended, means={k: np.asarray(v) for k, v in means.items()})


def test_the_latest_dark_before_a_run_is_its_dark_whatever_came_first():
    columns = {"i0": np.ones(5)}
    darks = [dark("a", 10.0, i0=1.0), dark("b", 20.0, i0=2.0), dark("c", 30.0, i0=3.0)]
    for order in (darks, darks[::-1]):
        seen = Darks()
        for one in order:
            seen.add(one)
        means, uids = seen.before(25.0, columns)
        assert float(means["i0"]) == 2.0 and uids == ("b",)
        assert seen.before(5.0, columns) == ({}, ())


def test_a_dark_of_other_detectors_is_passed_over():
    seen = Darks()
    seen.add(dark("a", 1.0, i0=1.0, if_=[1.0, 2.0], spectrum=np.ones(8)))
    seen.add(dark("b", 2.0, if_=[1.0, 2.0, 3.0], spectrum=np.ones(9)))
    columns = {"i0": np.ones(5), "if_": np.ones((5, 2)), "spectrum": np.ones(8)}
    means, uids = seen.before(3.0, columns)
    assert set(means) == {"i0", "if_", "spectrum"} and uids == ("a",)


def test_darks_are_bounded():
    seen = Darks()
    for k in range(MAX_DARKS + 2):
        seen.add(dark(str(k), float(k), i0=1.0))
    columns = {"i0": np.ones(5)}
    assert seen.before(1.5, columns) == ({}, ())
    assert seen.before(1e9, columns)[1] == (str(MAX_DARKS + 1),)


def test_a_dark_run_is_subtracted_from_what_follows(hearing, compose, scan_points, transmission):
    darkness = [{"e": 1830.0, "i0": 40.0, "it": 60.0}, {"e": 1830.0, "i0": 60.0, "it": 40.0}]
    before = compose("early", scan_points(8, offset=50.0), time=10.0)
    during = compose("dark", darkness, time=100.0, metadata={"dark_frame": True})
    after = compose("late", scan_points(8, offset=50.0), time=200.0)
    heard = hearing(transmission).take([*during, *before, *after])
    clean = hearing(transmission).take(compose("x", scan_points(8))).only
    by_run = {m.run.uid: m for m in heard.finals}
    late = reduce(by_run["late"], transmission)
    assert np.allclose(late.mu, reduce(clean, transmission).mu, rtol=0, atol=1e-12)
    assert late.flags == ("dark-subtracted",)
    assert by_run["late"].dark_runs == ("dark",) and by_run["early"].dark_runs == ()
    assert by_run["late"].columns["i0"].tolist() == [1e6 + 50] * 8
    assert reduce(by_run["dark"], transmission).reason is Reason.NOT_A_SAMPLE


def test_a_dark_of_whole_spectra_keeps_its_shape(hearing, compose):
    instrument = Instrument.model_validate(
        {
            "signal": "spectrum",
            "roles": {"spectrum": "s", "energy": "e"},
            "finish": {"when": "event"},
        }
    )
    energy = np.linspace(500.0, 600.0, 16)
    pattern = np.arange(16.0)
    darkness = [{"s": pattern - 1, "e": energy}, {"s": pattern + 1, "e": energy}]
    signal = [{"s": 100 + pattern, "e": energy}]
    heard = hearing(instrument).take(
        [
            *compose("d", darkness, time=1.0, metadata={"scan_type": "dark"}),
            *compose("a", signal, time=100.0),
        ]
    )
    assert [m.run.uid for m in heard.finals] == ["d", "a"]
    assert reduce(heard.finals[1], instrument).mu.tolist() == [100.0] * 16


@pytest.mark.parametrize("exit_status", ["abort", "fail"])
def test_a_broken_dark_run_is_no_dark(hearing, compose, scan_points, transmission, exit_status):
    darkness = compose(
        "d", [{"e": 1.0, "i0": 5.0, "it": 5.0}], metadata={"dark_frame": True},
        exit_status=exit_status, time=1.0,
    )  # fmt: skip
    heard = hearing(transmission).take([*darkness, *compose("a", scan_points(5), time=100.0)])
    assert heard.finals[-1].dark_runs == ()


def test_recorded_darks_are_recognised(hearing, recorded, transmission):
    roles = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}
    instrument = Instrument.model_validate({"roles": roles})
    heard = hearing(instrument).take(recorded("dark"))
    assert reduce(heard.only, instrument).reason is Reason.NOT_A_SAMPLE
