import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearedge.callbacks.assemble import MAX_OPEN_RUNS, MAX_ORPHANS, PARTIAL_SHARE, Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement


def seen_in(measurement: Measurement) -> tuple:
    """Everything of a measurement, comparable bit for bit."""
    return (
        measurement.run,
        measurement.stream,
        measurement.spectrum,
        {k: (v.shape, v.tobytes()) for k, v in measurement.columns.items()},
        measurement.complete,
        measurement.time,
        measurement.flags,
        measurement.context,
        measurement.units,
        measurement.keys,
        measurement.problems,
    )


def whole(**changes) -> Instrument:
    roles = {"spectrum": "s", "low_loss": "ll", "dispersion": "disp", "offset": "off"}
    return Instrument.model_validate(
        {"technique": "eels", "signal": "spectrum", "roles": roles, **changes}
    )


def frames(count: int, *, size: int = 16) -> list[dict]:
    rng = np.random.default_rng(7)
    return [{"s": rng.poisson(100, size).astype(float), "ll": rng.random(8)} for _ in range(count)]


def test_a_step_scan_is_one_spectrum(hearing, compose, scan_points, transmission):
    heard = hearing(transmission).take(compose("a", scan_points(20)))
    only = heard.only
    assert (only.run.uid, only.stream, only.spectrum) == ("a", "primary", "0")
    assert only.complete and only.flags == ()
    assert only.columns["energy"].tolist() == np.linspace(1830, 1890, 20).tolist()
    assert set(only.columns) == {"energy", "i0", "it"}
    assert only.time == 120.0
    assert not heard.gaps and not heard.discards and not heard.assembler.open_runs


def test_a_recorded_scan_of_classic_ophyd(hearing, recorded):
    roles = {
        "energy": "mono_energy",
        "i0": "chambers_i0",
        "it": "chambers_it",
        "ir": "chambers_ir",
        "context": ("press_pressure", "sample_name"),
    }
    heard = hearing(Instrument.model_validate({"roles": roles})).take(recorded("step-scan"))
    assert heard.only.columns["energy"].tolist() == np.linspace(1830, 1890, 31).tolist()
    assert next(iter(heard.only.context.items())) == ("press_pressure", 12.5)
    assert heard.only.complete and not heard.gaps


def test_sweeps_to_and_fro_are_a_spectrum_each(hearing, recorded):
    roles = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}
    instrument = Instrument.model_validate({"roles": roles, "finish": {"when": "events", "n": 31}})
    there, back = hearing(instrument).take(recorded("sweeps")).finals
    assert (there.spectrum, back.spectrum) == ("31", "62")
    assert there.columns["energy"].tolist() == back.columns["energy"][::-1].tolist()
    assert there.complete and back.complete


def test_a_rewound_point_replaces_the_first_reading(hearing, recorded):
    roles = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}
    heard = hearing(Instrument.model_validate({"roles": roles})).take(recorded("rewound"))
    assert heard.reasons == ["duplicate"]
    assert heard.only.columns["energy"].tolist() == np.linspace(1830, 1890, 31).tolist()
    assert heard.only.complete and not heard.gaps


def test_a_failed_scan_is_partial(hearing, recorded):
    roles = {"energy": "mono_energy", "i0": "chambers_i0", "it": "chambers_it"}
    only = hearing(Instrument.model_validate({"roles": roles})).take(recorded("failed")).only
    assert only.final and not only.complete
    assert only.flags == ("aborted", "partial")
    assert len(only.columns["energy"]) == 10


def test_a_plan_that_was_stopped_calls_itself_a_success(
    hearing, compose, scan_points, transmission
):
    documents = compose("a", scan_points(20)[:12], metadata={"num_points": 20})
    only = hearing(transmission).take(documents).only
    assert not only.complete and only.flags == ("partial",)


def test_every_event_is_a_spectrum_at_once(hearing, compose):
    heard = hearing(whole(finish={"when": "event"}))
    documents = compose("a", frames(3), configuration={"disp": 0.5, "off": 500.0})
    heard.take(documents[:-1])
    assert [m.spectrum for m in heard.finals] == ["1", "2", "3"]
    assert heard.finals[1].columns["spectrum"].tolist() == frames(3)[1]["s"].tolist()
    assert heard.finals[1].columns["offset"].tolist() == [500.0]
    assert heard.finals[1].time == 102.0
    heard.take(documents[-1:])
    assert len(heard.finals) == 3


def test_frames_of_a_run_are_averaged(hearing, compose):
    only = hearing(whole()).take(compose("a", frames(4))).only
    assert np.array_equal(only.columns["spectrum"], np.mean([f["s"] for f in frames(4)], axis=0))
    assert only.columns["low_loss"].shape == (8,)


def test_the_last_group_may_be_short(hearing, compose):
    heard = hearing(whole(finish={"when": "events", "n": 3}))
    heard.take(compose("a", frames(5)))
    assert [(m.spectrum, m.complete, m.flags) for m in heard.finals] == [
        ("3", True, ()),
        ("6", False, ("partial",)),
    ]


def test_a_frame_of_another_length_is_left_out_and_flagged(hearing, compose):
    odd = [*frames(3), {"s": np.ones(5), "ll": np.ones(8)}]
    only = hearing(whole()).take(compose("a", odd)).only
    assert only.flags == ("odd-frames",)
    assert np.array_equal(only.columns["spectrum"], np.mean([f["s"] for f in frames(3)], axis=0))


def test_one_spectrum_of_each_stream_or_one_of_all(hearing, compose, scan_points, transmission):
    first = compose("a", scan_points(6), stream="below")
    second = compose("a", scan_points(4), stream="above")
    documents = [*first[:-1], *second[1:-1], ("stop", {"run_start": "a", "time": 1.0})]
    separate = transmission.model_copy(update={"streams": ("below", "above")})
    joined = hearing(separate).take(documents).only
    assert joined.stream == "below" and len(joined.columns["energy"]) == 10
    each = Instrument.model_validate({**separate.model_dump(), "finish": {"when": "stream"}})
    heard = hearing(each).take(documents)
    assert [(m.stream, m.spectrum) for m in heard.finals] == [("below", "0"), ("above", "0")]


def test_a_multi_element_detector_has_a_column_each(hearing, compose):
    events = [{"e": 1.0 * k, "i0": 9.0, "f1": 1.0 * k, "f2": 2.0 * k} for k in range(5)]
    roles = {"energy": "e", "i0": "i0", "if_": ("f1", "f2")}
    only = hearing(Instrument.model_validate({"roles": roles})).take(compose("a", events)).only
    assert only.columns["if_"].tolist() == [[k, 2.0 * k] for k in range(5)]
    together = [{"e": 1.0 * k, "i0": 9.0, "f": [1.0 * k, 2.0 * k]} for k in range(5)]
    roles = {"energy": "e", "i0": "i0", "if_": ("f",)}
    other = hearing(Instrument.model_validate({"roles": roles})).take(compose("a", together)).only
    assert other.columns["if_"].tolist() == only.columns["if_"].tolist()


def test_context_comes_from_the_readings_the_baseline_or_the_start(hearing, compose, transmission):
    events = [{"e": 1.0, "i0": 1.0, "it": 1.0, "t": 10.0}, {"e": 2.0, "i0": 1, "it": 1, "t": 20.0}]
    roles = transmission.roles.model_copy(update={"context": ("t", "p", "ph", "none")})
    instrument = transmission.model_copy(update={"roles": roles})
    documents = compose(
        "a", events, baseline=[{"p": 3.0}, {"p": 5.0}], metadata={"ph": 7, "none": "x"}
    )
    assert hearing(instrument).take(documents).only.context == {"t": 15.0, "p": 4.0, "ph": 7.0}


def test_context_has_the_units_that_the_documents_give(hearing, compose, transmission):
    roles = transmission.roles.model_copy(update={"context": ("t", "p", "ph")})
    instrument = transmission.model_copy(update={"roles": roles})
    events = [{"e": 1.0, "i0": 1.0, "it": 1.0, "t": 10.0}]
    units = {"t": "K", "p": "GPa", "e": "eV"}
    documents = compose("a", events, baseline=[{"p": 3.0}], metadata={"ph": 7}, units=units)
    assert hearing(instrument).take(documents).only.units == {"t": "K", "p": "GPa"}


@pytest.mark.parametrize(
    ("metadata", "sample"),
    [
        ({"sample_name": "quartz"}, "quartz"),
        ({"sample": "coesite"}, "coesite"),
        ({"sample": {"name": "glass", "mass": 2}}, "glass"),
        ({"sample": {"mass": 2}}, None),
        ({"sample_name": 7}, None),
        ({}, None),
    ],
)
def test_the_sample_is_named_where_the_start_document_does(
    hearing, compose, scan_points, transmission, metadata, sample
):
    documents = compose("a", scan_points(5), metadata=metadata)
    assert hearing(transmission).take(documents).only.run.sample == sample


def test_a_running_scan_is_shown_now_and_then(hearing, compose, scan_points, transmission):
    heard = hearing(transmission.model_copy(update={"partial_every_s": 1.0}))
    for name, doc in compose("a", scan_points(20)):
        heard.take([(name, doc)])
        heard.now += 0.3
    partial = [m for m in heard.emitted if not m.final]
    assert [len(m.columns["energy"]) for m in partial] == [5, 9, 13, 17]
    assert not any(m.complete for m in partial) and partial[0].flags == ("partial",)
    assert heard.only.complete


def test_showing_a_long_scan_leaves_time_for_other_documents(compose, scan_points, transmission):
    now, shown = 0.0, []

    def show(measurement):
        nonlocal now
        if not measurement.final:
            shown.append(now)
            now += 3.0  # as long as it takes

    instrument = transmission.model_copy(update={"partial_every_s": 1.0})
    assembler = Assembler(instrument, emit=show, clock=lambda: now)
    for document in compose("a", scan_points(200)):
        assembler(*document)
        now += 0.5
    assert len(shown) > 2
    assert all(later - before >= 3.0 / PARTIAL_SHARE for before, later in itertools.pairwise(shown))


@pytest.mark.parametrize("finish", [{"when": "stop"}, {"when": "event"}])
def test_whole_spectra_are_not_shown_before_they_are_finished(hearing, compose, finish):
    heard = hearing(whole(finish=finish, partial_every_s=0.1))
    for document in compose("a", frames(4)):
        heard.take([document])
        heard.now += 1
    assert all(m.final for m in heard.emitted)


# what a bus may lose, repeat or garble


def test_lost_events_are_a_gap(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(20))
    heard = hearing(transmission).take(documents[:5] + documents[7:])
    (gap,) = heard.gaps
    assert gap.run_uid == "a"
    assert "2 events never came (seq_num 4, 5)" in gap.detail
    assert heard.only.flags == ("gap", "partial") and len(heard.only.columns["energy"]) == 18


def test_a_late_listener_reports_the_run(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(20))
    heard = hearing(transmission).take(documents[4:])
    assert [gap.run_uid for gap in heard.gaps] == ["a"]
    assert heard.gaps[0].detail == "its start document never came"
    assert not heard.emitted
    heard.assembler.close()
    assert heard.reasons == ["orphan"] * 18


def test_a_lost_descriptor_is_a_gap_with_its_count(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(5))
    heard = hearing(transmission).take([documents[0], *documents[2:]])
    assert heard.gaps[0].detail == "stream primary: its descriptor and 5 events never came"


def test_duplicates_change_nothing(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(6))
    twice = list(itertools.chain.from_iterable((d, d) for d in documents))
    heard = hearing(transmission).take(twice)
    plain = hearing(transmission).take(documents)
    assert seen_in(heard.only) == seen_in(plain.only)
    assert heard.reasons == ["duplicate"] * 8 + ["run-finished"]
    assert not heard.gaps


def test_documents_of_a_finished_run_are_counted(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(3))
    heard = hearing(transmission).take(documents + documents)
    assert len(heard.finals) == 1
    assert heard.discards == [("run-finished", "a")] * 6
    heard.assembler.forget("a")
    heard.take(documents)
    assert len(heard.finals) == 2


HOSTILE = [
    ("event", {}),
    ("event", {"descriptor": "d", "seq_num": "x", "time": 0, "data": {}}),
    ("event", {"descriptor": "d", "seq_num": 0, "time": 0, "data": {}}),
    ("event", []),
    ("event", None),
    ("event_page", {"descriptor": "d"}),
    ("event_page", {"descriptor": "d", "uid": 3, "time": 1, "seq_num": 2, "data": 4}),
    ("start", {"uid": 5}),
    ("start", {"uid": "", "time": 0}),
    ("stop", {}),
    ("stop", None),
    ("descriptor", {"uid": "d", "run_start": "a", "data_keys": []}),
    ("descriptor", {"uid": "d", "run_start": "a", "data_keys": {"e": 1}}),
    ("stream_datum", {"stream_resource": "r", "descriptor": "d", "indices": {}, "seq_nums": {}}),
    ("stream_resource", {"uid": "r", "data_key": "k", "mimetype": "m", "uri": "u"}),
    ("datum_page", {"resource": "r"}),
    ("brew", {"tea": True}),
    ("", {}),
]


@pytest.mark.parametrize(("name", "doc"), HOSTILE)
def test_hostile_documents_are_counted_and_hurt_nothing(
    hearing, compose, scan_points, transmission, name, doc
):
    documents = compose("a", scan_points(5))
    heard = hearing(transmission).take([*documents[:4], (name, doc), *documents[4:]])
    assert heard.reasons == ["malformed"]
    assert heard.only.complete and len(heard.only.columns["energy"]) == 5


def test_documents_that_refer_to_the_wrong_kind_are_counted(
    hearing, compose, scan_points, transmission
):
    documents = compose("a", scan_points(5))
    descriptor = documents[1][1]["uid"]
    file = {"uid": "r", "run_start": "a", "data_key": "k", "mimetype": "m", "uri": "u"}
    span = {"start": 0, "stop": 1}
    wrong = [
        ("stream_resource", file),
        ("event", {"descriptor": "r", "seq_num": 1, "time": 0.0, "data": {}}),
        ("datum", {"resource": descriptor, "datum_id": "x", "datum_kwargs": {}}),
        ("stream_datum", {"stream_resource": descriptor, "descriptor": descriptor,
                          "indices": span, "seq_nums": span}),
    ]  # fmt: skip
    heard = hearing(transmission).take([*documents[:3], *wrong, *documents[3:]])
    assert heard.reasons == ["malformed"] * 3
    assert heard.only.complete and len(heard.only.columns["energy"]) == 5


def test_a_run_that_was_forgotten_may_come_again_in_any_order(
    hearing, compose, scan_points, transmission
):
    documents = compose("a", scan_points(5))
    heard = hearing(transmission).take(documents)
    heard.assembler.forget("a")
    heard.take([documents[2], documents[0], documents[1], *documents[3:]])
    first, second = heard.finals
    assert seen_in(first) == seen_in(second) and not heard.discards


def test_values_that_are_no_numbers_become_nan(hearing, compose, scan_points, transmission):
    events = scan_points(5)
    events[1]["it"], events[2]["it"], events[3]["it"] = None, "n/a", {"x": 1}
    only = hearing(transmission).take(compose("a", events)).only
    assert np.isnan(only.columns["it"]).tolist() == [False, True, True, True, False]


def test_a_run_without_readings_says_which_keys_it_has(hearing, compose, transmission):
    only = hearing(transmission).take(compose("a", [{"x": 1.0}, {"x": 2.0}])).only
    assert only.columns == {} and only.keys == ("x",)
    assert "empty" in only.flags and not only.complete


def test_a_run_without_our_streams_is_counted(hearing, compose, scan_points, transmission):
    heard = hearing(transmission).take(compose("a", scan_points(3), stream="other"))
    assert heard.discards == [("no-spectrum", "a")] and not heard.emitted


def test_a_run_that_never_stops_expires(hearing, compose, scan_points, transmission):
    heard = hearing(transmission).take(compose("a", scan_points(7))[:-1])
    heard.now = 10.0
    assert heard.assembler.expire(20.0) == ()
    assert heard.assembler.expire(5.0) == ("a",)
    assert heard.only.flags == ("no-stop", "partial") and not heard.only.complete
    assert heard.gaps[0].detail == "its stop document never came"


def test_orphans_expire_too(hearing, compose, scan_points, transmission):
    heard = hearing(transmission).take(compose("a", scan_points(4))[2:-1])
    heard.now = 10.0
    heard.assembler.expire(5.0)
    assert heard.reasons == ["orphan"] * 4 and len(heard.gaps) == 1


def test_orphans_are_bounded(hearing, transmission):
    heard = hearing(transmission)
    for k in range(MAX_ORPHANS + 5):
        heard.take([("event", {"descriptor": f"d{k}", "seq_num": 1, "time": 0.0, "data": {}})])
    assert heard.reasons == ["orphan"] * 5


def test_open_runs_are_bounded(hearing, transmission):
    heard = hearing(transmission)
    for k in range(MAX_OPEN_RUNS + 3):
        heard.now = float(k)
        heard.take([("start", {"uid": f"r{k}", "time": float(k)})])
    assert len(heard.assembler.open_runs) == MAX_OPEN_RUNS
    assert [gap.run_uid for gap in heard.gaps] == ["r0", "r1", "r2"]


def test_an_event_before_its_descriptor_is_kept(hearing, compose, scan_points, transmission):
    documents = compose("a", scan_points(5))
    shuffled = [documents[2], documents[1], documents[0], *documents[3:]]
    plain = hearing(transmission).take(documents)
    assert seen_in(hearing(transmission).take(shuffled).only) == seen_in(plain.only)


# any interleaving of runs, any packing


@st.composite
def _plans(draw):
    """Runs of some kinds and lengths, packed in events or pages, and a seed for their order."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    return [(size, draw(st.booleans()), draw(st.booleans())) for size in sizes], draw(
        st.integers(0, 2**32)
    )


def _interleaved(runs, seed):
    """Merge the runs' documents at random, the order within each kept."""
    rng = random.Random(seed)
    queues = [list(run) for run in runs]
    while any(queues):
        queue = rng.choice([queue for queue in queues if queue])
        yield queue.pop(0)


def _shown(heard):
    return sorted((seen_in(m) for m in heard.finals), key=lambda s: (s[0].uid, s[1], s[2]))


@pytest.mark.parametrize("finish", [{"when": w, "n": 3} for w in ("stop", "event", "events")])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=_plans())
def test_interleaving_and_packing_change_nothing(hearing, compose, finish, plan):
    shapes, seed = plan
    settings = {"disp": 0.5, "off": 500.0}
    kinds = {
        kind: [
            compose(f"run-{k}", frames(size), paged=paged != other, configuration=settings,
                    baseline=[{"p": 1.0 * k}], time=100.0 + k)
            for k, (size, paged, _) in enumerate(shapes)
        ]
        for kind, other in (("one", False), ("other", True))
    }  # fmt: skip
    instrument = whole(finish=finish)
    apart = hearing(instrument).take(itertools.chain.from_iterable(kinds["one"]))
    mixed = hearing(instrument).take(_interleaved(kinds["other"], seed))
    assert _shown(mixed) == _shown(apart)
    assert not apart.gaps and not mixed.gaps and not mixed.discards
    assert not mixed.assembler.open_runs


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.sets(st.integers(0, 11)), seed=st.integers(0, 2**32))
def test_whatever_is_lost_is_told(hearing, compose, scan_points, transmission, lost, seed):
    other = compose("b", scan_points(5), time=5.0)
    documents = compose("a", scan_points(10))[:-1]
    kept = [d for k, d in enumerate(documents) if k not in lost]
    stop = compose("a", scan_points(10))[-1]
    heard = hearing(transmission).take(_interleaved([[*kept, stop], other], seed))
    heard.assembler.close()
    told = {gap.run_uid for gap in heard.gaps}
    ours = [m for m in heard.finals if m.run.uid == "a"]
    assert ("a" in told) == bool(lost)
    assert all(m.complete for m in ours) == (not lost) or not ours
    assert [m.complete for m in heard.finals if m.run.uid == "b"] == [True]
