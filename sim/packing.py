"""Pack the lines of builds as a part of a data set that is never changed again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearedge.models.data.dataset import read_dataset, write_dataset
from nearedge.sim.dataset import RESERVED, is_at_edge, lines_of, read_reserved, site_of
from nearedge.sim.prototypes import read_formulas


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What a part came to: its rows, and the lines that are in it not."""

    rows: int
    failed: int
    reserved: int
    known: int


def pack(
    lines: Sequence[Path],
    out: Path,
    *,
    beyond: Sequence[Path] = (),
    reserved: Path | None = None,
    without: Path | None = None,
) -> Packed:
    """Write what builds have calculated so far, but for what earlier parts hold.

    Parameters
    ----------
    lines
        The ``.jsonl`` files of `nearedge.sim.dataset.build`; one may still be growing.
    out
        The Parquet file; one that is there is never overwritten.
    beyond
        Earlier parts.
    reserved, without
        As in `nearedge.sim.dataset.build`.

    Raises
    ------
    ValueError
        If there is nothing new, or ``out`` exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists, and a part never changes: choose another name")
    kept, left_out = read_reserved(reserved), read_formulas(without)
    known = {site.id for site in read_dataset(list(beyond))} if beyond else set()
    records = {one["id"]: one for one in _records(lines)}
    good = [one for one in records.values() if _is_good(one)]
    free = [one for one in good if not _reserved(one, kept, left_out)]
    new = [one for one in free if one["id"] not in known]
    if not new:
        raise ValueError(f"none of {len(records)} lines is new: {out} would be empty")
    write_dataset([site_of(one, split=None, reserved=kept) for one in new], out)
    return Packed(
        rows=len(new),
        failed=len(records) - len(good),
        reserved=len(good) - len(free),
        known=len(free) - len(new),
    )


def _records(lines: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in lines:
        yield from lines_of(path).values()


def _is_good(one: dict[str, Any]) -> bool:
    """Tell whether a line holds a spectrum, and one of its own edge."""
    return "error" not in one and is_at_edge(one["energy"], one["absorber"], one["edge"])


def _reserved(one: dict[str, Any], kept: dict[str, str], left_out: frozenset[str]) -> bool:
    return kept.get(one["family"]) == RESERVED or one.get("formula") in left_out
