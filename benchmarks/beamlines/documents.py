"""Runs as documents: pages, other serialisers, runs in turns, and what gets lost on the way."""

import os
import pickle
import time

import numpy as np

from benchmarks.beamlines.beamline import (
    EDGE,
    ENERGIES,
    Beamline,
    interleaved,
    step_scan,
    uid_of,
)
from benchmarks.beamlines.case import Sent, case


@case("missed: in Tiled before the service starts", early=True)
def missed(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES), began=time.time() - 60)
    line.store(docs)
    return [Sent(uid=uid_of(docs))]


@case("event pages of ten points")
def pages(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES), page=10)
    line.publish(docs)
    return [Sent(uid=uid_of(docs))]


@case("20,000 points, as quick scans give")
def many(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(np.linspace(EDGE - 40, EDGE + 70, 20_000)), page=500)
    line.publish(docs)
    return [Sent(uid=uid_of(docs))]


@case("written as JSON, and as msgpack")
def serialisers(line: Beamline) -> list[Sent]:
    sent = []
    for serializer in ("json", "msgpack"):
        docs = step_scan(line.columns(ENERGIES))
        line.publish(docs, serializer=serializer)
        sent.append(Sent(uid=uid_of(docs)))
    return sent


@case("two runs at a time, their documents in turns")
def in_turns(line: Beamline) -> list[Sent]:
    runs = [
        step_scan(line.columns(ENERGIES, pressure), scan_id=n)
        for n, pressure in ((1, 0.0), (2, 60.0))
    ]
    line.publish(interleaved(*runs))
    return [Sent(uid=uid_of(docs)) for docs in runs]


@case("the same run published twice")
def again(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES))
    line.publish([*docs, *docs])
    return [Sent(uid=uid_of(docs))]


@case("one reading in ten lost, the run whole in Tiled")
def gaps(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES), began=time.time() - 5)
    line.publish(doc for k, doc in enumerate(docs) if k % 10 != 5)
    line.store(docs)
    return [Sent(uid=uid_of(docs))]


@case("one reading in ten lost, and nowhere else")
def lost(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES))
    line.publish(doc for k, doc in enumerate(docs) if k % 10 != 5)
    return [Sent(uid=uid_of(docs))]


@case("no stop document")
def endless(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES))
    line.publish(docs[:-1])
    return [Sent(uid=uid_of(docs))]


@case("NaN, infinity and no counts at some points")
def holes(line: Beamline) -> list[Sent]:
    columns = line.columns(ENERGIES)
    columns["ion_chamber_2"][[20, 60]] = np.nan, np.inf
    columns["ion_chamber_1"][40] = 0.0
    docs = step_scan(columns)
    line.publish(docs)
    return [Sent(uid=uid_of(docs))]


@case("energies in keV where eV are declared")
def kilovolts(line: Beamline) -> list[Sent]:
    columns = line.columns(ENERGIES)
    docs = step_scan({**columns, "mono_energy": columns["mono_energy"] / 1000})
    line.publish(docs)
    return [Sent(uid=uid_of(docs), outcome="rejected")]


class _Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@case("a start document that would run a command when it is unpickled")
def hostile(line: Beamline) -> list[Sent]:
    docs = step_scan(line.columns(ENERGIES))
    line.send_frame(b"start " + pickle.dumps({**docs[0][1], "extra": _Command()}))
    line.publish(docs[1:])
    return [Sent(uid=uid_of(docs), outcome="answered")]
