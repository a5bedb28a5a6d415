"""Many spectra as fast as the machine takes them, and the memory that the processes hold."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.drill.process import rss_mb
from benchmarks.drill.runs import one_run, uid_of
from benchmarks.drill.stand import Base, Stand

WAITING = 16  # spectra that are sent ahead
START = 0.05  # share of the spectra after which the memory counts as that of the start
PATIENCE_S = 120.0
FLAT = 1.1  # the memory may grow by so much from the start to the end


def measure(base: Base, *, spectra: int) -> dict[str, Any]:
    """Return counts, rate and memory of a soak."""
    stand = Stand(base, "soak")
    memory: dict[str, dict[str, float]] = {}
    try:
        stand.start()
        began = time.monotonic()
        marks = {"start": int(START * spectra), "middle": spectra // 2, "end": spectra}
        _send(stand, spectra, memory, marks)
        seconds = time.monotonic() - began
        audit = stand.settle(timeout_s=PATIENCE_S)
    finally:
        stand.close()
    return {
        **asdict(audit),
        "good": audit.good and is_flat(memory),
        "seconds": round(seconds, 1),
        "per_s": round(spectra / seconds, 2),
        "rss_mb": memory,
        "load": round(os.getloadavg()[0], 1),
    }


def _send(
    stand: Stand, spectra: int, memory: dict[str, dict[str, float]], marks: dict[str, int]
) -> None:
    sent, ended, moved = 0, 0, time.monotonic()
    while ended < spectra and time.monotonic() - moved < PATIENCE_S:
        before, ended = ended, stand.ended()
        if ended > before:
            moved = time.monotonic()
        for name, mark in marks.items():
            if ended >= mark and name not in memory:
                memory[name] = held(stand)
                print(f"  soak, {ended} of {spectra}: {memory[name]}", flush=True)
        while sent < min(spectra, ended + WAITING):
            docs = one_run(sent, whole=True)
            stand.sent.add(uid_of(docs))
            stand.publish(*docs)
            sent += 1
        time.sleep(0.05)


def held(stand: Stand) -> dict[str, float]:
    """Return the memory of the service and its worker, MB."""
    assert stand.service is not None
    worker = stand.worker()
    return {
        "service": round(rss_mb(stand.service.pid), 1),
        "worker": round(rss_mb(worker), 1) if worker else 0.0,
    }


def is_flat(memory: Mapping[str, Mapping[str, float]]) -> bool:
    """Return whether no process grew by more than a tenth from the start to the end."""
    if not {"start", "end"} <= memory.keys():
        return False
    return all(memory["end"][name] <= FLAT * mb for name, mb in memory["start"].items())


def table(record: Mapping[str, Any]) -> str:
    """Return the Markdown table of a record."""
    lines = [
        f"{record['sent']} spectra in {record['seconds']:.0f} s ({record['per_s']} per second): "
        f"{record['complete']} complete, {record['rejected']} rejected, "
        f"{record['duplicated']} duplicated, {record['half_written']} half-written.",
        "",
        "| resident memory, MB | start | middle | end |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ("service", "worker"):
        values = (record["rss_mb"].get(when, {}).get(name) for when in ("start", "middle", "end"))
        lines.append(f"| {name} | " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)
