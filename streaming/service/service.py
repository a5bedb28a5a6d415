"""The service: threads that take documents in, have spectra inverted and write the answers.

Live and replay are the same service with another source.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.recognise import Darks
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.catalog.pixel_clusters import ClusterStore
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.job import Job, Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.map_row import MapRow, MapStatus
from nearedge.streaming.ledger.packing import pack
from nearedge.streaming.ledger.row import Row, row_of
from nearedge.streaming.service.dark_runs import DarkRuns, KeptDarks
from nearedge.streaming.service.dispatch import DEGRADED, Dispatch
from nearedge.streaming.service.intake import Calls, Intake, Terms, place_of
from nearedge.streaming.service.known import Known
from nearedge.streaming.service.loop import Loop
from nearedge.streaming.service.map_work import MapWork
from nearedge.streaming.service.method import Method
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.service.pixel_drawing import PixelDrawing
from nearedge.streaming.service.recovery import Archive, Recovery
from nearedge.streaming.service.writing import Put, Writing
from nearedge.streaming.settings.profile import Profile, WorkerSettings
from nearedge.streaming.sources.source import Source
from nearedge.streaming.workers.crew import Crew
from nearedge.streaming.workers.dask_worker import DaskWorker
from nearedge.streaming.workers.worker import Worker

logger = logging.getLogger(__name__)

FINISH_S = 5.0  # of the ten seconds that a stop may take: time for the work at hand
LOOK_S = 1.0
TEND_S = 5.0
FLUSH_S = 0.25
PRIME_S = 5.0  # the first documents wait so long for the darks of the catalog

Listener = Callable[[Row], None]
PartialListener = Callable[[Measurement, NormalisedSpectrum | Rejected, Inversion | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who is told, by the service's own threads.

    Attributes
    ----------
    rows
        Called with every row that has come to an end.
    answers
        Called with every row as soon as it is answered, before it is in the catalog.
    partials
        Called with every spectrum that still grows, and again with the quick answer to it. Nothing
        partial is ever stored; without listeners there are no partial answers.
    left_out
        Called with the uid of every run that has no spectrum, and why.
    maps
        Called with how far a map is, whenever some of it has come into the catalog.
    """

    rows: Sequence[Listener] = ()
    answers: Sequence[Listener] = ()
    partials: Sequence[PartialListener] = ()
    left_out: Sequence[Callable[[str, str], None]] = ()
    maps: Sequence[Callable[[MapRow], None]] = ()


class Service:
    """Takes documents from a source until it is stopped; every finished spectrum gets its result.

    Parameters
    ----------
    profile
        The instrument and the worker.
    source
        Where documents come from.
    ledger, worker
        Opened, and closed by whoever opened them (the worker: also by `stop`).
    method
        How documents become named spectra.
    put
        Writes a row to the catalog; idempotent under its key.
    maps
        What is to be done with blocks and ends of maps; None: there are none.
    clusters
        Maps whose pixels are to have clusters while nothing measured waits; None: no pixel is.
    live
        Whether the source tells of measurements as they end. If not, every answer is a full one,
        and a run without its end waits for nothing.
    archive
        The catalog's runs and results: for gaps and missed runs of a live service, and for the
        darks of a replayed run. None: there is none.
    audience
        Who is told of rows and answers.

    Attributes
    ----------
    metrics
        What is counted.
    known
        Finished spectra that the ledger had already.
    unreadable
        Runs that could not be read from the source, and why.
    broken
        The error that ended the source, or None.
    """

    def __init__(
        self,
        *,
        profile: Profile,
        source: Source,
        ledger: Ledger,
        worker: Worker | DaskWorker | Crew,
        method: Method,
        put: Put,
        maps: MapWork | None = None,
        clusters: ClusterStore | None = None,
        live: bool = True,
        archive: Archive | None = None,
        audience: Audience | None = None,
    ) -> None:
        self.ledger, self.worker = ledger, worker
        self.metrics = Metrics()
        self.metrics.watch(ledger)
        self.known = 0
        self.unreadable: dict[str, str] = {}
        self.broken: Exception | None = None
        self._source = source
        self._audience = Audience() if audience is None else audience
        self._attempts = profile.worker.attempts
        self._changed = threading.Condition()
        self._open: set[str] = set()
        self._next_look = float("-inf")
        self._source_ended = self._stopping = False
        self._settings, self._live = profile.service, live
        self._known = Known(ledger, settings=method.settings, keys=method.only_keys)
        self._intake, self._recovery = self._intakes(method, archive)
        self._tender = self._loop("tend", self._tend)
        self._maps = maps
        self._flusher = self._loop("flush", self._flush)
        self._has_maps = method.instrument.finish.when == "pixel"
        writing = Writing(
            ledger=ledger,
            metrics=self.metrics,
            put=put,
            on_row=self._publish,
            put_map=None if maps is None else maps.put,
            on_map=self._publish_map,
            on_map_failed=self._on_failed,
        )
        self._writer = self._loop("writer", writing.step)
        members = worker.members if isinstance(worker, Crew) else (worker,)
        self._dispatches = [self._dispatch_to(member, profile.worker) for member in members]
        self._dispatchers = [self._loop("dispatch", one.step) for one in self._dispatches]
        self._draws = clusters is not None
        self._drawing = PixelDrawing(
            backlog=ledger.backlog, workers=members, store=clusters, batch=profile.worker.batch
        )
        self._drawer = self._loop("draw", self._drawing.step)
        self._reader = threading.Thread(target=self._read, name="nearedge-ingest", daemon=True)

    def _intakes(self, method: Method, archive: Archive | None) -> tuple[Intake, Recovery | None]:
        """Return what takes the source's documents, and what fetches those that it lacked."""
        dark_runs = None if archive is None else DarkRuns(archive.raw, method.instrument)
        darks = KeptDarks(self.ledger.darks) if self._live else Darks()
        make = partial(Intake, method, ledger=self.ledger, metrics=self.metrics, darks=darks)
        of_catalog = partial(
            make,
            calls=Calls(on_submit=self._on_submit, on_left_out=self._on_left_out),
            recall=None if dark_runs is None else dark_runs.recall,
        )
        if not self._live:
            return of_catalog(Terms(live=False, priority=Priority.CAUGHT_UP)), None
        hold_s = 0.0 if archive is None else self._settings.backfill_wait_s
        calls = Calls(
            on_submit=self._on_submit,
            on_partial=self._on_partial if self._audience.partials else None,
            on_gap=self.look_soon,
            on_left_out=self._on_left_out,
        )
        intake = make(Terms(live=True, hold_s=hold_s), calls=calls)
        if archive is None or dark_runs is None:
            return intake, None
        return intake, Recovery(
            settings=self._settings,
            live=intake,
            make_intake=of_catalog,
            ledger=self.ledger,
            metrics=self.metrics,
            archive=archive,
            known=self._known,
            dark_runs=dark_runs,
        )

    def _dispatch_to(self, worker: Worker | DaskWorker, settings: WorkerSettings) -> Dispatch:
        return Dispatch(
            ledger=self.ledger,
            worker=worker,
            settings=settings,
            metrics=self.metrics,
            on_answer=self._writer.ring,
            on_failed=self._on_failed,
            on_partial=self._publish_partial,
            on_inverted=self._publish_inverted,
            maps=self._maps,
        )

    def _loop(self, name: str, step: Callable[[], float | None]) -> Loop:
        return Loop(name, step, on_error=lambda name: self.metrics.errors.labels(name).inc())

    def start(self) -> None:
        """Start the threads and take up what a dead service left.

        A live service also starts its worker. A replay may find everything known: there the first
        spectrum does.
        """
        if orphans := self.ledger.queue.requeue_orphans(attempts=self._attempts):
            logger.warning("%d spectra of a service that died are taken up again", orphans)
        if self._live:
            self.worker.start()
        for loop in self._dispatchers:
            loop.start()
        self._writer.start()
        self._tender.start()
        if self._has_maps and self._live:
            self._flusher.start()
            if self._maps is not None:
                opening = threading.Thread(
                    target=self._maps.open, name="nearedge-maps", daemon=True
                )
                opening.start()
        if self._draws:
            self._drawer.start()
        self._reader.start()

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until the source has ended and all that it brought has; return whether it did."""
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._is_drained():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, LOOK_S))  # another service may end some of them
            return True

    def stop(self, *, finish_s: float = FINISH_S) -> None:
        """Stop taking documents, finish the work at hand, hand the rest back to the ledger."""
        began = time.monotonic()
        self._stopping = True
        self._source.stop()
        if self._recovery is not None:
            self._recovery.stop()
        self._tender.stop()
        self._flusher.stop()
        self._drawing.stop()
        self._drawer.stop()
        for dispatch, loop in zip(self._dispatches, self._dispatchers, strict=True):
            dispatch.stop()
            loop.stop()
        if not self._join_dispatchers(finish_s):
            logger.warning("a worker is still busy: its spectra are handed back")
        self.worker.close()
        self._join_dispatchers(1.0)
        self._writer.stop()
        self._reader.join(max(0.5, finish_s - (time.monotonic() - began)))
        self._tender.join(0.5)
        self._drawer.join(0.5)
        if not self._intake.join(max(0.5, finish_s - (time.monotonic() - began))):
            logger.warning("a long run is not read to its end: the catalog may have it")
        if not self._writer.join(max(0.5, finish_s - (time.monotonic() - began))):
            logger.warning("the catalog is slow: what is not written stays in the ledger")

    def submit(self, key: str, measurement: Measurement, spectrum: NormalisedSpectrum) -> bool:
        """Have a spectrum inverted and stored that comes from no source, such as a merge.

        Returns
        -------
        Whether it is new; one that is known is tried again if it has failed.
        """
        payload = pack({"measurement": measurement, "outcome": spectrum})
        new = self.ledger.submit(key, place_of(measurement), payload)
        if not new:
            self.ledger.queue.retry([key])
        with self._changed:
            self._open.add(key)
        self._work_waits()
        self._writer.ring()
        return new

    def look_soon(self) -> None:
        """Have the catalog asked soon for what is missing: documents were lost."""
        if self._recovery is not None:
            self._recovery.look_soon()
            self._tender.ring()

    def checks(self) -> dict[str, str | None]:
        """Return what spectra need to be taken and inverted, and what is wrong with each."""
        ledger = self._ledger_error() or self._intake.problem
        return {"ledger": ledger, "worker": self.worker.problem}

    @property
    def silence(self) -> str | None:
        """Why no document comes now, as far as the source can tell; None while they come."""
        return self._source.silence

    def pass_over(self, run_uid: str, error: Exception) -> None:
        """Note that the source could not read a run."""
        text = told(error)
        extra = {"run_uid": run_uid}
        logger.error("run %s cannot be read, and is passed over: %s", run_uid, text, extra=extra)
        self.metrics.retries.labels("recover").inc()
        self.unreadable[run_uid] = text

    def suspect(self) -> None:
        """Have the runs that are open now fetched from the catalog when they end."""
        self.metrics.interruptions.inc()
        self._intake.suspect()

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- inside -------------------------------------------------------------------------------

    def _join_dispatchers(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        return all(loop.join(max(0.0, deadline - time.monotonic())) for loop in self._dispatchers)

    def _work_waits(self) -> None:
        for loop in self._dispatchers:
            loop.ring()

    def _read(self) -> None:
        try:
            for name, doc in self._source.documents(self.suspect):
                if self._recovery is not None:
                    self._recovery.primed.wait(PRIME_S)
                self._feed(name, doc)
            if not self._stopping:  # else the runs that are open may still go on without us
                self._intake.end()
        except Exception as e:  # a source that broke: what it brought is still finished
            logger.exception("the source of documents broke")
            self.broken = e
            self.metrics.errors.labels("ingest").inc()
        with self._changed:
            self._source_ended = True
            self._changed.notify_all()

    def _feed(self, name: str, doc: Mapping[str, Any]) -> None:
        try:
            self._intake.feed(name, doc)
        except Exception as e:  # what the run needs of the catalog cannot be read: the others can
            uid = str(doc.get("uid"))
            self.pass_over(uid, e)
            self._intake.drop(uid)

    def _tend(self) -> float | None:
        if not self._live:
            return None
        if silent_s := self._settings.run_silent_s:
            self._intake.expire(silent_s)
        return TEND_S if self._recovery is None else self._recovery.step()

    def _flush(self) -> float:
        """Let the pixels of maps go on that have waited long enough."""
        self._intake.flush()
        return FLUSH_S

    def _ledger_error(self) -> str | None:
        try:
            self.ledger.backlog.counts()
        except Exception as e:  # whatever is wrong with it
            return f"the ledger cannot be read: {e}"
        return None

    def _is_drained(self) -> bool:
        if self._source_ended and self._open and time.monotonic() >= self._next_look:
            self._open &= self.ledger.backlog.open_keys()
            self._next_look = time.monotonic() + LOOK_S
        return self._source_ended and not self._open

    def _on_submit(self, key: str, new: bool) -> None:
        with self._changed:
            if new:
                self._open.add(key)
            else:
                self.known += 1
        self._work_waits()
        self._writer.ring()  # for a rejection

    def _on_partial(self, measurement: Measurement, outcome: NormalisedSpectrum | Rejected) -> None:
        self._publish_partial(measurement, outcome, None)
        self._work_waits()

    def _on_left_out(self, run_uid: str, reason: str) -> None:
        _tell(self._audience.left_out, run_uid, reason)

    def _publish_partial(
        self,
        measurement: Measurement,
        outcome: NormalisedSpectrum | Rejected,
        inversion: Inversion | None,
    ) -> None:
        _tell(self._audience.partials, measurement, outcome, inversion)

    def _publish_inverted(self, job: Job, inversion: Inversion) -> None:
        if self._audience.answers:
            degraded = DEGRADED in inversion.flags
            answered = replace(job, inverted=time.time())
            row = row_of(answered, status=State.DEGRADED if degraded else State.COMPLETE)
            _tell(self._audience.answers, replace(row, inversion=inversion))

    def _on_failed(self, job: Job, error: str) -> None:
        if job.part_of is None:
            self._publish(row_of(job, status=State.FAILED, error=error))
            return
        logger.error(
            "run %s: the pixels %s of its map failed: %s",
            *(job.place.run_uid, job.place.spectrum, error),
            extra={"run_uid": job.place.run_uid},
        )
        self._close(job.key)

    def _publish_map(self, key: str, row: MapRow) -> None:
        _tell(self._audience.maps, row)
        self._work_waits()  # the end of a map waits for its last block
        if row.status is MapStatus.COMPLETE:
            self._drawer.ring()
        self._close(key)

    def _close(self, key: str) -> None:
        with self._changed:
            self._open.discard(key)
            self._changed.notify_all()

    def _publish(self, row: Row) -> None:
        self.metrics.count(row)
        _tell(self._audience.rows, row)
        with self._changed:
            if row.status is not State.DEGRADED:
                self._open.discard(row.key)
            self._changed.notify_all()


def _tell(listeners: Iterable[Callable[..., None]], *news: object) -> None:
    for listener in listeners:
        try:
            listener(*news)
        except Exception:  # who watches must not harm the work
            logger.exception("a listener raised")
