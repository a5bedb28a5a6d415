"""Fly scans: arrays in events, and energies in a stream of their own."""

from typing import Any

import event_model
import numpy as np

from benchmarks.beamlines.beamline import ENERGIES, Beamline, Document, uid_of
from benchmarks.beamlines.case import Sent, case

SWEEPS = 3
COUNTERS = ("ion_chamber_1", "ion_chamber_2")


def array(name: str) -> dict[str, Any]:
    """Return the data key of an array along the scan."""
    return {"source": name, "dtype": "array", "shape": [len(ENERGIES)]}


def composed(line: Beamline, pressures: list[float], *, own: bool) -> list[Document]:
    """Return sweeps, an event each, with energies of their own or in a stream before them."""
    run = event_model.compose_run(metadata={"plan_name": "fly", "scan_id": 1})
    docs: list[Document] = [("start", dict(run.start_doc))]

    def emit(stream: Any, data: dict[str, Any]) -> None:
        times = dict.fromkeys(data, run.start_doc["time"])
        docs.append(("event", dict(stream.compose_event(data=data, timestamps=times))))

    if not own:
        bins = run.compose_descriptor(name="energies", data_keys={"mono_energy": array("mono")})
        docs.append(("descriptor", dict(bins.descriptor_doc)))
        emit(bins, {"mono_energy": ENERGIES})
    names = (*COUNTERS, "mono_energy") if own else COUNTERS
    sweeps = run.compose_descriptor(name="primary", data_keys={k: array(k) for k in names})
    docs.append(("descriptor", dict(sweeps.descriptor_doc)))
    for pressure in pressures:
        columns = line.columns(ENERGIES, pressure)
        emit(sweeps, {k: np.asarray(columns[k]) for k in names})
    return [*docs, ("stop", dict(run.compose_stop()))]


@case("energies in another stream, once for three sweeps", profile="fly")
def other_stream(line: Beamline) -> list[Sent]:
    docs = composed(line, [0.0] * SWEEPS, own=False)
    line.publish(docs)
    return [Sent(uid=uid_of(docs), spectra=SWEEPS)]


@case("an array of energies in each event", profile="fly")
def in_events(line: Beamline) -> list[Sent]:
    docs = composed(line, [0.0] * SWEEPS, own=True)
    line.publish(docs)
    return [Sent(uid=uid_of(docs), spectra=SWEEPS)]


@case("sweeps over a sample that changes", profile="fly")
def changing(line: Beamline) -> list[Sent]:
    docs = composed(line, [0.0, 60.0], own=False)
    line.publish(docs)
    return [Sent(uid=uid_of(docs), spectra=2)]
