"""Runs that move more than the energy: a spectrum for each place, no mean of unlike ones."""

import itertools
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearedge.callbacks.axes import levels
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason, Rejected, Spectrum

ENERGIES = np.linspace(1830.0, 1890.0, 31)
ROLES = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}


def classic(**changes):
    return Instrument.model_validate({"roles": ROLES, **changes})


def mu(energy, place):
    """A step; at other places with a white line."""
    step = 0.5 + np.arctan(energy - 1845.0) / np.pi
    return step + place * 1.5 * np.exp(-(((energy - 1848.0) / 3) ** 2))


def reading(energy, place, **more):
    return {"e": float(energy), "i0": 1e6, "it": float(1e6 * np.exp(-mu(energy, place))), **more}


def instrument(**changes):
    return Instrument.model_validate({"roles": {"energy": "e", "i0": "i0", "it": "it"}, **changes})


def planned(*axes, shape=None, **more):
    """The start document of a scan over axes, the outermost first."""
    return {
        "plan_name": "grid_scan",
        "hints": {"dimensions": [[[axis], "primary"] for axis in axes]},
        **({"shape": list(shape)} if shape else {}),
        **more,
    }


def same(measurement, place):
    spectrum = reduce(measurement, instrument())
    assert isinstance(spectrum, Spectrum)
    order = np.argsort(spectrum.energy)
    assert np.allclose(spectrum.mu[order], mu(ENERGIES, place), atol=1e-9)
    return True


@pytest.mark.parametrize(
    ("recording", "names"),
    [("grid-energy-inner", ("31", "62")), ("grid-energy-outer", ("0.1", "0.2"))],
)
def test_a_grid_is_a_spectrum_for_each_position(hearing, recorded, recording, names):
    finals = hearing(classic()).take(recorded(recording)).finals
    assert [(m.spectrum, m.complete, m.flags) for m in finals] == [(n, True, ()) for n in names]
    assert [m.context["sample_x"] for m in finals] == [0.0, 1.0]
    for place, measurement in enumerate(finals):
        spectrum = reduce(measurement, classic())
        assert np.allclose(spectrum.energy, ENERGIES)
        assert np.allclose(spectrum.mu, mu(ENERGIES, place))


def test_the_sweeps_of_a_grid_are_finished_while_it_runs(hearing, recorded):
    documents = recorded("grid-energy-inner")
    heard = hearing(classic())
    heard.take(documents[: len(documents) // 2 + 3])
    assert [m.spectrum for m in heard.finals] == ["31"]


def test_a_plan_that_does_not_say_what_it_moves_is_flagged(hearing, recorded):
    only = hearing(classic()).take(recorded("unnamed-places")).only
    assert only.flags == ("unlike-averaged",)
    assert "instrument.split.axes" in only.unlike and "n: 31" in only.unlike
    assert "unlike-averaged" in reduce(only, classic()).flags
    strict = classic(split={"unlike": "reject"})
    rejected = reduce(hearing(strict).take(recorded("unnamed-places")).only, strict)
    assert isinstance(rejected, Rejected) and rejected.reason is Reason.UNLIKE
    assert "sweep 2 differs" in rejected.detail


def test_the_profile_may_name_the_axis(hearing, compose):
    points = [reading(e, p, temperature=300.0 + 100 * p) for p in (0, 1) for e in ENERGIES]
    unnamed = hearing(instrument()).take(compose("a", points)).only
    assert unnamed.flags == ("unlike-averaged",)
    named = instrument(split={"axes": ["temperature"]})
    first, second = hearing(named).take(compose("b", points)).finals
    assert same(first, 0) and same(second, 1)
    assert (first.context["temperature"], second.context["temperature"]) == (300.0, 400.0)


def test_a_set_point_tells_places_apart_without_being_named(hearing, compose):
    """Its read-back jitters; nobody says that it was moved."""
    rng = np.random.default_rng(1)
    points = [
        reading(e, p, x=p + rng.normal(0, 0.01), x_setpoint=float(p))
        for e in ENERGIES
        for p in (0, 1)
    ]
    first, second = hearing(instrument()).take(compose("a", points)).finals
    assert same(first, 0) and same(second, 1)
    assert abs(second.context["x"] - 1.0) < 0.01


@pytest.mark.parametrize("snake", [False, True])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
@pytest.mark.parametrize("order", ["energy inner", "energy outer", "energy between"])
def test_two_outer_axes_in_any_order(hearing, compose, order, jitter, snake):
    rng = np.random.default_rng(2)
    xs, ys = (0.0, 1.0, 2.0), (5.0, 7.0)
    energies = list(ENERGIES)
    grids = {
        "energy inner": (("x", xs), ("y", ys), ("e", energies)),
        "energy outer": (("e", energies), ("x", xs), ("y", ys)),
        "energy between": (("x", xs), ("e", energies), ("y", ys)),
    }[order]
    names, values = zip(*grids, strict=True)
    points = []
    for number, where in enumerate(itertools.product(*values)):
        at = dict(zip(names, where, strict=True))
        if snake and names[-1] != "e" and number // len(values[-1]) % 2:
            at[names[-1]] = sum(ys) - at[names[-1]]
        place = 3 * at["x"] + (at["y"] - 5) / 2
        moved = {key: at[key] + rng.normal(0, jitter) for key in ("x", "y")}
        points.append(reading(at["e"], place, **moved))
    metadata = planned(*names, shape=[len(v) for v in values],
                       extents=[[min(v), max(v)] for v in values],
                       num_points=len(points))  # fmt: skip
    finals = hearing(instrument()).take(compose("a", points, metadata=metadata)).finals
    assert len(finals) == 6 and all(m.complete and m.flags == () for m in finals)
    for measurement, (x, y) in zip(finals, itertools.product(xs, ys), strict=True):
        assert abs(measurement.context["x"] - x) < 0.1 and abs(measurement.context["y"] - y) < 0.1
        assert same(measurement, 3 * x + (y - 5) / 2)


@pytest.mark.parametrize("order", ["energy inner", "energy outer"])
def test_an_axis_of_words(hearing, compose, order):
    """A polarisation has no numbers; one that is not read has none either."""
    words = ("LH", "LV")
    if order == "energy inner":
        points = [reading(e, p, polarisation=words[p]) for p in (0, 1) for e in ENERGIES]
        metadata = planned("polarisation", "e", shape=[2, 31], num_points=62,
                           extents=[list(words), [1830, 1890]])  # fmt: skip
    else:
        points = [reading(e, p) for e in ENERGIES for p in (0, 1)]
        metadata = planned("e", "polarisation", shape=[31, 2], num_points=62)
    first, second = hearing(instrument()).take(compose("a", points, metadata=metadata)).finals
    assert same(first, 0) and same(second, 1) and first.complete and second.complete


def test_a_grid_that_was_stopped(hearing, compose):
    metadata = planned("x", "e", shape=[3, 31], extents=[[0, 2], [1830, 1890]], num_points=93)
    points = [reading(e, p, x=float(p)) for p in (0, 1) for e in ENERGIES][:50]
    first, second = hearing(instrument()).take(compose("a", points, metadata=metadata)).finals
    assert (first.spectrum, first.complete) == ("31", True)
    assert (second.spectrum, second.complete, len(second.columns["energy"])) == ("62", False, 19)
    outer = planned("e", "x", shape=[31, 2], num_points=62)
    points = [reading(e, p, x=float(p)) for e in ENERGIES for p in (0, 1)][:40]
    finals = hearing(instrument()).take(compose("b", points, metadata=outer)).finals
    assert [(m.spectrum, m.complete) for m in finals] == [("0.1", False), ("0.2", False)]


def test_two_readings_for_each_step_do_not_keep_to_the_plan(hearing, compose):
    metadata = planned("x", "e", shape=[2, 31], extents=[[0, 1], [1830, 1890]], num_points=62)
    points = [
        reading(e, p, x=float(p)) for p in (0, 1) for e in ENERGIES for _ in ("first", "second")
    ]
    finals = hearing(instrument()).take(compose("a", points, metadata=metadata)).finals
    assert [m.spectrum for m in finals] == ["0.1", "0.2"]
    assert [len(m.columns["energy"]) for m in finals] == [62, 62]
    assert all(m.flags == () for m in finals)


def test_an_axis_that_moves_with_the_energy_tells_no_places_apart(hearing, compose):
    points = [reading(e, 0, gap=20.0 + k // 8) for k, e in enumerate(ENERGIES)]
    metadata = planned("e", "gap", shape=None, motors=["e", "gap"])
    assert hearing(instrument()).take(compose("a", points, metadata=metadata)).only.flags == ()
    halves = [reading(e, 0, mirror=float(e > 1860)) for e in ENERGIES]
    metadata = planned("e", motors=["e", "mirror"])
    named = instrument(split={"axes": ["mirror"]})
    only = hearing(named).take(compose("b", halves, metadata=metadata)).only
    assert only.spectrum == "0" and only.complete


def test_positions_listed_beside_the_energies(hearing, compose):
    """``list_scan(mono, [E, E], x, [0, …, 1, …])``: both on one axis of the plan."""
    points = [reading(e, p, x=float(p)) for p in (0, 1) for e in ENERGIES]
    metadata = {"plan_name": "list_scan", "hints": {"dimensions": [[["e", "x"], "primary"]]},
                "shape": [62], "num_points": 62}  # fmt: skip
    first, second = hearing(instrument()).take(compose("a", points, metadata=metadata)).finals
    assert same(first, 0) and same(second, 1)


def test_repeats_at_one_place_are_averaged_when_they_agree(hearing, compose):
    sweeps = [*ENERGIES, *ENERGIES[::-1]]
    points = [reading(e, 1, x=3.0) for e in sweeps]
    metadata = planned("x", "e")
    only = hearing(instrument()).take(compose("a", points, metadata=metadata)).only
    assert (only.spectrum, only.flags, len(only.columns["energy"])) == ("0", (), 62)
    changed = [reading(e, k // 31, x=3.0) for k, e in enumerate(sweeps)]
    only = hearing(instrument()).take(compose("b", changed, metadata=metadata)).only
    assert only.flags == ("unlike-averaged",)


def test_more_places_than_the_profile_allows(hearing, compose):
    points = [reading(e, p % 2, x=float(p)) for e in ENERGIES for p in range(5)]
    metadata = planned("e", "x", shape=[31, 5], num_points=155)
    few = instrument(split={"most": 4})
    only = hearing(few).take(compose("a", points, metadata=metadata)).only
    assert only.flags == ("unlike-averaged",)
    assert "5 places on x" in only.unlike and "Set it to 5" in only.unlike
    assert len(hearing(instrument()).take(compose("b", points, metadata=metadata)).finals) == 5


def test_the_order_of_documents_does_not_matter(hearing, recorded):
    """A start that comes last still tells what was moved."""
    documents = recorded("grid-energy-outer")
    (start,), stop = [d for d in documents if d[0] == "start"], documents[-1]
    others = [d for d in documents if d[0] not in ("start", "stop")]
    finals = hearing(classic()).take([*others, start, stop]).finals
    assert [(m.spectrum, m.context["sample_x"]) for m in finals] == [("0.1", 0.0), ("0.2", 1.0)]


def test_a_running_grid_shows_the_place_of_the_last_reading(hearing, recorded):
    heard = hearing(classic(partial_every_s=1.0))
    documents = recorded("grid-energy-outer")[:-1]
    for document in documents:
        heard.take([document])
        heard.now += 2.0
    last = heard.emitted[-1]
    assert (last.spectrum, last.final) == ("0.2", False)
    assert np.ptp(last.columns["energy"]) > 50


@pytest.mark.parametrize(
    "start",
    [
        {"hints": 3, "motors": 3, "shape": "x", "extents": [1]},
        {"hints": {"dimensions": [["x", "primary"], 7]}, "shape": [2, None]},
        {"hints": {"dimensions": []}, "motors": [{}], "shape": [], "extents": [[0, "a"]]},
        {"hints": {"dimensions": [[["x"], "primary"], [["e"], "primary"]]}, "shape": [0, -1]},
        {"hints": {"dimensions": [[["x"], "primary"], [["e"], "primary"]]}, "shape": [10**9, 31],
         "extents": [[0, 1], [float("nan"), 1e300]]},
    ],
)  # fmt: skip
def test_start_documents_that_say_odd_things(hearing, compose, start):
    documents = compose("a", [reading(e, 0) for e in ENERGIES])
    first = json.loads(json.dumps(documents[0][1] | start))
    only = hearing(instrument()).take([("start", first), *documents[1:]]).only
    assert only.spectrum == "0" and same(only, 0)


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [
        ([0, 1, 0, 1], None, [0, 1, 0, 1]),
        ([0.0, 1.01, 0.01, 1.0, 0.005, 0.995], None, [0, 1, 0, 1, 0, 1]),
        ([1, 10, 100, 1.01, 10.02, 99.9], 3, [0, 1, 2, 0, 1, 2]),
        ([5.0, 5.001, 4.999, 5.002], 2, [0, 0, 0, 0]),
        ([0.0, 0.1, 0.2, 0.3], None, [0, 0, 0, 0]),
        ([3.0, 3.0], None, [0, 0]),
        ([0.0, 0.01, 0.02], 1, [0, 0, 0]),
    ],
)
def test_levels(values, count, expected):
    assert levels(np.array(values, dtype=float), count=count).tolist() == expected


def test_a_read_back_that_jitters_by_its_resolution_is_one_place():
    rng = np.random.default_rng(4)
    values = rng.integers(-2, 3, 200) * 1e-3
    assert not levels(values, count=None).any()


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "e": st.floats() | st.sampled_from([1840.0, 1850.0, 1860.0]),
                "i0": st.floats() | st.just(1e6),
                "it": st.floats() | st.lists(st.floats(), max_size=4) | st.just(5e5),
                "x": st.floats() | st.sampled_from([0.0, 1.0]) | st.none() | st.text(max_size=2),
            }
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([(), ("x", "e"), ("e", "x"), ("x",), ("time",)]),
    st.lists(st.integers(0, 12), max_size=3),
)
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)
def test_readings_of_any_kind_harm_nothing(hearing, compose, points, axes, shape):
    metadata = planned(*axes, shape=shape, extents=[[0, 1], [1840, 1860]]) if axes else {}
    documents = compose("a", [{"e": 1840.0, "i0": 1.0, "it": 1.0, "x": 0.0}, *points],
                        metadata=metadata)  # fmt: skip
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        heard = hearing(instrument()).take(documents)
        outcomes = [reduce(measurement, instrument()) for measurement in heard.finals]
    assert all(isinstance(outcome, Spectrum | Rejected) for outcome in outcomes)
    assert outcomes or "no-energy-scan" in heard.reasons
