"""Start documents in JSON's own types, the same from every source."""

import json
from collections.abc import Mapping
from typing import Any

import event_model
import numpy as np


def plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a start document in JSON's own types, the same from every source.

    The catalog keeps Tiled's own entries to itself, so they are left out everywhere.
    """
    kept = {key: value for key, value in raw.items() if not str(key).startswith("tiled_")}
    text = json.dumps(kept, cls=_Plain, skipkeys=True, ensure_ascii=False)
    # half a character (a lone surrogate) could not be stored, nor any name that holds one
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    found: dict[str, Any] = json.loads(whole)
    return found


def scan_id_of(found: Any) -> int | None:
    """Return a number of scans that 64 bits hold; no scan counts further."""
    return found if isinstance(found, int) and abs(found) < 2**63 else None


class _Plain(event_model.NumpyEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, np.longdouble):  # NumPy makes one of one
            return float(o)
        if isinstance(o, np.complexfloating):
            return str(o)
        try:
            return super().default(o)
        except TypeError:
            return str(o)
