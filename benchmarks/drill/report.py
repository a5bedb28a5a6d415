"""The table of all drills, in Markdown."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = (
    "| fault | sent | complete | rejected | duplicated | half-written | what shows the fault | s |",
    "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
)
BEGIN, END = "<!-- {name}: begin -->", "<!-- {name}: end -->"


def table(endings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of drills, by name, as they were recorded."""
    return "\n".join([*HEAD, *map(_line, endings.values())])


def _line(ending: Mapping[str, Any]) -> str:
    counts = (ending[k] for k in ("sent", "complete", "rejected", "duplicated", "half_written"))
    title = ending["title"] if ending["good"] else f"**{ending['title']}: not passed**"
    numbers = " | ".join(map(str, counts))
    return f"| {title} | {numbers} | {ending['struck']} | {ending['seconds']:.0f} |"


def insert(page: Path, name: str, text: str) -> None:
    """Replace what stands between two marks of a page.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, found, rest = page.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"found no {begin} … {end} in {page}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def load_text() -> str:
    """Return how much the machine has to do, for the record of a measurement."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end"


def load(path: Path) -> dict[str, Any]:
    """Return what earlier drills recorded."""
    return json.loads(path.read_text()) if path.exists() else {}
