"""A beamline of stock parts: a RunEngine, classic ophyd devices, Bluesky's publisher, Tiled."""

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import event_model
import msgpack
import msgpack_numpy
import numpy as np
from bluesky import RunEngine
from bluesky.callbacks.zmq import Publisher
from bluesky_tiled_plugins import TiledWriter
from event_model import sanitize_doc
from ophyd.sim import SynAxis, SynSignal

from nearedge.sim.plans import scan_energies
from nearedge.sim.silica import silica

Document = tuple[str, dict[str, Any]]

PACE_S = 0.0005  # between documents: a burst of more than 1000 would be cut by 0MQ itself
COUNTS, DARK_COUNTS = 1e6, 100.0
SPECIMEN = silica("Si")
EDGE = SPECIMEN.edge_energy
ENERGIES = scan_energies(EDGE, points=80)
_GRID = np.linspace(EDGE - 60, EDGE + 120, 1801)
_MU = {p: SPECIMEN.mu(_GRID, pressure=p, fwhm=0.4) for p in (0.0, 60.0)}


def mu(energy: Any, pressure: float = 0.0) -> Any:
    """Return the absorption of silica, at 0 or 60 GPa, in edge steps."""
    return np.interp(energy, _GRID, _MU[pressure])


class Beamline:
    """Devices, a RunEngine that publishes and stores, and ways to publish by hand.

    Parameters
    ----------
    address, prefix
        The in side of the proxy, and the prefix of this beamline's messages.
    raw
        Tiled container of raw runs.
    folder
        Where its detectors write files.
    """

    def __init__(self, address: str, *, prefix: str, raw: Any, folder: Path) -> None:
        self.rng = np.random.default_rng(3)
        self.folder, self._raw = folder, raw
        self._address, self._prefix = address, prefix.encode()
        self.publisher: Any = Publisher(address, prefix=self._prefix)
        self.RE = RunEngine({}, context_managers=[])
        self.RE.subscribe(self.publisher)
        self.pressure, self.shutter_open = 0.0, True
        self.mono = SynAxis(name="mono_energy")
        self.x = SynAxis(name="sample_x")
        self.temperature = SynAxis(name="temperature")
        self.i0 = SynSignal(func=lambda: self._counts(1.0), name="ion_chamber_1")
        self.it = SynSignal(func=self._it, name="ion_chamber_2")
        self.detectors = [self.i0, self.it]

    def _counts(self, share: Any) -> float:
        return float(self.rng.poisson(COUNTS * share if self.shutter_open else DARK_COUNTS))

    def _it(self) -> float:
        pressure = 60.0 if self.x.position > 0.5 else self.pressure
        return self._counts(np.exp(-0.4 - mu(self.mono.position, pressure)))

    def columns(self, energies: Any, pressure: float = 0.0) -> dict[str, Any]:
        """Return what the three devices read along a scan, (n,) each."""
        it = COUNTS * np.exp(-0.4 - mu(energies, pressure))
        return {
            "mono_energy": np.asarray(energies, float),
            "ion_chamber_1": self.rng.poisson(COUNTS, len(energies)).astype(float),
            "ion_chamber_2": self.rng.poisson(it).astype(float),
        }

    # -- sending ------------------------------------------------------------------------------

    def run(self, plan: Iterable[Any], *, store: bool = False, **metadata: Any) -> list[str]:
        """Run a plan; return the uids of its runs."""
        uids: list[str] = []
        tokens = [self.RE.subscribe(lambda name, doc: uids.append(doc["uid"]), "start")]
        if store:
            tokens.append(self.RE.subscribe(TiledWriter(self._raw, batch_size=1000)))
        try:
            self.RE(plan, **metadata)
        finally:
            for token in tokens:
                self.RE.unsubscribe(token)
        return uids

    def publish(self, documents: Iterable[Document], *, serializer: str = "pickle") -> None:
        """Publish documents as they are."""
        publisher = self._publisher(serializer)
        for name, doc in documents:
            publisher(name, doc)
            time.sleep(PACE_S)
        if publisher is not self.publisher:
            time.sleep(0.5)  # what was sent last must have left
            publisher.close()

    def send_frame(self, frame: bytes) -> None:
        """Publish bytes after the prefix, which no publisher would send."""
        self.publisher._socket.send(self._prefix + b" " + frame)  # noqa: SLF001 - no other way
        time.sleep(PACE_S)

    def store(self, documents: Iterable[Document]) -> None:
        """Write documents to the catalog of raw runs."""
        write = TiledWriter(self._raw, batch_size=1000)
        for name, doc in documents:
            write(name, sanitize_doc(doc))

    def _publisher(self, serializer: str) -> Any:
        writers: dict[str, Callable[[Any], bytes]] = {
            "json": lambda doc: json.dumps(sanitize_doc(doc)).encode(),
            "msgpack": lambda doc: msgpack.packb(doc, default=msgpack_numpy.encode),
        }
        if serializer == "pickle":
            return self.publisher
        publisher = Publisher(self._address, prefix=self._prefix, serializer=writers[serializer])
        time.sleep(1.0)  # it cannot tell when it is connected
        return publisher


def step_scan(
    columns: dict[str, Any], *, page: int = 1, began: float | None = None, **metadata: Any
) -> list[Document]:
    """Return the documents of a step scan, ``page`` points in each, without a RunEngine."""
    run = event_model.compose_run(metadata={"scan_id": 1, "plan_name": "list_scan", **metadata})
    start = dict(run.start_doc)
    start["time"] = time.time() if began is None else began
    keys = {k: {"source": "trial", "dtype": "number", "shape": []} for k in columns}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    n = len(next(iter(columns.values())))
    docs: list[Document] = [("start", start), ("descriptor", dict(stream.descriptor_doc))]
    docs += [
        paged(stream.descriptor_doc["uid"], columns, range(a, min(a + page, n)), start["time"])
        for a in range(0, n, page)
    ]
    return [*docs, stop_of(start, n)]


def paged(descriptor: str, columns: dict[str, Any], rows: range, began: float) -> Document:
    """Return some points as an event page, or one as an event."""
    at = [began + 1e-3 * row for row in rows]
    seqs = [row + 1 for row in rows]
    if len(rows) == 1:
        data = {k: float(v[rows[0]]) for k, v in columns.items()}
        times = dict.fromkeys(data, at[0])
        return "event", {
            **{"uid": str(uuid.uuid4()), "descriptor": descriptor, "seq_num": seqs[0]},
            **{"time": at[0], "data": data, "timestamps": times, "filled": {}},
        }
    data = {k: v[rows.start : rows.stop].tolist() for k, v in columns.items()}
    return "event_page", {
        **{"uid": [str(uuid.uuid4()) for _ in rows], "descriptor": descriptor, "seq_num": seqs},
        **{"time": at, "data": data, "timestamps": dict.fromkeys(data, at), "filled": {}},
    }


def stop_of(start: dict[str, Any], events: int, *, status: str = "success") -> Document:
    """Return the stop document of a run with so many readings."""
    return "stop", {
        **{"uid": str(uuid.uuid4()), "run_start": start["uid"], "exit_status": status},
        **{"time": start["time"] + 1.0, "num_events": {"primary": events}},
    }


def uid_of(documents: Sequence[Document]) -> str:
    """Return the uid of a run."""
    return str(documents[0][1]["uid"])


def interleaved(*runs: Sequence[Document]) -> Iterator[Document]:
    """Yield the documents of several runs in turns."""
    for turn in itertools.zip_longest(*runs):
        yield from (document for document in turn if document is not None)
