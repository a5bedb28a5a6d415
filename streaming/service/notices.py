"""Answers and heartbeats as event-model documents: each a run of one event, whole in itself.

A subscriber that comes late, or misses some, understands the next one all the same.
"""

from collections.abc import Mapping
from typing import Any

import event_model

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Interval, Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.ledger.row import Row

Documents = list[tuple[str, dict[str, Any]]]

PARTIAL = "partial"
"""Status of the answer to a scan that still runs: never a result, and soon replaced."""
PARTS = ("mean", "lo", "hi")
UNITS = {"bond": "angstrom", "angle": "degree", "bridge": ""}
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
        **_figures(inversion),
    }
    if isinstance(outcome, Rejected):
        about = {**about, "reason": str(outcome.reason), "detail": outcome.detail}
    else:
        about = {**about, "absorber": outcome.absorber, "edge": outcome.edge}
    if inversion is not None:
        about = {**about, "model": inversion.model, "quality": str(inversion.quality)}
    raw = {"uid": run.uid, "scan_id": run.scan_id, "time": run.time}
    return _run_of_one_event("answer", data, units=UNITS, about={"raw": raw, **about})


def _figures(inversion: Inversion | None) -> dict[str, Any]:
    """Return the numbers of an answer; none for a spectrum without one."""
    if inversion is None:
        return {}
    estimates = inversion.estimates
    numbers: dict[str, Any] = {
        "cn_mean": float(estimates.cn_mean),
        "cn_map": int(estimates.cn_map),
        "cn_lo": min(estimates.cn_set),
        "cn_hi": max(estimates.cn_set),
        "ood_score": float(inversion.ood_score),
        "ood_flag": bool(inversion.ood_flag),
    }
    for name in UNITS:
        interval: Interval | None = getattr(estimates, name)
        if interval is not None:
            numbers |= {f"{name}_{part}": float(getattr(interval, part)) for part in PARTS}
    return numbers


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
    unit = units.get(name.partition("_")[0])
    return {**key, "units": unit} if unit else key
