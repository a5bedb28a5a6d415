"""Pixels are written as few rectangles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearedge.streaming.catalog.boxes import boxes, chunks_of


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    share=st.floats(0.05, 1.0),
)
def test_boxes_hold_each_pixel_once(shape, seed, share):
    rng = np.random.default_rng(seed)
    total = int(np.prod(shape))
    places = rng.permutation(total)[: max(1, int(share * total))]
    out = np.full(shape, -1)
    for box in boxes(places, shape):
        here = tuple(slice(o, o + s) for o, s in zip(box.offset, box.size, strict=True))
        assert (out[here] == -1).all()
        out[here] = box.rows.reshape(box.size)
    known = np.flatnonzero(out.ravel() >= 0)
    assert sorted(known) == sorted(places)
    assert (places[out.ravel()[known]] == known).all()


def test_neighbours_make_few_boxes():
    found = list(boxes(np.arange(3, 27), (10, 5)))
    assert [(box.offset, box.size) for box in found] == [
        ((0, 3), (1, 2)),
        ((1, 0), (4, 5)),
        ((5, 0), (1, 2)),
    ]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((64, 64), (64, 64)),
        ((256, 256), (16, 256)),
        ((10, 256, 256), (1, 16, 256)),
        ((9000,), (3000,)),
    ],
)
def test_chunks_divide_the_map(shape, wanted):
    assert chunks_of(shape) == wanted
