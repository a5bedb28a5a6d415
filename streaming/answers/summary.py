"""One spectrum in a few numbers, as plain data: what lists and trends show."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from nearedge.models import Rejected
from nearedge.streaming.answers.figures import plain_figures, stored_figures
from nearedge.streaming.ledger.row import Row

Json: TypeAlias = dict[str, Any]


def summary(row: Row) -> Json:
    """Return the summary of a row of the service."""
    measurement, outcome = row.measurement, row.outcome
    rejected = outcome if isinstance(outcome, Rejected) else None
    edge = "" if isinstance(outcome, Rejected) else f"{outcome.absorber} {outcome.edge}"
    return {
        "key": row.key,
        "status": str(row.status),
        "run": measurement.run.uid,
        "scan": measurement.run.scan_id,
        "stream": measurement.stream,
        "spectrum": measurement.spectrum,
        "sample": measurement.run.sample,
        "merged": list(measurement.merged_from),
        "time": measurement.time,
        "edge": edge,
        "complete": measurement.complete,
        "reason": rejected and str(rejected.reason),
        "detail": rejected.detail if rejected else row.error,
        "flags": list(row.flags),
        "context": scalars(measurement.context),
        "units": dict(measurement.units),
        "latency": row.latency_s,
        "stages": row.stages,
        **plain_figures(row.inversion),
        "usual_misfit": None if row.inversion is None else row.inversion.usual_misfit,
        "model": None if row.inversion is None else row.inversion.model,
    }


def stored_summary(key: str, metadata: Mapping[str, Any]) -> Json:
    """Return the summary of an entry of the catalog (docs/results.md)."""
    raw, timings = metadata["raw"], metadata.get("timings") or {}
    absorber, edge = metadata.get("absorber"), metadata.get("edge")
    return {
        "key": key,
        "status": metadata["status"],
        "run": raw["uid"],
        "scan": raw["scan_id"],
        "stream": raw["stream"],
        "spectrum": raw["spectrum"],
        "sample": raw.get("sample"),
        "merged": list(metadata.get("merged_from") or ()),
        "time": metadata["measured"],
        "edge": f"{absorber} {edge}" if absorber else "",
        "complete": raw["complete"],
        "reason": metadata.get("reason"),
        "detail": metadata.get("detail"),
        "flags": list(metadata["flags"]),
        "context": scalars(metadata["context"]),
        "units": dict(metadata.get("units", {})),
        "latency": sum(timings.values()) if timings else None,
        "stages": dict(timings),
        **stored_figures(metadata),
        "usual_misfit": metadata.get("usual_misfit"),
        "model": metadata.get("model"),
    }


def scalars(context: Mapping[str, Any]) -> Json:
    """Return the numbers and short texts of a mapping: what a trend can be drawn against."""
    found: Json = {}
    for name, value in context.items():
        item = value.item() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(item, bool | int) or (isinstance(item, float) and math.isfinite(item)):
            found[name] = item
        elif isinstance(item, str):
            found[name] = item[:80]
    return found
