"""The durable list of work: spectra to invert and to write, runs, dark runs and partial spectra.

Each part looks after a table of one SQLite file; what concerns several of them is done here, in
one transaction.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nearedge.streaming.ledger.backlog import Backlog
from nearedge.streaming.ledger.darks import StoredDarks
from nearedge.streaming.ledger.database import Database
from nearedge.streaming.ledger.job import Place, Priority, State
from nearedge.streaming.ledger.owners import this_process
from nearedge.streaming.ledger.partials import Partials
from nearedge.streaming.ledger.queue import Queue
from nearedge.streaming.ledger.runs import Runs


class Ledger:
    """The ledger in one SQLite file; every method is a transaction and may be called by any thread.

    Parameters
    ----------
    path
        The file, made with its folder when missing; ``":memory:"`` for none.
    clock
        Monotonic seconds, for holds. All processes of one machine must share it.
    now
        Seconds since the epoch, for the times that people read.
    owner
        Who holds what this ledger claims; the default names this process.

    Attributes
    ----------
    queue
        Spectra that wait to be inverted and written.
    backlog
        What waits and what has ended, to look at.
    runs, darks, partials
        The other tables.

    Raises
    ------
    nearedge.streaming.ledger.database.LedgerError
        If the file is no ledger, or one of a later version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        owner: str | None = None,
    ) -> None:
        self._database = Database(path, clock=clock, now=now)
        self.queue = Queue(self._database, owner=this_process() if owner is None else owner)
        self.backlog = Backlog(self._database)
        self.runs = Runs(self._database)
        self.darks = StoredDarks(self._database)
        self.partials = Partials(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def submit(
        self,
        key: str,
        place: Place,
        payload: bytes,
        *,
        ended: float | None = None,
        rejected: bool = False,
        priority: Priority = Priority.LIVE,
        hold_s: float | None = None,
    ) -> bool:
        """Queue a spectrum for inversion; return False when the ledger has it already.

        One that is held does not count: it is replaced. So is a rejection by a spectrum: what could
        not be read before can be read now.

        Parameters
        ----------
        key, place, payload
            Name of the result, whose spectrum it is, and all about it.
        ended
            When the measurement ended, seconds since the epoch.
        rejected
            Whether it is queued for writing only.
        priority
            The priority of the inversion.
        hold_s
            Do nothing with it for so long, s, unless `settle` ends that, while its run is asked
            for; None: it need not wait.
        """
        with self._database.transaction():
            new = self.queue.add(
                *(key, place, payload),
                ended=ended,
                rejected=rejected,
                priority=priority,
                held=hold_s is not None,
            )
            if hold_s is not None:
                self.runs.ask(place.run_uid, "its spectra have gaps", wait_s=hold_s)
            self.partials.drop(place)
            return new

    def settle(self, run_uid: str, *, settings: str | None = None) -> None:
        """Note that a run has all that it will get, and go on with what it held.

        Parameters
        ----------
        run_uid
            The uid of the run.
        settings
            Digest of the settings with which all of it was read; None when some was missing.
        """
        with self._database.transaction():
            self.runs.end(run_uid, settings=settings)
            self.queue.release(run_uid)

    def postpone(self, run_uid: str, why: str, *, delay_s: float) -> None:
        """Go on with what a run held, and note that it is to be read again after a delay.

        Parameters
        ----------
        run_uid
            The uid of the run.
        why
            What could not be read.
        delay_s
            Until it is tried again, s; infinite: not before `Runs.retry`.
        """
        with self._database.transaction():
            self.runs.postpone(run_uid, why, delay_s=delay_s)
            self.queue.release(run_uid)

    def align(self, finished: Iterable[tuple[str, State]]) -> tuple[int, int]:
        """Take over what the catalog has: note what is new here, forget what it has no more.

        So a lost ledger is rebuilt, and a result that was deleted is made again when its run is
        read.

        Parameters
        ----------
        finished
            Key and state of every result of the catalog, complete or rejected.

        Returns
        -------
        tuple of int
            How many were noted, and how many forgotten.
        """
        before = self._database.now()
        states = dict(finished)
        with self._database.transaction():
            noted = self.queue.adopt(states.items())
            gone = self.queue.forget_unlisted(states.keys(), before=before)
            self.runs.forget(uid for uid in gone if uid)
            if "" in gone:  # it was learned from the catalog, and nobody knows of which run it is
                self.runs.forget_done()
        return noted, len(gone)

    def is_new(self) -> bool:
        """Return whether nothing was ever noted in it."""
        query = "SELECT 1 FROM runs UNION SELECT 1 FROM spectra LIMIT 1"
        return not self._database.read(query)
