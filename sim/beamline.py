"""The simulated beamline: a RunEngine that publishes to a 0MQ proxy and may store raw runs too."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.callbacks.buffer import BufferingWrapper
from bluesky.callbacks.zmq import Publisher
from bluesky.preprocessors import SupplementalData
from bluesky.utils import MsgGenerator
from event_model import sanitize_doc

from nearedge.models.spectrum import Technique
from nearedge.sim.map_beamline import KIND_OF_MODE, map_plan
from nearedge.sim.plans import dark_run, eels_acquire, pressure_ramp, xanes_scan
from nearedge.sim.silica import Specimen
from nearedge.sim.station import Station, build_station
from nearedge.streaming.settings.profile import Profile, SimulatorSettings

logger = logging.getLogger(__name__)

Callback = Callable[[str, dict[str, Any]], None]

PRESSURES = (0.0, 60.0)  # GPa
SETTLE_S = 1.0  # from a publisher's connection until the proxy is sure to hear it
# rows that go to Tiled together: one by one costs more than a scan takes
RAW_BATCH = 100


def serializer(name: str) -> Callable[[Any], bytes]:
    """Return what writes documents as ``msgpack``, ``json`` or ``pickle``."""
    import pickle

    import msgpack
    import msgpack_numpy
    import orjson

    writers: dict[str, Callable[[Any], bytes]] = {
        "msgpack": partial(msgpack.packb, default=msgpack_numpy.encode),
        "json": partial(orjson.dumps, option=orjson.OPT_SERIALIZE_NUMPY),
        "pickle": pickle.dumps,
    }
    return writers[name]


def check_listener(address: str, *, timeout_s: float = 5.0) -> None:
    """Make sure that something listens at host:port: a publisher alone would never notice.

    Raises
    ------
    ConnectionError
        When nothing does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
    except OSError as e:
        raise ConnectionError(
            f"nothing listens at {address}, expected the in side of a 0MQ proxy: start one with "
            f"`bluesky-0MQ-proxy --in-address {address} --out-address HOST:PORT`, or set "
            "simulator.publish"
        ) from e


def connect_publisher(
    settings: SimulatorSettings, *, sleep: Callable[[float], None] = time.sleep
) -> Publisher:
    """Return a stock publisher, connected to the proxy of the profile."""
    check_listener(settings.publish)
    publisher = Publisher(
        settings.publish,
        prefix=settings.prefix.encode(),
        serializer=serializer(settings.serializer),
    )
    sleep(SETTLE_S)  # what is published before the connection stands is lost without an error
    return publisher


class RawStore:
    """Writes raw documents to a Tiled container in a thread of its own.

    The RunEngine never waits for Tiled, and a failure of Tiled never ends a scan: it is logged
    with its run, counted in ``failures``, and the documents go to JSON-lines files instead.

    Parameters
    ----------
    container
        A Tiled container for Bluesky runs.
    backup
        Folder of the JSON-lines files.
    """

    def __init__(self, container: Any, *, backup: Path) -> None:
        from bluesky_tiled_plugins import TiledWriter

        self.failures = 0
        self._lock = threading.Lock()
        self._writer = TiledWriter(
            container, batch_size=RAW_BATCH, max_array_size=0, backup_directory=str(backup)
        )
        self._buffer = BufferingWrapper(self._write)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document and return at once."""
        self._buffer(name, doc)

    def _write(self, name: str, doc: dict[str, Any]) -> None:
        try:
            # numpy values would break the JSON-lines backup and lose what it should save
            self._writer(name, sanitize_doc(doc))
        except Exception:
            with self._lock:
                self.failures += 1
            logger.exception("a %s document of %s was not stored", name, run_of(doc))

    def close(self) -> None:
        """Wait until every document is stored."""
        self._buffer.shutdown(wait=True)


def run_of(doc: dict[str, Any]) -> str:
    """Return the uid by which a document's run can be found, for the log."""
    return str(doc.get("run_start") or doc.get("descriptor") or doc.get("uid"))


def measurement(profile: Profile) -> Callable[[Station], MsgGenerator[str]]:
    """Return the plan that makes one run of the profile's kind."""
    settings = profile.simulator
    if settings.mode.startswith("eels"):
        return partial(eels_acquire, frames=settings.frames)
    return partial(xanes_scan, points=settings.points)


def ramp_plan(profile: Profile, station: Station) -> MsgGenerator[list[str]]:
    """Take a dark, then measure along the pressure ramp; return the uids of the measurements."""
    settings = profile.simulator
    technique = Technique.EELS if settings.mode.startswith("eels") else Technique.XANES
    yield from dark_run(station, technique=technique)
    pressures = np.linspace(*PRESSURES, settings.scans).tolist()
    return (
        yield from pressure_ramp(station, pressures, measurement(profile), pause_s=settings.pause_s)
    )


@contextmanager
def run_engine(callbacks: list[Callback]) -> Iterator[RunEngine]:
    """Yield a RunEngine that hands its documents to the callbacks, and end its loop after.

    It installs no signal handlers: Ctrl-C ends the program instead of pausing the plan.
    """
    RE = RunEngine({}, context_managers=[], call_returns_result=True)
    for callback in callbacks:
        RE.subscribe(callback)  # type: ignore[no-untyped-call]
    try:
        yield RE
    finally:
        RE.loop.call_soon_threadsafe(RE.loop.stop)
        while RE.loop.is_running():
            time.sleep(0.001)
        RE.loop.close()


def run_beamline(
    profile: Profile,
    *,
    specimen: Specimen | None = None,
    directory: Path | None = None,
    store: RawStore | None = None,
    watch: Callback | None = None,
) -> list[str]:
    """Run the simulated beamline to its end and return the uids of its measurements.

    Parameters
    ----------
    specimen
        None: silica at the profile's edge.
    directory
        The folder of the camera's files.
    store
        Where raw documents go, besides the proxy.
    watch
        Called with each document, after it was published.
    """
    with ExitStack() as stack:
        publisher = connect_publisher(profile.simulator)
        stack.callback(publisher.close)
        callbacks = [c for c in (store, publisher, watch) if c is not None]
        RE = stack.enter_context(run_engine(callbacks))
        if profile.simulator.mode in KIND_OF_MODE:
            plan = map_plan(profile, directory)
            measured: list[str] = RE(plan).plan_result  # type: ignore[union-attr]
            time.sleep(SETTLE_S)
            return measured
        station = build_station(profile, specimen=specimen, directory=directory)
        around = SupplementalData(baseline=[station.ring])  # type: ignore[no-untyped-call]
        RE.preprocessors.append(around)
        uids: list[str] = RE(ramp_plan(profile, station)).plan_result  # type: ignore[union-attr]
        time.sleep(SETTLE_S)  # a socket that closes drops what it has not sent
        return uids
