import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearedge.callbacks.scalars import (
    MAX_DEPTH,
    MAX_NAME,
    MAX_SCALARS,
    chosen,
    metadata_numbers,
)

STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=30,
)


@pytest.fixture
def along(hearing, compose, scan_points, transmission):
    """What is carried along with a scan in a run of that metadata and baseline."""

    def carried(context=(), **run):
        roles = transmission.roles.model_copy(update={"context": context})
        instrument = transmission.model_copy(update={"roles": roles})
        return hearing(instrument).take(compose("a", scan_points(5), **run))

    return carried


def test_numbers_of_the_start_document_are_carried_along(along):
    metadata = {"ph": 7, "sample": {"name": "quartz", "temperature": 293.5}, "scan_id": 3}
    assert along(metadata=metadata).only.context == {"ph": 7.0, "sample.temperature": 293.5}


@pytest.mark.parametrize(
    "value", ["5", True, None, [1, 2], math.nan, math.inf, 10**400, {"name": "x"}]
)
def test_what_is_no_finite_number_is_not(along, value):
    heard = along(metadata={"this": value})
    assert heard.only.context == {} and not heard.discards


def test_scalars_of_the_baseline_are_carried_along_with_their_units(along):
    readings = [{"t": 300.0, "n": 2, "frame": [1.0, 2.0]}, {"t": 310.0, "n": 2, "frame": [3.0, 4]}]
    only = along(baseline=readings, units={"t": "K"}).only
    assert only.context == {"n": 2.0, "t": 305.0}
    assert only.units == {"t": "K"}


def test_declared_names_come_first_and_readings_before_baseline_before_metadata(along):
    metadata = {"a": 1, "b": 1, "e": 1}
    context = along(("b", "e"), metadata=metadata, baseline=[{"a": 2.0, "c": 2.0}]).only.context
    # e, the energy, is also read at each point; a is only in the baseline and the metadata
    assert list(context.items()) == [("b", 1.0), ("e", 1860.0), ("a", 2.0), ("c", 2.0)]


def test_a_number_has_no_unit_of_a_reading_that_only_shares_its_name(along):
    only = along(metadata={"i0": 5}, units={"i0": "counts"}).only
    assert only.context == {"i0": 5.0} and only.units == {}


@pytest.mark.parametrize("where", ["metadata", "baseline"])
def test_only_so_many_are_carried_along_and_the_rest_is_told(along, caplog, where):
    many = {f"n{k:03d}": float(k) for k in reversed(range(MAX_SCALARS + 9))}
    run = {"metadata": many} if where == "metadata" else {"baseline": [many]}
    with caplog.at_level(logging.INFO, logger="nearedge"):
        heard = along(("n070",), **run)
    assert list(heard.only.context) == ["n070", *(f"n{k:03d}" for k in range(MAX_SCALARS))]
    assert heard.discards == [("scalars-left-out", "a")]
    assert "run a: 8 numbers of its" in caplog.text


def test_the_baselines_descriptors_cannot_add_up(compose, hearing, transmission):
    documents = compose("a", [{"e": 1.0, "i0": 1.0, "it": 1.0}], baseline=[{"b": 1.0}])
    (descriptor,) = [doc for name, doc in documents if name == "descriptor"][:1]
    more = [
        ("descriptor", {**descriptor, "uid": f"d{k}", "data_keys": {f"k{k}": {"dtype": "number"}}})
        for k in range(100)
    ]
    events = [
        (
            "event",
            {"descriptor": f"d{k}", "seq_num": 2 + k, "time": 101.0, "data": {f"k{k}": 1.0}},
        )
        for k in range(100)
    ]
    heard = hearing(transmission).take([documents[0], *more, *events, *documents[1:]])
    assert len(heard.only.context) == MAX_SCALARS


@pytest.mark.parametrize("name", ["x" * (MAX_NAME + 1), "a\nb", ".", "a..b", ""])
def test_a_name_that_cannot_be_shown_is_left_out(along, name):
    heard = along(metadata={name: 1.0})
    assert heard.only.context == {} and heard.reasons == ["scalars-left-out"]


def test_dictionaries_are_looked_through_to_a_depth(along):
    nested = {"deep": 1.0}
    for level in range(MAX_DEPTH):
        nested = {f"l{level}": nested, "here": level}
    heard = along(metadata=nested)
    assert "l3.l2.l1.here" in heard.only.context
    assert not any("deep" in name for name in heard.only.context)
    assert heard.reasons == ["scalars-left-out"]


@given(st.dictionaries(st.text(max_size=5), STRANGE))
def test_any_start_document_has_few_finite_numbers(start):
    numbers, too_deep = metadata_numbers(start)
    assert all(type(value) is float and math.isfinite(value) for value in numbers.values())
    assert too_deep >= 0


def test_the_choice_does_not_depend_on_the_order():
    names = [f"n{k}" for k in range(100)] + ["a.b", "z"]
    assert chosen(names) == chosen(names[::-1])
    assert "z" in chosen(names, room=101) and "a.b" not in chosen(names, room=101)


def test_a_spectrum_has_the_baseline_as_it_was_read_until_then(hearing, compose, transmission):
    finish = transmission.finish.model_copy(update={"when": "event"})
    frames = [{"e": [1.0, 2.0], "i0": [1.0, 1.0], "it": [1.0, 1.0]}] * 3
    documents = compose("a", frames, baseline=[{"t": 1.0}, {"t": 3.0}])  # at 101 and 102 s
    heard = hearing(transmission.model_copy(update={"finish": finish})).take(documents)
    assert [m.context["t"] for m in heard.finals] == [1.0, 2.0, 2.0]
