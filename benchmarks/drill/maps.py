"""Maps and quick scans while things die: each pixel must be in the one map of its run, once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import event_model
import numpy as np

from benchmarks.drill.audit import Audit
from benchmarks.drill.process import wait_until
from benchmarks.drill.stand import Base, Stand
from nearedge.sim import hostile
from nearedge.sim.hostile import Documents
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.maps import StoredMap

LINES, COLUMNS, POINTS = 48, 48, 60
SWEEPS = 400
LINE_S, SWEEP_S = 0.15, 0.05
SETTLE_S = 240.0
MAP = {"finish": {"when": "pixel"}, "composition": "SiO2"}


def stand_of(base: Base, name: str, **settings: dict[str, Any]) -> Stand:
    """Return a stand whose runs are maps."""
    told = {"instrument": MAP, "catalog": {"maps": f"maps-{name}"}}
    return Stand(base, name, **{**told, **settings})


def map_run(
    *, lines: int = LINES, columns: int = COLUMNS, points: int = POINTS, plain: bool = True
) -> Documents:
    """Return a run of lines of spectra; every tenth pixel shows no edge.

    Its arrays are lists, as a catalog of raw runs wants them, or else numpy's, float32.
    """
    energy = np.linspace(hostile.ONSET - 30.0, hostile.ONSET + 60.0, points)
    rng = np.random.default_rng(0)
    start = {
        **{"plan_name": "scan", "motors": ["y"], "num_points": lines},
        "hints": {"dimensions": [[["y"], "primary"]]},
    }
    run = event_model.compose_run(metadata=start)
    array = {"source": "drill", "dtype": "array"}
    keys = {
        "mono": {**array, "shape": [points]},
        "mu": {**array, "shape": [columns, points]},
        "y": {"source": "drill", "dtype": "number", "shape": []},
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    docs: Documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for line in range(lines):
        height = 1.0 + 0.4 * rng.random(columns)
        mu = np.array([hostile.absorption(energy, white_line=h) for h in height])
        mu[::10] = 1.0
        mu = mu if plain else mu.astype(np.float32)
        data = {"mono": energy, "mu": mu, "y": float(line)}
        docs.append(("event", _event(stream, data, plain=plain)))
    return [*docs, ("stop", run.compose_stop())]


def sweeps_run(sweeps: int = SWEEPS, *, points: int = POINTS) -> Documents:
    """Return a quick scan, to and fro."""
    energy = np.linspace(hostile.ONSET - 30.0, hostile.ONSET + 60.0, points)
    run = event_model.compose_run(metadata={"plan_name": "count"})
    array = {"source": "drill", "dtype": "array", "shape": [points]}
    stream = run.compose_descriptor(name="primary", data_keys={"mono": array, "mu": array})
    docs: Documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for k in range(sweeps):
        mu = hostile.absorption(energy, white_line=1.0 + k / sweeps)
        way = -1 if k % 2 else 1
        docs.append(("event", _event(stream, {"mono": energy[::way], "mu": mu[::way]})))
    return [*docs, ("stop", run.compose_stop())]


def _event(stream: Any, data: dict[str, Any], *, plain: bool = True) -> dict[str, Any]:
    if plain:
        data = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in data.items()}
    event = stream.compose_event(
        data=data, validate=False, timestamps=dict.fromkeys(data, time.time())
    )
    return dict(event)


def paced(stand: Stand, docs: Documents, pace_s: float, *, keep: bool = True) -> Iterator[int]:
    """Publish a run as it is measured, and store it; yield the number of each event."""
    for number, (name, doc) in enumerate(docs):
        if name == "event":
            doc["time"] = time.time()  # measured now
        stand.publish((name, doc))
        if keep:
            stand.keep((name, doc))
        if name == "event":
            time.sleep(pace_s)
            yield number - 1
    stand.stored()


def settled(stand: Stand, docs: Documents, pixels: int) -> Audit:
    """Wait until the map is complete, and count its pixels."""
    uid = str(docs[0][1]["uid"])
    box = results_container(stand.base.client, f"maps-{stand.name}")

    def complete() -> bool:
        return any(one.metadata["status"] == "complete" for one in box.values())

    try:
        wait_until("the map", complete, timeout_s=SETTLE_S, look_s=0.5)
    except TimeoutError as e:
        print(f"  {stand.name}: {e}; the ledger has {stand.states()}", flush=True)
    alive = stand.service is not None and stand.service.alive
    stand.stop()
    maps = [StoredMap(one) for one in box.values() if one.metadata["raw"]["uid"] == uid]
    return Audit(
        sent=pixels,
        complete=sum(one.metadata["answered"] for one in maps),
        rejected=sum(sum(one.metadata["rejected"].values()) for one in maps),
        duplicated=_twice(stand, uid) + pixels * (len(maps) - 1),
        half_written=sum(map(_torn, maps)),
        alive=alive,
        stops=tuple(stand.stops),
    )


def _twice(stand: Stand, uid: str) -> int:
    """Return how many pixels lie in more than one row of the ledger."""
    rows = stand.query(f"SELECT spectrum FROM spectra WHERE run_uid = '{uid}' AND key != part_of")
    ranges = [tuple(map(int, str(name).split("-"))) for (name,) in rows]
    held = [pixel for first, last in ranges for pixel in range(first, last + 1)]
    return len(held) - len(set(held))


def _torn(found: StoredMap) -> int:
    """Return how many answers of a map lack a figure or a spectrum: all, if it is not whole."""
    if found.status != "complete":
        return int(np.prod(found.shape))
    answered = found["reason"] == -1
    whole = np.isfinite(found["cn_mean"]) & np.isfinite(found["bond"])
    whole &= np.isfinite(found["norm"]).any(axis=-1) & np.isfinite(found["mu"]).all(axis=-1)
    return int((answered & ~whole).sum()) + int((found["reason"] < -1).sum())


def kill_worker(stand: Stand) -> bool:
    """Kill the worker, whatever it does."""
    pid = stand.worker()
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def struck_at(
    stand: Stand, docs: Documents, pace_s: float, strikes: dict[int, Callable[[], object]]
) -> int:
    """Publish a run, and strike at some of its events; return how often."""
    count = 0
    for number in paced(stand, docs, pace_s):
        if number in strikes:
            strikes[number]()
            count += 1
    return count


def restart(stand: Stand) -> None:
    """Kill the service, and start it again."""
    stand.kill()
    stand.start()


def restart_tiled(base: Base) -> None:
    """Kill the server, and start it again."""
    base.tiled.kill()
    time.sleep(2.0)
    base.start_tiled()
