"""Figures of many spectra side by side: a table for notebooks and CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nearedge.streaming.answers.answer import StoredAnswer
from nearedge.streaming.answers.figures import FIGURES, as_columns, figures_of
from nearedge.streaming.answers.moment import iso
from nearedge.streaming.answers.summary import Json, stored_summary

if TYPE_CHECKING:
    import pandas as pd

#: Columns of figures; one that is a mean has the figure's own name: ``bond``, ``bond_lo`` …
OF_FIGURES = tuple(name.removesuffix("_mean") for one in FIGURES for name in one.columns)
COLUMNS = (
    *("key", "run", "scan", "sample", "stream", "spectrum", "time", "edge", "status", "reason"),
    *OF_FIGURES,
    *("flags", "model", "latency"),
)

#: Those that are numbers, NaN where there is none.
NUMBERS = tuple({*OF_FIGURES, "latency"} - {"cn_map", "cn_set", "ood_flag"})


def record(told: Json) -> dict[str, Any]:
    """Return a summary as one flat record; the scalars measured along follow the columns."""
    figures = {name.removesuffix("_mean"): v for name, v in as_columns(told).items()}
    return {
        **{name: told.get(name) for name in COLUMNS},
        **figures,
        "cn_set": " ".join(map(str, figures["cn_set"] or ())),
        "flags": " ".join(told["flags"]),
        **_as_columns(told["context"]),
    }


def _as_columns(scalars: Json) -> Json:
    """Return scalars by column: one named like a figure must not take its place."""
    return {f"context.{name}" if name in COLUMNS else name: v for name, v in scalars.items()}


def trend(results: Iterable[StoredAnswer]) -> "pd.DataFrame":
    """Return stored answers as a data frame, one row each, the oldest first.

    Parameters
    ----------
    results
        The results, for example ``Results.open(…).search(edge="K")``.

    Returns
    -------
    Data frame with the columns of `COLUMNS` and one for each scalar of the runs' readings,
    baselines and start documents (docs/page.md); ``time`` is UTC (NaT where no calendar has it),
    lengths are Å and angles degrees; ``frame.attrs["units"]`` has the units of the scalars.
    """
    import pandas as pd

    told = [stored_summary(result.key, result.metadata) for result in results]
    records = [record(one) for one in told]
    frame = pd.DataFrame.from_records(records, columns=_columns(records))
    frame = frame.astype(dict.fromkeys(NUMBERS, float)).infer_objects()
    frame.attrs["units"] = {
        k: unit for one in told for k, unit in _as_columns(one["units"]).items()
    }
    frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True, errors="coerce")
    return frame.sort_values("time", kind="stable", ignore_index=True)


def trend_csv(summaries: Iterable[Json]) -> str:
    """Return summaries as CSV.

    The header line has the units, as in ``bond [Å]``; ``time`` is ISO 8601 in UTC.
    """
    told = list(summaries)
    records = [{**record(one), "time": iso(one["time"])} for one in told]
    units = _units(told)
    columns = _columns(records)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=columns, lineterminator="\n")
    writer.writerow(
        {name: f"{name} [{units[name]}]" if name in units else name for name in columns}
    )
    writer.writerows(records)
    return out.getvalue()


def _units(told: Sequence[Json]) -> dict[str, str]:
    """Return the unit of each column that has one, the same in all rows."""
    found = {"latency": "s"}
    for one in figures_of(_only({edge.split(" ")[0] for t in told if (edge := t["edge"])})):
        if one.unit:
            found |= {name.removesuffix("_mean"): one.unit for name in one.columns}
    scalars: dict[str, set[str]] = {}
    for each in told:
        for name in _as_columns(each["context"]):
            scalars.setdefault(name, set())
        for name, unit in _as_columns(each["units"]).items():
            scalars.setdefault(name, set()).add(unit)
    return found | {name: unit for name, units in scalars.items() if (unit := _only(units))}


def _only(members: set[str]) -> str | None:
    """Return the one member, or None where there are none or several."""
    return next(iter(members)) if len(members) == 1 else None


def _columns(records: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys([*COLUMNS, *(name for one in records for name in one)]))
