"""What the benchmarks of speed are told, and how they print what they measured."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def options(doc: str, *, data: Path) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all of them take."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--json", action="store_true")
    return parser


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
