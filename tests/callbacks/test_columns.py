import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nearedge.callbacks.columns import Point, columns_of, data_keys_of, is_whole, mean_of, number
from nearedge.callbacks.instrument import Roles


def points(*rows):
    return [Point(values={k: number(v) for k, v in row.items()}, time=0.0) for row in rows]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (np.float32(1.5), 1.5),
        (np.int64(7), 7.0),
        (True, 1.0),
        ("2.5", 2.5),
        ([1, 2], [1.0, 2.0]),
        (np.arange(3, dtype="u2"), [0.0, 1.0, 2.0]),
        ([[1], [2]], [[1.0], [2.0]]),
    ],
)
def test_numbers_of_every_kind(value, expected):
    found = number(value)
    assert found.dtype == np.float64 and found.tolist() == expected


@pytest.mark.parametrize("value", [None, "n/a", {}, [], [[1], [2, 3]], object(), 1j, b"x"])
def test_what_is_no_number_is_nan(value):
    assert np.isnan(number(value)).all() and number(value).shape == ()


@given(arrays("f4", 5, elements=st.floats(width=32, allow_nan=False)))
def test_float32_is_the_same_from_text_and_from_memory(values):
    """What orjson writes of a float32 is its shortest decimal, another float64."""
    as_text = [float(str(value)) for value in values]
    assert number(as_text, dtype="<f4").tobytes() == number(values, dtype="<f4").tobytes()
    assert number(values).tobytes() == number(values, dtype="<f4").tobytes()


def test_a_step_scan_has_a_row_for_each_reading():
    roles = Roles(energy="e", i0="i")
    columns, flags = columns_of(points({"e": [1.0], "i": 5}, {"e": [2.0]}, {"i": 7}), roles)
    assert columns["energy"][:2].tolist() == [1.0, 2.0] and np.isnan(columns["energy"][2])
    assert np.isnan(columns["i0"][1]) and not flags


def test_one_energy_for_each_reading_is_no_whole_spectrum():
    roles = Roles(energy="e", spectrum="s")
    assert not is_whole(points({"e": [1.0]}, {"e": 2.0}), roles)
    assert is_whole(points({"s": [1.0, 2.0]}), roles)


def test_whole_sweeps_are_averaged_with_an_element_a_column():
    roles = Roles(energy="e", i0="i", if_=("f",))
    sweep = {"e": [1.0, 2.0, 3.0], "i": [4.0, 5.0, 6.0], "f": [[1.0, 2, 3], [10.0, 20, 30]]}
    columns, _ = columns_of(points(sweep, {**sweep, "i": [6.0, 7.0, 8.0]}), roles)
    assert columns["i0"].tolist() == [5.0, 6.0, 7.0]
    assert columns["if_"].tolist() == [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]


def test_the_frames_of_one_reading_are_averaged():
    columns, _ = columns_of(points({"s": [[1.0, 2.0], [3.0, 4.0]]}), Roles(spectrum="s"))
    assert columns["spectrum"].tolist() == [2.0, 3.0]


def test_the_axis_comes_from_a_key_or_a_number():
    roles = Roles(spectrum="s", dispersion="d", offset=500, low_loss_offset="none")
    columns, _ = columns_of(points({"s": [1.0, 2.0], "d": 0.5}), roles)
    assert columns["dispersion"].tolist() == [0.5] and columns["offset"].tolist() == [500.0]
    assert "low_loss_offset" not in columns


def test_a_sum_that_lacks_an_element_is_not_made():
    roles = Roles(energy="e", if_=("f1", "f2"))
    columns, _ = columns_of(points({"e": 1.0, "f1": 1.0}), roles)
    assert "if_" not in columns


def test_the_keys_of_all_roles():
    roles = Roles(energy="e", if_=("f1", "f2"), dispersion=0.5, offset="o", context=("t",))
    assert data_keys_of(roles) == {"e", "f1", "f2", "o", "t"}


def test_means_pass_over_what_is_no_number():
    assert mean_of(points({"t": 1.0}, {"t": "x"}, {"u": 9}, {"t": 3.0}), "t") == 2.0
    assert mean_of(points({"t": None}), "t") is None
