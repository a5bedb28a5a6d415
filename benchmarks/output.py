"""How the benchmarks of speed print what they measured."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def show(
    rows: Sequence[Row],
    where: Mapping[str, object],
    *,
    table: Callable[[Sequence[Row]], str],
    as_json: bool,
) -> None:
    """Print the rows, and where they were measured, as JSON or as a table."""
    if as_json:
        print(json.dumps({**where, "rows": rows}, indent=1))
    else:
        print(table(rows), *[f"{name}: {value}" for name, value in where.items()], sep="\n")
