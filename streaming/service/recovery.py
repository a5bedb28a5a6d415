"""Fetch from the catalog what the live documents lacked: gaps, missed runs, a lost ledger."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from nearedge.callbacks.recognise import Darks
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.ledger.job import Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.dark_runs import DarkRuns
from nearedge.streaming.service.intake import Intake
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.settings import profile
from nearedge.streaming.sources.tiled_source import documents_of, ended, is_finished

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks whether a run with gaps is finished in the catalog
AT_ONCE = 10  # missed runs, between two looks for gaps: those hold up live spectra
TRIES = 8  # of one missed run, before it counts as unreadable: about two hours
LONGEST_DELAY_S = 3600.0  # between two of them
LATE_S = 3600.0  # so much later than it ended may a run appear in the catalog
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What the catalog has.

    Attributes
    ----------
    raw
        Returns the Tiled container of raw runs; called again while it raises.
    finished
        Returns key and state of every result.
    """

    raw: Callable[[], Client]
    finished: Callable[[], Iterable[tuple[str, State]]]


class UnreadableRunError(RuntimeError):
    """A run that the catalog has and cannot give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A run that the catalog has and could not give: how often it was tried, and when again."""

    tries: int
    again_at: float


class MakeIntake(Protocol):
    """Makes an intake for the documents of one run of the catalog."""

    def __call__(self, *, priority: Priority) -> Intake:
        """Return a new one."""


class Recovery:
    """The step of the recovery loop.

    Parameters
    ----------
    settings
        How often to look, and how far back.
    live
        What takes the live documents.
    make_intake
        Makes what takes a run's documents from the catalog.
    ledger, metrics
        What is known, and what is counted.
    archive
        Where runs are fetched from.
    dark_runs, darks
        The catalog's dark runs, and where those go that the live runs need.
    clock, now
        Monotonic seconds, and seconds since the epoch.

    Attributes
    ----------
    primed
        Set once the catalog has been asked for dark runs, whatever it said.
    """

    def __init__(
        self,
        *,
        settings: profile.ServiceSettings,
        live: Intake,
        make_intake: MakeIntake,
        ledger: Ledger,
        metrics: Metrics,
        archive: Archive,
        dark_runs: DarkRuns,
        darks: Darks,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._live, self._make_intake = settings, live, make_intake
        self._ledger, self._metrics = ledger, metrics
        self._archive = archive
        self._dark_runs, self._darks = dark_runs, darks
        self._clock, self._now = clock, now
        self._epoch = now() - clock()  # the wall clock may jump; what it was at first stays
        self._since = now() - settings.catch_up_days * DAY_S
        self._next_look = float("-inf")
        self._open_before: set[str] = set()
        self._unreadable: dict[str, Unreadable] = {}
        self._adopted = not ledger.is_new()
        self._stopping = threading.Event()
        self.primed = threading.Event()

    def stop(self) -> None:
        """End before the next document."""
        self._stopping.set()

    def look_soon(self) -> None:
        """Look for missed runs in the next step."""
        self._next_look = float("-inf")

    def step(self) -> float:
        """Fetch what is missing; return when to look again, s."""
        try:
            raw = self._archive.raw()
            self._prime()
            self._fill_gaps(raw)
            if self._catch_up(raw):
                return 0.0
        except Exception as e:  # the catalog is away, or refuses: live documents go on without it
            logger.warning("the catalog of raw runs cannot be read: %s: %s", type(e).__name__, e)
            self._metrics.retries.labels("recover").inc()
            self._give_up_overdue()
        finally:
            self.primed.set()
        return LOOK_S

    def _prime(self) -> None:
        """Give the live runs the darks that were measured before the service began."""
        if not self.primed.is_set():
            self._dark_runs.recall_before(self._now(), self._darks)

    # -- gaps ---------------------------------------------------------------------------------

    def _fill_gaps(self, raw: Client) -> None:
        for uid, overdue in self._ledger.runs.asked():
            if self._stopping.is_set():
                return
            if self._filled(raw, uid):
                self._metrics.backfills.labels("complete").inc()
            elif overdue and not self._stopping.is_set():
                self._give_up(uid)

    def _filled(self, raw: Client, uid: str) -> bool:
        try:
            return is_finished(raw, uid) and self._take(raw, uid, priority=Priority.LIVE)
        except UnreadableRunError:  # at the next look, until its time is over
            return False

    def _give_up_overdue(self) -> None:
        for uid, overdue in self._ledger.runs.asked():
            if overdue:
                self._give_up(uid)

    def _give_up(self, uid: str) -> None:
        logger.warning(
            "run %s: the catalog has it not whole after %g s: taken as it is",
            *(uid, self._settings.backfill_wait_s),
            extra={"run_uid": uid},
        )
        self._metrics.backfills.labels("given-up").inc()
        self._ledger.settle(uid)

    # -- missed runs --------------------------------------------------------------------------

    def _catch_up(self, raw: Client) -> bool:
        """Read some of the missed runs; return whether there are more."""
        every_s = self._settings.catch_up_every_s
        if not every_s or self._clock() < self._next_look:
            return False
        self._adopt()
        began = self._epoch + self._clock()
        still_open = set(self._live.open_runs())
        # the live documents of a run may be on their way: one look is left to them
        wait = self._not_yet() | (still_open - self._open_before)
        missed = self._ledger.runs.unknown([*self._unreadable, *ended(raw, since=self._since)])
        due = [uid for uid in dict.fromkeys(missed) if uid not in wait]
        for uid in due[:AT_ONCE]:
            if self._stopping.is_set():
                return False
            self._catch_up_with(raw, uid)
        if len(due) > AT_ONCE:
            return True
        self._open_before = still_open
        self._since = max(self._since, began - LATE_S)
        self._next_look = self._clock() + every_s
        return False

    def _catch_up_with(self, raw: Client, uid: str) -> None:
        logger.info("run %s was missed: it is read from the catalog", uid)
        try:
            if self._take(raw, uid, priority=Priority.CAUGHT_UP):
                self._metrics.caught_up.inc()
                self._unreadable.pop(uid, None)
        except UnreadableRunError as e:
            self._postpone(uid, str(e))

    def _not_yet(self) -> set[str]:
        """Return the runs that could not be read, until they are to be tried again."""
        now = self._clock()
        return {uid for uid, one in self._unreadable.items() if one.again_at > now}

    def _postpone(self, uid: str, error: str) -> None:
        """Have a run tried again later, less and less often, and in the end no more."""
        tries = 1 + (self._unreadable[uid].tries if uid in self._unreadable else 0)
        if tries < TRIES:
            delay_s = min(LONGEST_DELAY_S, self._settings.catch_up_every_s * 2.0**tries)
            self._unreadable[uid] = Unreadable(tries=tries, again_at=self._clock() + delay_s)
        else:
            logger.error("run %s: given up after %d tries", uid, tries, extra={"run_uid": uid})
            self._ledger.settle(uid, error=error)
            del self._unreadable[uid]

    def _adopt(self) -> None:
        """Fill a new ledger with what the catalog has."""
        if not self._adopted:
            if found := self._ledger.queue.adopt(self._archive.finished()):
                logger.warning("the ledger was new: %d results of the catalog are noted", found)
            self._adopted = True

    def _take(self, raw: Client, uid: str, *, priority: Priority) -> bool:
        """Feed one run to an intake of its own; return whether there was time for all of it."""
        intake = self._make_intake(priority=priority)
        try:
            for name, doc in documents_of(raw, uid):
                if self._stopping.is_set():
                    return False
                intake.feed(name, doc)
        except Exception as e:  # one run that cannot be read must not hold up the others
            text = f"{type(e).__name__}: {e}"
            self._metrics.retries.labels("recover").inc()
            logger.warning(
                "run %s cannot be read from the catalog: %s", uid, text, extra={"run_uid": uid}
            )
            raise UnreadableRunError(text) from e
        self._live.drop(uid)
        intake.end()
        self._ledger.settle(uid)
        return True
