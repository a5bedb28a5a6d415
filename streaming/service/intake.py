"""From documents to rows of the ledger: assemble, reduce, normalise, submit."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import stamina

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.measurement import Gap, Measurement, Run
from nearedge.callbacks.prepare import prepare
from nearedge.callbacks.recognise import Darks
from nearedge.models import NormalisedSpectrum, Reason, Rejected
from nearedge.streaming.ledger.job import Place, Priority
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.packing import pack
from nearedge.streaming.service.endings import Endings
from nearedge.streaming.service.method import MAP, Method
from nearedge.streaming.service.metrics import Metrics

logger = logging.getLogger(__name__)

OnPartial = Callable[[Measurement, NormalisedSpectrum | Rejected], None]
T = TypeVar("T")
Recall = Callable[[Mapping[str, Any], Darks], None]

NO_SPECTRUM = frozenset({"no-energy-scan", "no-spectrum"})
"""Why a whole run is left out."""
INCOMPLETE = frozenset({"gap", "no-stop"})
"""Flags of a spectrum that the catalog may have whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How the spectra of a source are taken.

    Attributes
    ----------
    live
        Whether measurements have just ended, so that their age counts as latency.
    priority
        The priority of the spectra.
    hold_s
        How long spectra of a run that lacks something wait for it to come from the catalog, s;
        0: they go on as they are.
    patient
        Whether a spectrum with a file that cannot be read is left out, to come another time.
    """

    live: bool
    priority: Priority = Priority.LIVE
    hold_s: float = 0.0
    patient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Who is told of what an intake takes.

    Attributes
    ----------
    on_submit
        Called with the key of every finished measurement, and whether it was new.
    on_partial
        Called with every measurement that still grows, and what it is so far; None: they are
        dropped.
    on_gap
        Called when a run is to be fetched from the catalog.
    on_left_out
        Called with the uid of a run that has no spectrum, and why.
    """

    on_submit: Callable[[str, bool], None]
    on_partial: OnPartial | None = None
    on_gap: Callable[[], None] = lambda: None
    on_left_out: Callable[[str, str], None] = lambda run_uid, reason: None


class Intake:
    """Feeds one assembler and puts what it emits into the ledger; threads may share it.

    Parameters
    ----------
    method
        How documents become named spectra.
    terms
        How these spectra are taken.
    calls
        Who is told.
    ledger, metrics
        Where spectra go, and what is counted.
    darks
        The dark runs seen so far.
    recall
        Called with every start document before it is used; adds the dark runs that it needs.

    Attributes
    ----------
    darks
        The dark runs seen so far.
    problem
        Why the ledger takes no spectra now, or None.
    unread
        What was wrong, for each run that ended with a file that could not be read.
    """

    def __init__(
        self,
        method: Method,
        terms: Terms,
        *,
        calls: Calls,
        ledger: Ledger,
        metrics: Metrics,
        darks: Darks | None = None,
        recall: Recall | None = None,
    ) -> None:
        self._method, self._terms, self._calls = method, terms, calls
        self._ledger, self._metrics = ledger, metrics
        self.darks, self._recall = Darks() if darks is None else darks, recall
        self._instrument_json = method.instrument.model_dump_json()
        self.problem: str | None = None
        self.unread: dict[str, str] = {}
        self._begun: set[str] = set()
        self._suspects: set[str] = set()
        self._lock = threading.Lock()
        self._endings = Endings()
        self._assembler = Assembler(
            method.instrument,
            emit=self.take,
            emit_block=self.take_block,
            on_gap=self.note_gap,
            on_discard=self.note_discard,
            on_end=self.note_end,
            later=self._end_later if terms.live else None,
            darks=self.darks,
        )

    def feed(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document; a bad one is logged and counted, and never raises.

        Only what ``recall`` raises is passed on.
        """
        self._metrics.documents.labels(name).inc()
        if name == "start" and self._recall is not None:
            self._recall(doc, self.darks)
        with self._surviving(name, doc):
            if name == "start":
                self._begun.add(str(doc.get("uid")))
            self._assembler(name, doc)

    def end(self) -> None:
        """End the runs that are open: no more documents will come."""
        while uids := self._assembler.open_runs:
            for uid in uids:
                with self._surviving("stop", uid):
                    self._assembler.close(uid)
        with self._surviving("stop", None):
            self._assembler.close()
        self._endings.join()

    def join(self, timeout_s: float) -> bool:
        """Wait until long runs whose stop came are in the ledger; return whether they are."""
        return self._endings.join(timeout_s)

    def flush(self) -> None:
        """Let the pixels of maps go on that have waited long enough."""
        with self._surviving("event", None):
            self._assembler.flush()

    def expire(self, silent_s: float) -> None:
        """End the runs that were silent for so long, s."""
        with self._surviving("stop", None):
            for uid in self._assembler.expire(silent_s):
                logger.warning(
                    "run %s: silent for %g s and no stop document: taken as ended",
                    *(uid, silent_s),
                    extra={"run_uid": uid},
                )

    def _end_later(self, run_uid: str, end: Callable[[], None]) -> None:
        """Have a long run ended by a thread of its own: the documents of others go on."""

        def ending() -> None:
            try:
                end()
            except Exception:
                self._metrics.bad_documents.labels("stop").inc()
                logger.exception("the end of run %s raised", run_uid, extra={"run_uid": run_uid})

        self._endings.put(run_uid, ending)

    @contextmanager
    def _surviving(self, name: str, what: object) -> Iterator[None]:
        """Have the assembler for oneself; what it raises harms one document or run alone."""
        try:
            with self._lock:
                yield
        except Exception:
            self._metrics.bad_documents.labels(name).inc()
            logger.exception("a %s document raised: %.300r", name, what)

    def suspect(self) -> None:
        """Have the open runs fetched from the catalog when they end: documents may be missing."""
        with self._lock:
            self._suspects.update(self._assembler.open_runs)
        self._calls.on_gap()

    def open_runs(self) -> tuple[str, ...]:
        """Return the uids of the runs that have begun and are not yet in the ledger."""
        with self._lock:
            return (*self._assembler.open_runs, *self._endings.run_uids)

    def drop(self, run_uid: str) -> None:
        """Take no more of a run, which came whole another way."""
        with self._lock:
            self._assembler.drop(run_uid)
            self._suspects.discard(run_uid)
            self._begun.discard(run_uid)

    def note_discard(self, reason: str, uid: str) -> None:
        """Log and count a document that was not used."""
        self._metrics.discarded.labels(reason).inc()
        logger.debug("a document of %s was not used: %s", uid, reason, extra={"run_uid": uid})
        if reason in NO_SPECTRUM:
            self._calls.on_left_out(uid, reason)

    def note_gap(self, gap: Gap) -> None:
        """Log and count what is missing of a run."""
        self._metrics.gaps.inc()
        extra = {"run_uid": gap.run_uid}
        logger.warning("run %s: documents are missing: %s", gap.run_uid, gap.detail, extra=extra)

    def note_end(self, run_uid: str, whole: bool) -> None:
        """Note that a run has ended, or that it is to be read again."""
        unread = self.unread.pop(run_uid, None) if self._terms.live else self.unread.get(run_uid)
        headless = run_uid not in self._begun
        if self._terms.hold_s and (not whole or unread or run_uid in self._suspects):
            self._ledger.runs.ask(run_uid, unread or _missing(headless), wait_s=self._terms.hold_s)
            self._calls.on_gap()
        elif unread:
            if not self._terms.patient:
                self._ledger.postpone(run_uid, unread, delay_s=0.0)
        else:
            if not whole:
                self.note_lost(run_uid, _missing(headless))
            self._ledger.settle(run_uid, settings=self._method.settings if whole else None)
        self._suspects.discard(run_uid)
        self._begun.discard(run_uid)

    def note_lost(self, run_uid: str, why: str) -> None:
        """Record that a run came to nothing, unless there is a spectrum of it."""
        if self._ledger.backlog.has_run(run_uid):
            return
        now = time.time()
        run = Run(uid=run_uid, scan_id=None, time=now, start={"uid": run_uid})
        stream = next(iter(self._method.instrument.streams), "primary")
        nothing = Measurement(
            run=run,
            stream=stream,
            spectrum="0",
            columns={},
            complete=False,
            final=True,
            time=now,
            flags=("gap", "partial"),
            problems=(why,),
        )
        self._keep(nothing, Rejected(reason=Reason.UNREADABLE, detail=why), hold_s=None)

    def take(self, measurement: Measurement) -> None:
        """Submit a finished measurement, or its rejection; show one that still grows."""
        if measurement.final:
            self._submit(measurement)
        elif self._calls.on_partial is not None:
            self._show(measurement, self._calls.on_partial)

    def take_block(self, what: Block | MapEnd) -> None:
        """Submit some pixels of a map, or its end."""
        if isinstance(what, MapEnd):
            self._submit_map(what)
        else:
            self._submit_block(what)

    def _submit_block(self, block: Block) -> None:
        if block.refused is not None:
            self.unread.setdefault(block.run.uid, block.refused.detail)
            if self._terms.patient:
                return
        key = partial(self._method.part_key, block.run.uid, block.stream)

        def packed(first: int, last: int) -> tuple[str, bytes]:
            part = block.some(first, last)
            return key(part.name), pack({"block": part, "instrument": self._instrument_json})

        place = Place(
            run_uid=block.run.uid, scan_id=block.run.scan_id, stream=block.stream, spectrum=""
        )
        parts = self._with_patience(
            block.run.uid,
            lambda: self._ledger.submit_block(
                key(MAP),
                place,
                (block.first, block.last),
                packed,
                ended=block.time if self._terms.live else None,
                refused=block.refused is not None,
                priority=self._terms.priority,
            ),
        )
        fresh = sum(new for _, new in parts)
        logger.debug("run %s: pixels %s: %d rows", block.run.uid, block.name, fresh)
        for name, new in parts:
            self._calls.on_submit(name, new)

    def _submit_map(self, end: MapEnd) -> None:
        uid = end.run.uid
        if self._terms.patient and uid in self.unread:
            return
        incomplete = INCOMPLETE.intersection(end.flags) or uid in self.unread
        waits = self._terms.hold_s > 0 and bool(incomplete or uid in self._suspects)
        key = self._method.part_key(uid, end.stream, MAP)
        place = Place(run_uid=uid, scan_id=end.run.scan_id, stream=end.stream, spectrum=MAP)
        new = self._with_patience(
            uid,
            lambda: self._ledger.submit_map(
                key,
                place,
                pack({"map": end, "instrument": self._instrument_json}),
                ended=end.time if self._terms.live else None,
                priority=self._terms.priority,
                hold_s=self._terms.hold_s if waits else None,
            ),
        )
        logger.info(
            "run %s (scan %s): a map of %d pixels has ended",
            *(uid, end.run.scan_id, end.pixels),
            extra={"run_uid": uid},
        )
        self._calls.on_submit(key, new)

    def _with_patience(self, run_uid: str, submit: Callable[[], T]) -> T:
        """Submit to the ledger, however long it takes none.

        With a full disk the spectra wait here, and the documents in the source.
        """
        for attempt in stamina.retry_context(
            on=sqlite3.OperationalError, attempts=None, timeout=None, wait_max=5.0
        ):
            with attempt, self._telling(run_uid):
                return submit()
        raise AssertionError("unreachable: it is tried for ever")

    def _show(self, measurement: Measurement, on_partial: OnPartial) -> None:
        outcome = prepare(measurement, self._method.instrument, supports=self._method.supports)
        if not isinstance(outcome, Rejected):
            payload = pack({"measurement": measurement, "outcome": outcome})
            self._ledger.partials.put(place_of(measurement), payload)
        on_partial(measurement, outcome)

    def _submit(self, measurement: Measurement) -> None:
        if measurement.problems:
            self.unread[measurement.run.uid] = measurement.problems[0]
            if self._terms.patient:
                return
        outcome = prepare(measurement, self._method.instrument, supports=self._method.supports)
        hold_s = self._terms.hold_s if self._may_improve(measurement) else None
        self._keep(measurement, outcome, hold_s=hold_s)

    def _keep(
        self,
        measurement: Measurement,
        outcome: NormalisedSpectrum | Rejected,
        *,
        hold_s: float | None,
    ) -> None:
        """Put a spectrum, or why there is none, into the ledger."""
        key = self._method.key(measurement)
        payload = pack({"measurement": measurement, "outcome": outcome})
        ended = measurement.time if self._terms.live else None
        new = self._with_patience(
            measurement.run.uid,
            lambda: self._ledger.submit(
                key,
                place_of(measurement),
                payload,
                ended=ended,
                rejected=isinstance(outcome, Rejected),
                priority=self._terms.priority,
                hold_s=hold_s,
            ),
        )
        self._count(measurement, outcome, new=new)
        self._calls.on_submit(key, new)

    @contextmanager
    def _telling(self, run: str) -> Iterator[None]:
        """Tell whether the ledger takes a spectrum."""
        try:
            yield
        except sqlite3.OperationalError as e:
            self.problem = f"the ledger takes no spectra: {e}"
            self._metrics.retries.labels("submit").inc()
            logger.error("%s; one of run %s waits", self.problem, run, extra={"run_uid": run})
            raise
        self.problem = None

    def _may_improve(self, measurement: Measurement) -> bool:
        incomplete = INCOMPLETE.intersection(measurement.flags) or measurement.problems
        return self._terms.hold_s > 0 and bool(incomplete or measurement.run.uid in self._suspects)

    def _count(
        self, measurement: Measurement, outcome: NormalisedSpectrum | Rejected, *, new: bool
    ) -> None:
        run = measurement.run
        extra = {"run_uid": run.uid}
        if not new:
            self._metrics.known.inc()
            logger.debug("run %s: spectrum %s is known", run.uid, measurement.spectrum, extra=extra)
        elif isinstance(outcome, Rejected):
            self._metrics.rejected.labels(outcome.reason).inc()
            expected = outcome.reason is Reason.NOT_A_SAMPLE  # darks and references are no trouble
            logger.log(
                logging.INFO if expected else logging.WARNING,
                "run %s (scan %s), spectrum %s: %s: %s",
                *(run.uid, run.scan_id, measurement.spectrum, outcome.reason, outcome.detail),
                extra=extra,
            )
        else:
            logger.info(
                "run %s (scan %s): spectrum %s of stream %s waits for inversion",
                *(run.uid, run.scan_id, measurement.spectrum, measurement.stream),
                extra=extra,
            )
            if measurement.unlike:
                logger.warning(
                    "run %s (scan %s), spectrum %s is an average of unlike ones: %s",
                    *(run.uid, run.scan_id, measurement.spectrum, measurement.unlike),
                    extra=extra,
                )


def _missing(headless: bool) -> str:
    if headless:
        return "its start document never came, or could not be read"
    return "documents are missing"


def place_of(measurement: Measurement) -> Place:
    """Return whose spectrum it is."""
    return Place(
        run_uid=measurement.run.uid,
        scan_id=measurement.run.scan_id,
        stream=measurement.stream,
        spectrum=measurement.spectrum,
    )
