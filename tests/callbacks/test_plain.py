import datetime

import numpy as np
import pytest

from nearedge.callbacks.plain import plain


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (np.longdouble(1.5), 1.5),
        (np.ones(2, np.longdouble), [1.0, 1.0]),
        (np.clongdouble(1 + 2j), "(1+2j)"),
        (np.float32(0.5), 0.5),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ((1, "a"), [1, "a"]),
        (b"a", "b'a'"),
    ],
)
def test_a_start_document_becomes_json_s_own_types(value: object, read: object) -> None:
    assert plain({"uid": "a", "tiled_x": 1, "value": value}) == {"uid": "a", "value": read}
