from hypothesis import given
from hypothesis import strategies as st

from nearedge.callbacks.documents import Descriptor, Event
from nearedge.callbacks.readings import Files, Readings, Seen


@given(st.lists(st.integers(1, 40)), st.integers(0, 40))
def test_seen_is_a_set_of_numbers(numbers, last):
    seen = Seen()
    for one in numbers:
        seen.add(one)
    assert len(seen) == len(set(numbers))
    assert seen.greatest == max(numbers, default=0)
    assert all((k in seen) == (k in set(numbers)) for k in range(1, 41))
    expected = set(range(1, max([last, *numbers]) + 1)) - set(numbers)
    assert set(seen.missing(last)) == expected


def stream(**data_keys):
    readings = Readings("primary", wanted=frozenset({"e"}), roots=())
    keys = {key: {"dtype": "number", "shape": []} for key in ("e", "x")} | data_keys
    readings.describe(Descriptor(uid="d", run_start="a", data_keys=keys))
    return readings


def event(seq, **data):
    return Event(descriptor="d", seq_num=seq, time=float(seq), data=data)


def test_only_what_is_wanted_is_kept():
    readings = stream()
    readings.add(event(1, e=5.0, x=[0.0] * 1000))
    (point,) = readings.points([1], Files())
    assert set(point.values) == {"e"} and point.time == 1.0


def test_readings_are_let_go_and_do_not_come_back():
    readings = stream()
    for seq in (2, 1, 3):
        assert readings.add(event(seq, e=1.0)) is None
    assert readings.waiting() == [1, 2, 3]
    readings.take([1, 3])
    assert readings.waiting() == [2]
    assert readings.add(event(3, e=1.0)) == "duplicate"
    assert readings.waiting() == [2] and list(readings.seen.missing(4)) == [4]


def test_a_full_stream_refuses_and_says_so(monkeypatch):
    monkeypatch.setattr("nearedge.callbacks.readings.MAX_NUMBERS", 3)
    readings = stream()
    assert [readings.add(event(seq, e=1.0)) for seq in (1, 2, 3, 4)] == [
        None,
        None,
        None,
        "too-many-readings",
    ]
    assert readings.truncated
    readings.take([1, 2])
    assert readings.add(event(5, e=1.0)) is None
