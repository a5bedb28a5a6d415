import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearedge.streaming.answers.plain import dump, plain

LEAVES = st.one_of(
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    st.booleans(),
    st.none(),
    st.binary(max_size=4),
)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_comes_has_a_json_form(value):
    json.loads(dump(value))
    json.loads(json.dumps(plain(value), allow_nan=False))


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (2**53, 2**53),
        (2**70, float(2**70)),
        (10**400, None),
        (float("nan"), None),
        ("\ud800", "?"),
        (np.float32(0.5), 0.5),
        (np.array([[1.0, np.inf]]), [[1.0, None]]),
    ],
)
def test_what_json_lacks_becomes_what_is_nearest(value, form):
    assert plain(value) == form
    assert plain({"a": (value,)}) == {"a": [form]}


def test_one_odd_number_spoils_nothing_beside_it():
    told = json.loads(dump({"scan": 2**70, "energy": np.array([1.0, np.nan])}))
    assert told == {"scan": float(2**70), "energy": [1.0, None]}
