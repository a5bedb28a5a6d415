"""The durable list of work: spectra to invert and to write, runs, dark runs and partial spectra.

Each part looks after a table of one SQLite file; what concerns several of them is done here, in
one transaction.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
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

    def submit_block(
        self,
        part_of: str,
        place: Place,
        pixels: tuple[int, int],
        pack: Callable[[int, int], tuple[str, bytes]],
        *,
        ended: float | None = None,
        refused: bool = False,
        priority: Priority = Priority.LIVE,
    ) -> list[tuple[str, bool]]:
        """Queue those pixels of a block that the ledger does not have, in one row or several.

        A run that is read again is cut in other places: what was queued before is left out. Pixels
        that could not be read before are taken anew.

        Parameters
        ----------
        part_of
            The key of the map.
        place
            Whose pixels they are; ``spectrum`` is replaced.
        pixels
            The numbers of the first and the last.
        pack
            Returns key and payload for the first and last pixel of a part.
        ended
            When the last was measured, seconds since the epoch.
        refused
            Whether they could not be read, so that they are queued for writing only.
        priority
            As in `submit`.

        Returns
        -------
        list of tuple
            The key of each part, and whether it was new.
        """
        with self._database.transaction():
            known = [
                _range(name)
                for name, outcome in self.queue.blocks(part_of)
                if refused or outcome is not State.REJECTED
            ]
            found = []
            for first, last in uncovered(pixels, known):
                key, payload = pack(first, last)
                new = self.queue.add(
                    *(key, replace(place, spectrum=f"{first}-{last}"), payload),
                    ended=ended,
                    rejected=refused,
                    priority=priority,
                    held=False,
                    part_of=part_of,
                )
                found.append((key, new))
            return found

    def submit_map(
        self,
        key: str,
        place: Place,
        payload: bytes,
        *,
        ended: float | None = None,
        priority: Priority = Priority.LIVE,
        hold_s: float | None = None,
    ) -> bool:
        """Queue the end of a map, to be worked on once all of its blocks are written.

        Parameters as for `submit`. Returns False when the ledger has it already and no block of it
        is new.
        """
        with self._database.transaction():
            if hold_s is not None:
                self.runs.ask(place.run_uid, "its map has gaps", wait_s=hold_s)
            return self.queue.add(
                *(key, place, payload),
                ended=ended,
                rejected=False,
                priority=priority,
                held=hold_s is not None,
                part_of=key,
            )

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


def uncovered(
    pixels: tuple[int, int], known: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield the parts of a range of numbers that lie in none of others; all ends included."""
    first, last = pixels
    for begin, end in sorted(known):
        if begin > last:
            break
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last


def _range(name: str) -> tuple[int, int]:
    first, last = name.split("-")
    return int(first), int(last)
