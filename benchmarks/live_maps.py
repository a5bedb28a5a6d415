"""How fast maps are answered live: a service and a Tiled server of their own, documents by 0MQ.

    python -m benchmarks.live_maps image --size 64 --channels 512
    python -m benchmarks.live_maps image --size 256 --channels 512
    python -m benchmarks.live_maps quick --seconds 120
    python -m benchmarks.live_maps image --size 64 --devices cpu,cpu

Prints JSON: seconds from the last frame until the map is complete and until all of its pixels are
there, the lag of blocks from the measurement of their last pixel to the catalog, and the peak
memory of service and worker.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.drill import maps
from benchmarks.drill.process import peak_mb, wait_until
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
        stand.start()
        _await_worker(stand)
        began = time.monotonic()
        for _ in maps.paced(stand, docs, pace_s, keep=False):
            pass
        last = time.time()
        sent_s = time.monotonic() - began
        box = results_container(base.client, f"maps-{stand.name}")

        def complete() -> bool:
            return any(one.metadata["status"] == "complete" for one in box.values())

        wait_until("the map", complete, timeout_s=LIMIT_S)
        took = time.time() - last
        (entry,) = box.values()
        metadata = entry.metadata
        rows = stand.query(
            "SELECT finished - ended, finished FROM spectra WHERE key != part_of AND finished > 0"
        )
        lags = np.array([lag for lag, _ in rows], float)
        service = stand.service
        return {
            **vars(asked),
            "pixels": pixels,
            "lost": pixels - metadata["answered"] - sum(metadata["rejected"].values()),
            "sent_s": round(sent_s, 1),
            "pixels_there_after_s": round(max(float(f) for _, f in rows) - last, 1),
            "complete_after_s": round(took, 1),
            "lag_median_s": round(float(np.median(lags)), 2),
            "lag_largest_s": round(float(lags.max()), 2),
            "blocks": len(rows),
            "service_mb": None if service is None else round(peak_mb(service.pid)),
            "worker_mb": round(peak_mb(worker)) if (worker := stand.worker()) else None,
            "load": load_text(),
            "cores": os.cpu_count(),
        }
    finally:
        stand.close()


def _await_worker(stand: Stand) -> None:
    """Have a small map answered first, so that the model is loaded."""
    docs = maps.sweeps_run(3)
    for _ in maps.paced(stand, docs, 0.0, keep=False):
        pass
    box = results_container(stand.base.client, f"maps-{stand.name}")

    def complete() -> bool:
        return any(one.metadata["status"] == "complete" for one in box.values())

    wait_until("the first map", complete, timeout_s=LIMIT_S)
    for key in list(box):
        box.delete_contents([key], recursive=True, external_only=False)


if __name__ == "__main__":
    sys.exit(main())
