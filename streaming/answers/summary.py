"""One spectrum in a few numbers, as plain data: what lists and trends show."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from nearedge.models import Interval, Inversion, Rejected
from nearedge.streaming.ledger.row import Row

Json: TypeAlias = dict[str, Any]

FIGURES = ("cn", "bond", "angle", "bridge", "misfit", "ood", "model")


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
        **figures(row.inversion),
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
        **_stored_figures(metadata),
    }


def _stored_figures(metadata: Mapping[str, Any]) -> Json:
    found = {name: metadata.get(name) for name in FIGURES}
    if found["cn"] is not None:
        found["cn"] = {name: found["cn"][name] for name in ("mean", "map", "set")}
    return found


def figures(inversion: Inversion | None) -> Json:
    """Return the numbers of an answer; None each where there is no answer."""
    if inversion is None:
        return dict.fromkeys(FIGURES)
    estimates = inversion.estimates
    return {
        "cn": {
            "mean": estimates.cn_mean,
            "map": estimates.cn_map,
            "set": list(estimates.cn_set),
        },
        "bond": interval(estimates.bond),
        "angle": interval(estimates.angle),
        "bridge": interval(estimates.bridge),
        "misfit": inversion.misfit,
        "ood": {"score": inversion.ood_score, "flag": inversion.ood_flag},
        "model": inversion.model,
    }


def interval(value: Interval | None) -> Json | None:
    """Return an interval as plain data."""
    return None if value is None else {"mean": value.mean, "lo": value.lo, "hi": value.hi}


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
