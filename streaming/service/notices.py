"""Answers and heartbeats as event-model documents: each a run of one event, whole in itself.

A subscriber that comes late, or misses some, understands the next one all the same.
"""

from collections.abc import Mapping
from typing import Any

import event_model
import numpy as np

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.answers.figures import CN, as_columns, figures_of, plain_figures
from nearedge.streaming.ledger.map_row import MapRow
from nearedge.streaming.ledger.row import Row

Documents = list[tuple[str, dict[str, Any]]]

PARTIAL = "partial"
"""Status of the answer to a scan that still runs: never a result, and soon replaced."""
LEFT_OUT = "left-out"
"""Status of a run that scanned no energy, or has none of the streams: it has no spectrum."""
TYPES = {str: "string", bool: "boolean", int: "integer"}


def row_notice(row: Row) -> Documents:
    """Return the documents of a spectrum that has come to an end."""
    return _answer(
        row.measurement,
        row.outcome,
        row.inversion,
        status=str(row.status),
        about={"key": row.key, "flags": list(row.flags), "error": row.error},
    )


def partial_notice(
    measurement: Measurement, outcome: NormalisedSpectrum, inversion: Inversion
) -> Documents:
    """Return the documents of the answer to a spectrum that still grows."""
    flags = (*measurement.flags, *outcome.flags, *inversion.flags)
    about = {"key": None, "flags": list(dict.fromkeys(flags)), "error": None}
    return _answer(measurement, outcome, inversion, status=PARTIAL, about=about)


def left_out_notice(run_uid: str, reason: str) -> Documents:
    """Return the documents that tell of a run without a spectrum."""
    about: dict[str, Any] = {"key": None, "flags": [], "error": None, "reason": reason}
    return _run_of_one_event(
        "answer",
        {"raw_uid": run_uid, "status": LEFT_OUT},
        units={},
        about={**about, "raw": {"uid": run_uid}},
    )


def map_notice(row: MapRow) -> Documents:
    """Return the documents that tell how far a map is."""
    run = row.run
    data: dict[str, Any] = {
        "raw_uid": run.uid,
        "stream": row.stream,
        "spectrum": "map",
        "status": str(row.status),
        "pixels": row.pixels,
        "answered": row.answered,
        "rejected": row.rejected,
    }
    about: dict[str, Any] = {
        "key": row.key,
        "flags": list(row.flags),
        "error": None,
        "shape": list(row.shape),
        "edge": row.edge,
        "raw": {"uid": run.uid, "scan_id": run.scan_id, "time": run.time},
    }
    return _run_of_one_event("answer", data, units={}, about=about)


def heartbeat(data: Mapping[str, str | bool | float]) -> Documents:
    """Return the documents that tell how the service is."""
    return _run_of_one_event("heartbeat", data, units={}, about={})


def _answer(
    measurement: Measurement,
    outcome: NormalisedSpectrum | Rejected,
    inversion: Inversion | None,
    *,
    status: str,
    about: Mapping[str, Any],
) -> Documents:
    run = measurement.run
    data: dict[str, Any] = {
        "raw_uid": run.uid,
        "stream": measurement.stream,
        "spectrum": measurement.spectrum,
        "status": status,
    }
    units: dict[str, str] = {}
    if isinstance(outcome, Rejected):
        about = {**about, "reason": str(outcome.reason), "detail": outcome.detail}
    else:
        about = {**about, "absorber": outcome.absorber, "edge": outcome.edge}
    if inversion is not None:
        about = {**about, "model": inversion.model, "quality": str(inversion.quality)}
        figures = figures_of(inversion.absorber)
        units = {column: one.unit_word for one in figures for column in one.columns}
        data |= _numbers(inversion)
    raw = {"uid": run.uid, "scan_id": run.scan_id, "time": run.time}
    return _run_of_one_event("answer", data, units=units, about={"raw": raw, **about})


def _numbers(inversion: Inversion) -> dict[str, bool | int | float]:
    """Return the figures as single numbers, the set by its ends; what is undefined is left out."""
    numbers = as_columns(plain_figures(inversion))
    members = numbers.pop(f"{CN.name}_set")
    numbers |= {f"{CN.name}_lo": min(members), f"{CN.name}_hi": max(members)}
    return {k: np.asarray(value).item() for k, value in numbers.items() if value is not None}


def _run_of_one_event(
    stream: str, data: Mapping[str, Any], *, units: Mapping[str, str], about: Mapping[str, Any]
) -> Documents:
    run = event_model.compose_run(metadata={"source": "nearedge", "purpose": stream, **about})
    descriptor = run.compose_descriptor(
        name=stream, data_keys={name: _key(name, value, units) for name, value in data.items()}
    )
    time = run.start_doc["time"]
    event = descriptor.compose_event(data=dict(data), timestamps=dict.fromkeys(data, time))
    return [
        ("start", dict(run.start_doc)),
        ("descriptor", dict(descriptor.descriptor_doc)),
        ("event", dict(event)),
        ("stop", dict(run.compose_stop())),
    ]


def _key(name: str, value: Any, units: Mapping[str, str]) -> dict[str, Any]:
    key = {"source": "nearedge", "dtype": TYPES.get(type(value), "number"), "shape": []}
    unit = units.get(name)
    return {**key, "units": unit} if unit else key
