"""From documents to rows of the ledger: assemble, reduce, normalise, submit."""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import stamina

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Gap, Measurement
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.streaming.job import Place
from nearedge.streaming.ledger import Ledger
from nearedge.streaming.metrics import Metrics
from nearedge.streaming.packing import pack
from nearedge.streaming.prepare import Supports, prepare

logger = logging.getLogger(__name__)

OnPartial = Callable[[Measurement, NormalisedSpectrum | Rejected], None]


class Intake:
    """Feeds one assembler and puts what it emits into the ledger.

    Parameters
    ----------
    instrument
        How documents become spectra.
    ledger, metrics
        Where spectra go, and what is counted.
    key
        Names the result of a measurement.
    supports
        Whether the model knows an absorber and edge.
    live
        Whether measurements have just ended, so that their age counts as latency.
    on_submit
        Called with the key of every finished measurement, and whether it was new.
    on_partial
        Called with every measurement that still grows, and what it is so far; None: they are
        dropped.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        ledger: Ledger,
        metrics: Metrics,
        key: Callable[[Measurement], str],
        supports: Supports,
        live: bool,
        on_submit: Callable[[str, bool], None],
        on_partial: OnPartial | None = None,
    ) -> None:
        self._instrument, self._ledger, self._metrics = instrument, ledger, metrics
        self._key, self._supports, self._live = key, supports, live
        self._on_submit, self._on_partial = on_submit, on_partial
        self._assembler = Assembler(
            instrument, emit=self.take, on_gap=self.note_gap, on_discard=self.note_discard
        )

    def feed(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document; a bad one is logged and counted, and never raises."""
        self._metrics.documents.labels(name).inc()
        try:
            self._assembler(name, doc)
        except Exception:  # one document must not end the service
            self._metrics.bad_documents.labels(name).inc()
            logger.exception("a %s document raised: %.300r", name, doc)

    def end(self) -> None:
        """End the runs that are open: no more documents will come."""
        self._assembler.close()

    def note_discard(self, reason: str, uid: str) -> None:
        """Log and count a document that was not used."""
        self._metrics.discarded.labels(reason).inc()
        logger.debug("a document of %s was not used: %s", uid, reason, extra={"run_uid": uid})

    def note_gap(self, gap: Gap) -> None:
        """Log and count what is missing of a run."""
        self._metrics.gaps.inc()
        extra = {"run_uid": gap.run_uid}
        logger.warning("run %s: documents are missing: %s", gap.run_uid, gap.detail, extra=extra)

    def take(self, measurement: Measurement) -> None:
        """Submit a finished measurement, or its rejection; show one that still grows."""
        if measurement.final:
            self._submit(measurement)
        elif self._on_partial is not None:
            self._show(measurement, self._on_partial)

    def _show(self, measurement: Measurement, on_partial: OnPartial) -> None:
        outcome = prepare(measurement, self._instrument, supports=self._supports)
        if not isinstance(outcome, Rejected):
            payload = pack({"measurement": measurement, "outcome": outcome})
            self._ledger.put_partial(place_of(measurement), payload)
        on_partial(measurement, outcome)

    def _submit(self, measurement: Measurement) -> None:
        key = self._key(measurement)
        outcome = prepare(measurement, self._instrument, supports=self._supports)
        rejected = isinstance(outcome, Rejected)
        put = self._ledger.reject if rejected else self._ledger.submit
        payload = pack({"measurement": measurement, "outcome": outcome})
        ended = measurement.time if self._live else None
        for attempt in stamina.retry_context(
            on=sqlite3.OperationalError, attempts=None, timeout=None, wait_max=5.0
        ):
            with attempt:  # a full disk: the spectrum waits here, the documents in the source
                new = put(key, place_of(measurement), payload, ended=ended)
        self._count(measurement, outcome, new=new)
        self._on_submit(key, new)

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
            logger.warning(
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


def place_of(measurement: Measurement) -> Place:
    """Return whose spectrum it is."""
    return Place(
        run_uid=measurement.run.uid,
        scan_id=measurement.run.scan_id,
        stream=measurement.stream,
        spectrum=measurement.spectrum,
    )
