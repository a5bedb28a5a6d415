"""Fetch from the catalog what the live documents lacked: gaps, missed runs, a lost ledger."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx

from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.raw_runs import ended, is_finished
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.job import Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.dark_runs import DarkRuns
from nearedge.streaming.service.intake import Intake, Terms
from nearedge.streaming.service.known import Known
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.settings import profile
from nearedge.streaming.sources.run_documents import documents_of

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks whether a run with gaps is finished in the catalog
AT_ONCE = 10  # missed runs, between two looks for gaps: those hold up live spectra
TRIES = 8  # of a run that the catalog gives and that cannot be read: about two hours
LONGEST_DELAY_S = 3600.0  # between two of them
LONGEST_PAUSE_S = 30.0  # between two looks at a catalog that is away
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
    """A run of which the catalog gives nothing, or names a file that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a run could not be read, and how often it was tried."""

    why: str
    tries: int
    again_at: float


class MakeIntake(Protocol):
    """Makes an intake for the documents of one run of the catalog."""

    def __call__(self, terms: Terms) -> Intake:
        """Return a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Monotonic seconds, and seconds since the epoch."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


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
    known
        Which runs have their answers.
    dark_runs
        The catalog's dark runs; the live intake gets those that it needs.
    clocks
        What tells the time.

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
        known: Known,
        dark_runs: DarkRuns,
        clocks: Clocks | None = None,
    ) -> None:
        self._settings, self._live, self._make_intake = settings, live, make_intake
        self._ledger, self._metrics = ledger, metrics
        self._archive, self._known = archive, known
        self._dark_runs = dark_runs
        clocks = clocks or Clocks()
        self._clock, self._now = clocks.monotonic, clocks.wall
        self._epoch = (
            self._now() - self._clock()
        )  # the wall clock may jump; what it was at first stays
        self._since = self._now() - settings.catch_up_days * DAY_S
        self._next_look = float("-inf")
        self._open_before: set[str] = set()
        self._missed: deque[str] = deque()
        self._troubles: dict[str, Trouble] = {}
        self._aligned, self._failures = False, 0
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
            more = self._catch_up(raw)
            self._failures = 0
            return 0.0 if more else LOOK_S
        except Exception as e:  # the catalog is away, or refuses: live documents go on without it
            self._failures += 1
            pause_s = min(LONGEST_PAUSE_S, LOOK_S * 2.0 ** min(self._failures - 1, 10))
            why = f"the catalog of raw runs cannot be read: {told(e)}"
            logger.warning("%s; again in %g s", why, pause_s)
            self._metrics.retries.labels("recover").inc()
            self._give_up_overdue(why)
            return pause_s
        finally:
            self.primed.set()

    def _prime(self) -> None:
        """Give the live runs the darks that were measured before the service began."""
        if not self.primed.is_set():
            self._dark_runs.recall_before(self._now(), self._live.darks)

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
        trouble = self._troubles.get(uid)
        if trouble is not None and trouble.again_at > self._clock():
            return False
        try:
            if not (is_finished(raw, uid) and self._take(raw, uid, filling=True)):
                return False
        except UnreadableRunError as e:  # at a later look, until its time is over
            self._note_trouble(uid, str(e), every_s=LOOK_S)
            return False
        self._troubles.pop(uid, None)
        return True

    def _give_up_overdue(self, why: str) -> None:
        for uid, overdue in self._ledger.runs.asked():
            if overdue:
                self._give_up(uid, why)

    def _give_up(self, uid: str, why: str | None = None) -> None:
        """Go on with what there is of a run; read it again later if the catalog has more of it."""
        trouble = self._troubles.pop(uid, None)
        why = trouble.why if trouble is not None else why
        wait_s = self._settings.backfill_wait_s
        logger.warning(
            "run %s: the catalog has it not whole after %g s: taken as it is%s",
            *(uid, wait_s, f" ({why})" if why else ""),
            extra={"run_uid": uid},
        )
        self._metrics.backfills.labels("given-up").inc()
        found = why or f"the catalog has no more of it after {wait_s:g} s"
        self._live.note_lost(uid, f"documents are missing or could not be read: {found}")
        if why is None:
            self._ledger.settle(uid)
        else:
            self._ledger.postpone(uid, why, delay_s=self._settings.catch_up_every_s)

    # -- missed runs --------------------------------------------------------------------------

    def _catch_up(self, raw: Client) -> bool:
        """Read some of the missed runs; return whether there are more."""
        if not self._missed:
            self._look_for_missed(raw)
        for _ in range(AT_ONCE):
            if self._stopping.is_set() or not self._missed:
                return False
            if not self._ledger.runs.needs_nothing(self._missed[0]):  # it may have come meanwhile
                self._catch_up_with(raw, self._missed[0])
            self._missed.popleft()
        return bool(self._missed)

    def _look_for_missed(self, raw: Client) -> None:
        """List the missed runs, once in a while."""
        every_s = self._settings.catch_up_every_s
        if not every_s or self._clock() < self._next_look:
            return
        self._align()
        began = self._epoch + self._clock()
        still_open = set(self._live.open_runs())
        # the live documents of a run may be on their way: one look is left to them
        wait = still_open - self._open_before
        missed = self._ledger.runs.unknown(ended(raw, since=self._since))
        answered = self._settle_answered(missed)
        due = dict.fromkeys([*self._ledger.runs.due(), *missed])
        self._missed.extend(uid for uid in due if uid not in wait and uid not in answered)
        self._open_before = still_open
        self._since = max(self._since, began - LATE_S)
        self._next_look = self._clock() + every_s

    def _settle_answered(self, run_uids: Sequence[str]) -> Collection[str]:
        """Note the runs whose answers the catalog has: they need not be read."""
        answered = self._known.among(run_uids)
        for uid in answered:
            self._ledger.settle(uid, settings=self._known.settings)
        return answered

    def _catch_up_with(self, raw: Client, uid: str) -> None:
        logger.info("run %s was missed: it is read from the catalog", uid)
        try:
            if self._take(raw, uid):
                self._metrics.caught_up.inc()
                self._troubles.pop(uid, None)
        except UnreadableRunError as e:
            self._postpone(uid, e)

    def _postpone(self, uid: str, error: UnreadableRunError) -> None:
        """Have a run tried again, less and less often; never give up for an error of the server."""
        trouble = self._note_trouble(uid, str(error), every_s=self._settings.catch_up_every_s)
        servers = isinstance(error.__cause__, httpx.HTTPError)
        delay_s = trouble.again_at - self._clock()
        if trouble.tries >= TRIES and not servers:
            tries, extra = trouble.tries, {"run_uid": uid}
            logger.error("run %s: left alone after %d tries: %s", uid, tries, error, extra=extra)
            delay_s = float("inf")
            del self._troubles[uid]
        self._ledger.postpone(uid, str(error), delay_s=delay_s)

    def _note_trouble(self, uid: str, why: str, *, every_s: float) -> Trouble:
        tries = 1 + (self._troubles[uid].tries if uid in self._troubles else 0)
        delay_s = min(LONGEST_DELAY_S, every_s * 2.0 ** min(tries, 30))
        trouble = Trouble(why=why, tries=tries, again_at=self._clock() + delay_s)
        self._troubles[uid] = trouble
        return trouble

    def _align(self) -> None:
        """Have the ledger agree with what the catalog has, once."""
        if self._aligned:
            return
        new = self._ledger.is_new()
        noted, forgotten = self._ledger.align(self._archive.finished())
        if new and noted:
            logger.warning("the ledger was new: %d results of the catalog are noted", noted)
        if forgotten:
            logger.warning(
                "%d results are in the catalog no more: their runs count as missed", forgotten
            )
        self._ledger.runs.retry()  # what could not be read before may be readable to this service
        self._aligned = True

    def _take(self, raw: Client, uid: str, *, filling: bool = False) -> bool:
        """Feed one run to an intake of its own; return whether there was time for all of it.

        Parameters
        ----------
        raw, uid
            The run.
        filling
            Whether live spectra wait for it: then a file that cannot be read is waited for.
        """
        priority = Priority.LIVE if filling else Priority.CAUGHT_UP
        intake = self._make_intake(Terms(live=False, priority=priority, patient=filling))
        try:
            for name, doc in documents_of(raw, uid):
                if self._stopping.is_set():
                    return False
                intake.feed(name, doc)
        except Exception as e:  # one run that cannot be read must not hold up the others
            raise self._unreadable(uid, told(e)) from e
        if not filling:
            self._live.drop(uid)
        intake.end()
        if uid in intake.unread:
            raise self._unreadable(uid, intake.unread[uid])
        self._live.drop(uid)
        self._ledger.settle(uid)
        return True

    def _unreadable(self, uid: str, text: str) -> UnreadableRunError:
        self._metrics.retries.labels("recover").inc()
        extra = {"run_uid": uid}
        logger.warning("run %s cannot be read from the catalog: %s", uid, text, extra=extra)
        return UnreadableRunError(text)
