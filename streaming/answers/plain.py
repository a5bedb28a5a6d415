"""Values as JSON carries them.

Documents come from anywhere: a number that 64 bits do not hold, or half a character, must not keep
what comes with it from being stored, shown or published.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

_EXACT = 2**53  # whole numbers beyond are clipped on their way through JSON


def plain(value: Any) -> Any:
    """Return what JSON carries of a value: NaN becomes null, an array a list."""
    match value:
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case float():
            return float(value) if math.isfinite(value) else None
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= _EXACT else _rounded(value)
        case str():
            return _text(value)
        case Mapping():
            return {_text(str(k)): plain(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(v) for v in value]
    return _text(repr(value)[:1000])


def dump(data: object) -> bytes:
    """Return JSON; arrays become lists, and what JSON does not know becomes as in `plain`."""
    try:
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # rare, and then slower
        return orjson.dumps(plain(data))


def _rounded(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _text(value: str) -> str:
    """Return a text with each half of a character (a lone surrogate) replaced."""
    return value.encode("utf-8", "replace").decode()
