"""Many spectra as fast as the machine takes them, and the memory that the processes hold."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.drill.process import rss_mb
from benchmarks.drill.report import load_text
from benchmarks.drill.runs import one_run, uid_of
from benchmarks.drill.stand import Base, Stand

WAITING = 16  # spectra that are sent ahead
EVERY = 50  # spectra after which the memory is looked at
PATIENCE_S = 120.0
PROCESSES = ("service", "worker")
FLAT = 1.1  # the memory may grow by so much from the start to the end


def measure(base: Base, *, spectra: int, limit_s: float = math.inf) -> dict[str, Any]:
    """Return counts, rate and memory of a soak.

    Parameters
    ----------
    base
        Proxy and server.
    spectra
        How many to send.
    limit_s
        When to send no more, whatever is left.
    """
    stand = Stand(base, "soak")
    try:
        stand.start()
        began = time.monotonic()
        memory = _send(stand, spectra, until=began + limit_s)
        seconds = time.monotonic() - began
        audit = stand.settle(timeout_s=PATIENCE_S)
    finally:
        stand.close()
    return {
        **asdict(audit),
        "good": audit.good and is_flat(memory),
        "seconds": round(seconds, 1),
        "per_s": round(audit.sent / seconds, 2),
        "rss_mb": memory,
        "load": load_text(),
    }


def _send(stand: Stand, spectra: int, *, until: float) -> dict[str, dict[str, float]]:
    """Send, a few ahead of what has ended; return the memory at the start, middle and end."""
    sent, ended, moved = 0, 0, time.monotonic()
    memory = []
    while ended < spectra and time.monotonic() - moved < PATIENCE_S:
        before, ended = ended, stand.ended()
        if ended > before:
            moved = time.monotonic()
        if ended // EVERY > before // EVERY:
            memory.append({"after": ended, **held(stand)})
            print(f"  soak: {memory[-1]}", flush=True)
        if time.monotonic() > until:
            spectra = sent
        while sent < min(spectra, ended + WAITING):
            docs = one_run(sent, whole=True)
            stand.sent.add(uid_of(docs))
            stand.publish(*docs)
            sent += 1
        time.sleep(0.05)
    marks = {"start": 0, "middle": len(memory) // 2, "end": -1} if memory else {}
    return {when: memory[i] for when, i in marks.items()}


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
    return all(memory["end"][name] <= FLAT * memory["start"][name] for name in PROCESSES)


def table(record: Mapping[str, Any]) -> str:
    """Return the Markdown table of a record."""
    memory = [record["rss_mb"][when] for when in ("start", "middle", "end")]
    cells = {name: " | ".join(str(one[name]) for one in memory) for name in ("after", *PROCESSES)}
    lines = [
        f"{record['sent']} spectra in {record['seconds']:.0f} s ({record['per_s']} per second; "
        f"{record['load']}): "
        f"{record['complete']} complete, {record['rejected']} rejected, "
        f"{record['duplicated']} duplicated, {record['half_written']} half-written.",
        "",
        f"| spectra | {cells['after']} |",
        "| --- |" + " ---: |" * len(memory),
        *(f"| resident memory of the {name}, MB | {cells[name]} |" for name in PROCESSES),
    ]
    return "\n".join(lines)
