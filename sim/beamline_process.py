"""The simulated beamline in a process of its own, as a real one is."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from nearedge.streaming.settings.profile import Profile

END_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where the beamline stores its raw runs.

    Attributes
    ----------
    uri, key
        The address and the key of the Tiled server.
    container
        The container of the raw runs.
    backup
        Folder for documents that the server did not take.
    files
        Folder of the camera's HDF5 files.
    """

    uri: str
    key: str | None
    container: str
    backup: Path
    files: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamlineOutcome:
    """How the beamline ended.

    Attributes
    ----------
    uids
        Runs that were measured, darks left out.
    not_stored
        Documents that Tiled did not take.
    error
        Why it ended early, or None.
    """

    uids: tuple[str, ...] = ()
    not_stored: int = 0
    error: str | None = None

    @property
    def good(self) -> bool:
        """Whether it came to its end and every raw document is in Tiled."""
        return self.error is None and self.not_stored == 0


def serve(connection: Connection, profile: Profile, storage: Storage) -> None:
    """Run the beamline to its end and send its outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    # else a server that is gone holds this process for more than a minute
    os.environ |= {"TILED_RETRY_ATTEMPTS": "3", "TILED_RETRY_TIMEOUT": "5"}
    try:
        connection.send(measure(profile, storage))
    except Exception as e:
        logging.getLogger(__name__).exception("the simulated beamline broke")
        connection.send(BeamlineOutcome(error=f"{type(e).__name__}: {e}"))


def measure(profile: Profile, storage: Storage) -> BeamlineOutcome:
    """Run the beamline, its raw documents stored as well as published."""
    from nearedge.sim.beamline import RawStore, run_beamline
    from nearedge.streaming.catalog.connection import connect, raw_container

    container = raw_container(connect(storage.uri, api_key=storage.key), storage.container)
    store = RawStore(container, backup=storage.backup)
    try:
        uids = run_beamline(profile, directory=storage.files, store=store)
    finally:
        store.close()
    return BeamlineOutcome(uids=tuple(uids), not_stored=store.failures)


class BeamlineProcess:
    """A beamline that runs; see `running_beamline`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outcome: BeamlineOutcome | None = None

    def outcome(self, *, wait_s: float) -> BeamlineOutcome | None:
        """Return how it ended, or None while it still runs after the wait."""
        if self._outcome is None and self._connection.poll(wait_s):
            try:
                self._outcome = self._connection.recv()
            except EOFError:
                self._outcome = BeamlineOutcome(error="the beamline's process died")
        return self._outcome


@contextmanager
def running_beamline(profile: Profile, storage: Storage) -> Iterator[BeamlineProcess]:
    """Start the beamline of a profile in a spawned process, and end it when the block is left."""
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(there, profile, storage), daemon=True)
    process.start()
    there.close()  # so that a child that dies ends the wait
    beamline = BeamlineProcess(here)
    try:
        yield beamline
    finally:
        # once it has told its outcome it ends by itself; killed, it would leave things behind
        process.join(END_S if beamline.outcome(wait_s=0) else 0)
        process.kill()
        process.join()
        here.close()
