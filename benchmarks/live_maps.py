"""How fast maps are answered live: a service and a Tiled server of their own, documents by 0MQ.

    python -m benchmarks.live_maps image --size 64 --channels 512
    python -m benchmarks.live_maps image --size 256 --channels 512
    python -m benchmarks.live_maps quick --seconds 120
    python -m benchmarks.live_maps image --size 64 --devices cpu,cpu
    sudo python -m benchmarks.live_maps quick --seconds 600 --nice -5

Prints JSON: how late events were sent and at which rate, seconds from the last frame until the map
is complete and until all of its pixels are there, the lag of blocks from the measurement of their
last pixel to the catalog and where in between it was spent, and the peak memory of service and
worker. A pixel is measured when its time is due: one that is sent late lags from then on.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.drill import maps
from benchmarks.drill.process import lower_priority, peak_mb, wait_until
from benchmarks.drill.report import load_text
from benchmarks.drill.stand import Base, Stand
from nearedge.sim.hostile import Documents
from nearedge.streaming.catalog.connection import results_container

LIMIT_S = 900.0


def options_of() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("kind", choices=("image", "quick"))
    parser.add_argument("--size", type=int, default=64, help="lines, and pixels of a line")
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the quick scan")
    parser.add_argument("--rate", type=float, default=20.0, help="sweeps a second")
    parser.add_argument("--line-s", type=float, default=0.05, help="time of a line")
    parser.add_argument(
        "--nice", type=int, default=0, help="below 0: comes before what else the machine does"
    )
    parser.add_argument("--devices", default="cpu", help="cpu,cpu for two workers")
    return parser.parse_args()


def main() -> int:
    asked = options_of()
    with tempfile.TemporaryDirectory(prefix="nearedge-live-maps-") as folder:
        base = Base(Path(folder))
        try:
            found = measured(base, asked)
        finally:
            base.close()
    print(json.dumps(found, indent=1))
    return 0 if found["lost"] == 0 else 1


def run_of(asked: argparse.Namespace) -> tuple[Documents, int, float]:
    """Return the documents, how many pixels they hold, and the seconds of an event."""
    if asked.kind == "quick":
        sweeps = int(asked.seconds * asked.rate)
        return maps.sweeps_run(sweeps, points=asked.channels), sweeps, 1 / asked.rate
    docs = maps.map_run(lines=asked.size, columns=asked.size, points=asked.channels, plain=False)
    return docs, asked.size**2, asked.line_s


def measured(base: Base, asked: argparse.Namespace) -> dict[str, object]:
    """Send one map and return what it took."""
    docs, pixels, pace_s = run_of(asked)
    stand = maps.stand_of(base, "speed", worker={"device": asked.devices, "samples": 8})
    try:
        stand.start(nice=asked.nice)
        if asked.nice:
            for process in (base.tiled, base.proxy):
                lower_priority(process.pid, asked.nice)
            lower_priority(os.getpid(), asked.nice)
        _await_worker(stand)
        sent = _sent(stand, docs, pace_s)
        box = results_container(base.client, f"maps-{stand.name}")

        def complete() -> bool:
            return any(one.metadata["status"] == "complete" for one in box.values())

        wait_until("the map", complete, timeout_s=LIMIT_S, look_s=0.5)
        took = time.time() - sent.last
        (entry,) = box.values()
        metadata = entry.metadata
        times = _times(stand, str(docs[0][1]["uid"]))
        service = stand.service
        return {
            **vars(asked),
            "pixels": pixels,
            "lost": pixels - metadata["answered"] - sum(metadata["rejected"].values()),
            "sent_a_second": round(sent.events / sent.seconds, 2),
            "sent_late_largest_s": round(sent.late_s, 2),
            "pixels_there_after_s": round(float(times[:, -1].max()) - sent.last, 1),
            "complete_after_s": round(took, 1),
            **_lags(times),
            "blocks": len(times),
            "service_mb": None if service is None else round(peak_mb(service.pid)),
            "worker_mb": round(peak_mb(worker)) if (worker := stand.worker()) else None,
            "load": load_text(),
            "cores": os.cpu_count(),
        }
    finally:
        stand.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a run was sent.

    Attributes
    ----------
    events
        How many.
    seconds
        From the first to the end of the last.
    last
        When that was, seconds since the epoch.
    late_s
        By how much an event was later than due, at most.
    """

    events: int
    seconds: float
    last: float
    late_s: float


def _sent(stand: Stand, docs: Documents, pace_s: float) -> Sent:
    """Publish a run, each event when it is due; what holds one up does not shift those after it."""
    began, events, late_s = time.time(), 0, 0.0
    for name, doc in docs:
        if name == "event":
            due = began + events * pace_s
            time.sleep(max(0.0, due - time.time()))
            late_s = max(late_s, time.time() - due)
            doc["time"] = due
            events += 1
        elif name == "stop":
            time.sleep(max(0.0, began + events * pace_s - time.time()))
        stand.publish((name, doc))
    return Sent(events=events, seconds=time.time() - began, last=time.time(), late_s=late_s)


STAGES = ("ended", "queued", "started", "inverted", "finished")
"""Times of a row of the ledger, in their order."""
SPENT = ("intake", "queue", "worker", "catalog")
"""What lies between two of them."""


def _times(stand: Stand, run_uid: str) -> NDArray[np.float64]:
    """Return the times of each block of a run (blocks, stages), seconds since the epoch."""
    rows = stand.query(
        f"SELECT {', '.join(STAGES)} FROM spectra "
        f"WHERE run_uid = '{run_uid}' AND key != part_of AND finished > 0 ORDER BY ended"
    )
    return np.array(rows, float)


def _lags(times: NDArray[np.float64]) -> dict[str, object]:
    """Return how late blocks came, and the seconds that each step took."""
    lags, steps = times[:, -1] - times[:, 0], np.diff(times, axis=1)
    return {
        "lag_median_s": round(float(np.median(lags)), 2),
        "lag_95_percent_s": round(float(np.quantile(lags, 0.95)), 2),
        "lag_largest_s": round(float(lags.max()), 2),
        "below_2_s": round(float((lags < 2).mean()), 3),
        "step_median_s": _by_step(np.median(steps, axis=0)),
        "step_largest_s": _by_step(steps.max(axis=0)),
    }


def _by_step(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(s), 2) for name, s in zip(SPENT, seconds, strict=True)}


def _await_worker(stand: Stand) -> None:
    """Have a small map answered first, so that the model is loaded."""
    docs = maps.sweeps_run(3)
    for _ in maps.paced(stand, docs, 0.0, keep=False):
        pass
    box = results_container(stand.base.client, f"maps-{stand.name}")

    def complete() -> bool:
        return any(one.metadata["status"] == "complete" for one in box.values())

    wait_until("the first map", complete, timeout_s=LIMIT_S, look_s=0.5)
    for key in list(box):
        box.delete_contents([key], recursive=True, external_only=False)


if __name__ == "__main__":
    sys.exit(main())
