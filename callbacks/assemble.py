"""Documents of any number of interleaved runs into measurements, one per finished spectrum.

event-model's ``RunRouter`` is not used: it raises for a document whose start or descriptor was
lost, and a live bus loses those of every run that began before we listened.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.documents import (
    Datum,
    Descriptor,
    Document,
    DocumentError,
    Event,
    Resource,
    Start,
    Stop,
    StreamDatum,
    StreamResource,
    parse,
)
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Gap, Measurement
from nearedge.callbacks.open_run import Ending, OpenRun
from nearedge.callbacks.recognise import Darks

logger = logging.getLogger(__name__)

MAX_OPEN_RUNS = 256
"""With more runs than this at once, the one that was silent longest is closed."""
MAX_ORPHANS = 2_000
"""As many documents wait for a descriptor or a file's document that has not come yet."""
PARTIAL_SHARE = 0.1
"""At most so much of the time goes into the partial measurements of a run."""
MAX_REMEMBERED = 100_000
"""As many names of finished runs and their parts are remembered, to know late documents."""


class Assembler:
    """Makes measurements of documents: call it with every ``(name, doc)``, from one thread.

    It never raises for what a document says. What cannot be used goes to ``on_discard``, what is
    known to be missing to ``on_gap``, and a spectrum that lacks some of it is flagged.

    Memory is bounded by ``MAX_OPEN_RUNS``, ``MAX_ORPHANS`` and, for each stream, by
    ``MAX_READINGS`` and ``MAX_NUMBERS`` of ``nearedge.callbacks.readings``; a run is freed when it
    ends.

    Parameters
    ----------
    instrument
        What the profile says.
    emit
        Gets every measurement: final ones once, and partial ones of running step scans.
    emit_block
        Gets the pixels of runs that are maps as they come, and at the end of each run what the map
        has become. They are cut when documents come and when `flush` is called.
    on_gap
        Gets what a run lacks, when it ends.
    on_discard
        Gets a short reason for counting, and the uid of the run or else of the document, for every
        document that was not used: ``malformed``, ``duplicate``, ``orphan``, ``run-finished``,
        ``too-many-readings``; ``scalars-left-out`` for one of whose numbers some are not carried
        along; ``no-spectrum`` for a run without any of the profile's streams; ``no-energy-scan``
        for a count or an alignment scan.
    on_end
        Gets the uid of every run that has ended, after its measurements, and whether all of it has
        come.
    later
        Gets a long run's uid and what ends it, to be called once, in any thread, after which
        ``emit``, ``on_gap``, ``on_discard`` and ``on_end`` have been called in it; nothing else of
        the assembler waits for that. None: every run ends at its stop document.
    clock
        Seconds, for ``expire`` and the pace of partial measurements.
    darks
        The dark runs seen so far; several assemblers may share them.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        emit: Callable[[Measurement], None],
        emit_block: Callable[[Block | MapEnd], None] = lambda block: None,
        on_gap: Callable[[Gap], None] = lambda gap: None,
        on_discard: Callable[[str, str], None] = lambda reason, uid: None,
        on_end: Callable[[str, bool], None] = lambda uid, whole: None,
        later: Callable[[str, Callable[[], None]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        darks: Darks | None = None,
    ) -> None:
        self._instrument = instrument
        self._emit, self._emit_block = emit, emit_block
        self._on_gap = on_gap
        self._on_discard = on_discard
        self._on_end = on_end
        self._later = later
        self._clock = clock
        self._darks = Darks() if darks is None else darks
        self._runs: dict[str, OpenRun] = {}
        self._touched_at: dict[str, float] = {}
        self._partial_due: dict[str, float] = {}
        self._run_of = Names(MAX_REMEMBERED)
        self._finished = Names(MAX_REMEMBERED)
        self._orphans = Orphans()

    @property
    def open_runs(self) -> tuple[str, ...]:
        """The uids of the runs that have begun and not ended."""
        return tuple(self._runs)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document."""
        try:
            documents = parse(name, doc)
        except DocumentError as error:
            self._discard("malformed", _uid_in(doc), str(error))
            return
        for document in documents:
            self._take(document, doc)

    def flush(self) -> None:
        """Let the pixels go on that have waited long enough."""
        now = self._clock()
        for run in list(self._runs.values()):
            for block in run.blocks(now):
                self._emit_block(block)

    def close(self, run_uid: str | None = None) -> None:
        """End a run, or all, that will get no stop document: what there is goes out, flagged."""
        for uid in [run_uid] if run_uid else list(self._runs):
            if uid in self._runs:
                self._end(self._runs[uid], Ending())
        if run_uid is None:
            self._report_orphans(self._orphans.older_than(float("inf")))

    def expire(self, older_than_s: float) -> tuple[str, ...]:
        """Close the runs that were silent for so long, and return their uids."""
        limit = self._clock() - older_than_s
        silent = tuple(uid for uid, touched in self._touched_at.items() if touched < limit)
        for uid in silent:
            self.close(uid)
        self._report_orphans(self._orphans.older_than(limit))
        return silent

    def forget(self, run_uid: str) -> None:
        """Let a run come again from its start, for a back-fill from the catalog."""
        self._free(run_uid)
        self._finished.remove(run_uid)

    def drop(self, run_uid: str) -> None:
        """End a run of which nothing is wanted any more, since all of it came another way."""
        self._free(run_uid)
        self._finished.add(run_uid, run_uid)

    def _take(self, document: Document, raw: Mapping[str, Any]) -> None:
        for parent in _parents(document):
            if not self._has_come(parent):
                overflow = self._orphans.add(parent, document, at=self._clock())
                self._report_orphans(overflow)
                return
        uid = self._run_uid(document)
        if self._finished.get(uid) is not None:
            self._discard("run-finished", uid, type(document).__name__)
        elif isinstance(document, Stop):
            self._stop(document)
        else:
            self._pass_on(document, raw, self._open(uid))

    def _has_come(self, parent: str) -> bool:
        uid = self._run_of.get(parent)
        if uid is None or self._finished.get(uid) is not None:
            return uid is not None
        # a run that was forgotten comes again from its start
        return uid in self._runs and self._runs[uid].knows(parent)

    def _run_uid(self, document: Document) -> str:
        match document:
            case Start():
                return document.uid
            case Descriptor() | StreamResource() | Resource() | Stop():
                return document.run_start
        return self._run_of.get(_parents(document)[0]) or ""

    def _pass_on(self, document: Document, raw: Mapping[str, Any], run: OpenRun) -> None:
        if isinstance(document, Start):
            refused = run.begin(document, raw=raw, now=self._clock())
        else:
            refused = run.take(document, now=self._clock())
        if refused:
            self._discard(refused, run.uid, repr(document)[:200])
        for measurement in run.finished():
            self._emit(measurement)
        for block in run.blocks(self._clock()):
            self._emit_block(block)
        if isinstance(document, Descriptor | StreamResource | Resource):
            self._run_of.add(document.uid, run.uid)
            for orphan in self._orphans.pop(document.uid):
                self._take(orphan, {})
        if isinstance(document, Event):
            self._show_partial(run)

    def _show_partial(self, run: OpenRun) -> None:
        every, now = self._instrument.partial_every_s, self._clock()
        # the first is due when the scan has run that long, not at its first point
        due = self._partial_due.setdefault(run.uid, now + every)
        if every <= 0 or now < due:
            return
        measurement = run.partial()
        if measurement is not None:
            self._emit(measurement)
        # from its end, and the later the longer it took: the documents of other runs wait behind it
        ended = self._clock()
        self._partial_due[run.uid] = ended + max(every, (ended - now) * (1 / PARTIAL_SHARE - 1))

    def _open(self, uid: str) -> OpenRun:
        run = self._runs.get(uid)
        if run is None:
            if len(self._runs) >= MAX_OPEN_RUNS:
                self.close(min(self._touched_at, key=self._touched_at.__getitem__))
            run = OpenRun(uid, instrument=self._instrument, darks=self._darks)
            self._runs[uid] = run
        self._touched_at[uid] = self._clock()
        return run

    def _stop(self, doc: Stop) -> None:
        counts = {k: n for k, n in doc.num_events.items() if isinstance(n, int) and n >= 0}
        success = doc.exit_status == "success"
        ending = Ending(time=doc.time, success=success, num_events=counts)
        self._end(self._open(doc.run_start), ending)

    def _end(self, run: OpenRun, ending: Ending) -> None:
        self.drop(run.uid)  # a run that cannot be ended must not stay, to be ended again and again
        if self._later is not None and run.is_long:
            self._later(run.uid, partial(self._finish, run, ending))
        else:
            self._finish(run, ending)

    def _finish(self, run: OpenRun, ending: Ending) -> None:
        """Give out what is left of a run; this may run in another thread than all else."""
        gaps = run.gaps(ending)
        for detail in gaps:
            self._gap(run.uid, detail)
        for what in run.end(ending):
            if isinstance(what, Measurement):
                self._emit(what)
            else:
                self._emit_block(what)
        if run.run is not None and not run.sent:
            self._leave_out(run)
        self._on_end(run.uid, not gaps)

    def _leave_out(self, run: OpenRun) -> None:
        """Count a run that holds no spectrum."""
        if not run.left_out:
            self._discard("no-spectrum", run.uid, "none of the profile's streams came")
            return
        start = run.run.start if run.run else {}
        logger.info(
            "run %s (scan %s, plan %s) scanned no energy: it is left out",
            *(run.uid, start.get("scan_id"), start.get("plan_name")),
            extra={"run_uid": run.uid},
        )
        self._on_discard("no-energy-scan", run.uid)

    def _free(self, uid: str) -> None:
        self._runs.pop(uid, None)
        self._touched_at.pop(uid, None)
        self._partial_due.pop(uid, None)

    def _report_orphans(self, orphans: Mapping[str, int]) -> None:
        for parent, count in orphans.items():
            for _ in range(count):
                self._discard("orphan", parent, "the document that it refers to never came")
            self._gap(parent, f"{count} documents came that refer to {parent}, which never came")

    def _discard(self, reason: str, uid: str, detail: str) -> None:
        logger.debug("document of %s discarded (%s): %s", uid or "no run", reason, detail)
        self._on_discard(reason, uid)

    def _gap(self, uid: str, detail: str) -> None:
        logger.warning("gap in run %s: %s", uid, detail)
        self._on_gap(Gap(run_uid=uid, detail=detail))


class Names:
    """Names and what they stand for; of too many, those added first are forgotten."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._names: OrderedDict[str, str] = OrderedDict()

    def add(self, name: str, meaning: str) -> None:
        """Remember a name."""
        self._names[name] = meaning
        while len(self._names) > self._size:
            self._names.popitem(last=False)

    def get(self, name: str) -> str | None:
        """Return what a name stands for, or None."""
        return self._names.get(name)

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._names.pop(name, None)


class Orphans:
    """Documents that wait for the one they refer to."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[Document]] = OrderedDict()
        self._since: dict[str, float] = {}
        self._count = 0

    def add(self, parent: str, document: Document, *, at: float) -> dict[str, int]:
        """Keep a document, and return how many were let go for each parent to make room."""
        self._waiting.setdefault(parent, []).append(document)
        self._since[parent] = at
        self._count += 1
        dropped: dict[str, int] = {}
        while self._count > MAX_ORPHANS:
            oldest = next(iter(self._waiting))
            dropped[oldest] = len(self.pop(oldest))
        return dropped

    def pop(self, parent: str) -> list[Document]:
        """Return those that wait for ``parent``, which has come."""
        self._since.pop(parent, None)
        documents = self._waiting.pop(parent, [])
        self._count -= len(documents)
        return documents

    def older_than(self, limit: float) -> dict[str, int]:
        """Let go of those to which none was added since; return how many for each parent."""
        stale = [parent for parent, since in self._since.items() if since < limit]
        return {parent: len(self.pop(parent)) for parent in stale}


def _parents(document: Document) -> tuple[str, ...]:
    """Return the uids of the documents that must have come before, other than the start."""
    match document:
        case Event():
            return (document.descriptor,)
        case StreamDatum():
            return (document.descriptor, document.stream_resource)
        case Datum():
            return (document.resource,)
    return ()


def _uid_in(doc: Any) -> str:
    """Return what a malformed document says of where it belongs, for the log."""
    found: Iterable[Any] = (
        (doc.get(key) for key in ("run_start", "descriptor", "uid"))
        if isinstance(doc, Mapping)
        else ()
    )
    return next((uid[:200] for uid in found if isinstance(uid, str)), "")
