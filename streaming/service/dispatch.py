"""Hand queued spectra to the worker and keep its answers in the ledger."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Quality
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.many_spectra import Spectra
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.job import Job, State
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.service.map_work import MapWork
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.service.writing import may_pass
from nearedge.streaming.settings import profile
from nearedge.streaming.workers.worker import WorkerDied, WorkerError, WorkerUnavailable

logger = logging.getLogger(__name__)

OnPartial = Callable[[Measurement, NormalisedSpectrum, Inversion], None]
OnInverted = Callable[[Job, Inversion], None]

LOOK_S = 2.0  # another process may have queued or retried something
UNAVAILABLE_S = 5.0
LEASE_MARGIN_S = 60.0
FEWEST_SAMPLES = 4
DEGRADED = State.DEGRADED.value
"""The flag of a quick answer."""


class InvertingWorker(Protocol):
    """What dispatching needs of the worker."""

    blocks_at_once: int
    """Blocks of maps that it can answer at a time."""

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        keys: Sequence[str] | None = None,
        samples: int | None = None,
        quality: Quality | None = None,
    ) -> list[Inversion]:
        """Return one inversion per spectrum; raise as `nearedge.streaming.workers.worker` does."""

    def answer_pixels(self, blocks: Sequence[Spectra], *, instrument: str) -> list[PixelAnswers]:
        """Return the answers of the heads to the pixels of some blocks."""


class Dispatch:
    """The step of the dispatch loop.

    Parameters
    ----------
    ledger, worker, settings, metrics
        Where the work is, who does it, how much at once and how often.
    on_answer
        Called when an answer is ready to be written.
    on_failed
        Called with each job that has failed for good, and its error.
    on_partial
        Called with the quick answer to a spectrum that still grows.
    on_inverted
        Called with each job that has its answer, before the catalog has it.
    maps
        What is to be done with rows of maps; None: there are none.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        worker: InvertingWorker,
        settings: profile.WorkerSettings,
        metrics: Metrics,
        on_answer: Callable[[], None],
        on_failed: Callable[[Job, str], None],
        on_partial: OnPartial = lambda measurement, spectrum, inversion: None,
        on_inverted: OnInverted = lambda job, inversion: None,
        maps: MapWork | None = None,
    ) -> None:
        self._queue, self._partials = ledger.queue, ledger.partials
        self._worker, self._settings = worker, settings
        self._metrics, self._on_answer, self._on_failed = metrics, on_answer, on_failed
        self._on_partial, self._on_inverted = on_partial, on_inverted
        self._maps = maps
        self._stopping = False

    def stop(self) -> None:
        """Hand back, from now on, what the worker does not finish."""
        self._stopping = True

    def step(self) -> float:
        """Invert one batch; return when to look again, s."""
        if expired := self._queue.requeue_expired(attempts=self._settings.attempts):
            logger.warning("%d spectra were held too long and are tried again", expired)
        if jobs := self._claim(live=True):
            return self._invert(jobs, degraded=self._is_late(jobs))
        if partial := self._partials.take():
            wait_s = self._answer_partial(partial)
            if wait_s:
                return wait_s
        jobs = self._claim(live=False)  # a scan that runs does not starve what was missed
        if jobs:
            return self._invert(jobs, degraded=False)
        return LOOK_S if partial is None else 0

    def _claim(self, *, live: bool) -> list[Job]:
        lease_s = self._settings.timeout_s + LEASE_MARGIN_S
        batch, blocks = self._settings.batch, self._worker.blocks_at_once
        return self._queue.claim(batch, lease_s=lease_s, live=live, blocks=blocks)

    def _is_late(self, jobs: list[Job]) -> bool:
        limit_s = self._settings.degrade_after_s
        return limit_s is not None and max(job.waited_s for job in jobs) > limit_s

    def _answer_partial(self, payload: bytes) -> float:
        """Give a quick answer to a spectrum that still grows; one that fails is dropped."""
        partial = unpack(payload)
        measurement, spectrum = partial["measurement"], partial["outcome"]
        try:
            (answer,) = self._worker.invert([spectrum], seeds=[0], quality=Quality.FAST)
        except WorkerError as e:
            run = measurement.run.uid
            logger.warning("run %s: no partial answer: %s", run, e, extra={"run_uid": run})
            self._metrics.retries.labels("partial").inc()
            return UNAVAILABLE_S if isinstance(e, WorkerUnavailable) else 0
        self._on_partial(measurement, spectrum, answer)
        return 0

    def _invert(self, jobs: list[Job], *, degraded: bool) -> float:
        if jobs[0].part_of is not None:
            return self._answer_map(jobs)
        try:
            for job, answer in zip(jobs, self._answers(jobs, degraded=degraded), strict=True):
                if self._queue.store(job, pack(answer), degraded=degraded):
                    self._on_inverted(job, answer)
        except WorkerUnavailable as e:
            return self._wait_for_worker(jobs, e)
        except Exception as e:  # whatever it is, the jobs must not stay held
            self._blame(jobs, e)
        self._on_answer()
        return 0

    def _answer_map(self, jobs: list[Job]) -> float:
        """Answer blocks of a map, or find the groups of one that has ended."""
        if self._maps is None:
            self._queue.hand_back(jobs)
            raise RuntimeError("the ledger has rows of a map, and nothing keeps maps here")
        try:
            for job, found in zip(jobs, self._maps.answer(jobs, self._worker), strict=True):
                self._queue.store(job, pack(found))
        except WorkerUnavailable as e:
            return self._wait_for_worker(jobs, e)
        except Exception as e:  # whatever it is, the jobs must not stay held
            if may_pass(e):  # of the catalog, out of which the end of a map is read
                self._queue.hand_back(jobs)
                logger.warning("a map cannot be read from the catalog yet: %s", told(e))
                return UNAVAILABLE_S
            self._blame(jobs, e)
        self._on_answer()
        return 0

    def _answers(self, jobs: list[Job], *, degraded: bool) -> list[Inversion]:
        keys = [job.key for job in jobs]
        spectra, seeds = [spectrum_of(job) for job in jobs], [seed_of(key) for key in keys]
        if not degraded:
            return self._worker.invert(spectra, seeds=seeds, keys=keys)
        samples = min(self._settings.samples, max(FEWEST_SAMPLES, self._settings.samples // 4))
        logger.warning("%d spectra waited too long and get a quick answer first", len(jobs))
        answers = self._worker.invert(
            spectra, seeds=seeds, keys=keys, samples=samples, quality=Quality.FAST
        )
        return [replace(answer, flags=(*answer.flags, DEGRADED)) for answer in answers]

    def _wait_for_worker(self, jobs: list[Job], error: Exception) -> float:
        logger.error("%s; %d spectra wait", error, len(jobs))
        self._metrics.errors.labels("worker").inc()
        self._queue.hand_back(jobs)
        return UNAVAILABLE_S

    def _blame(self, jobs: list[Job], error: Exception) -> None:
        """Find the culprit: a batch is tried again one by one, a single one has its try counted."""
        if self._stopping and isinstance(error, WorkerDied):
            self._queue.hand_back(jobs)
            return
        text = f"{type(error).__name__}: {error}"
        self._metrics.retries.labels("invert").inc()
        for job in jobs:
            run_uid = job.place.run_uid
            logger.warning(
                "run %s: inverting failed: %s", run_uid, text, extra={"run_uid": run_uid}
            )
        if len(jobs) > 1:
            self._queue.split(jobs, text)
        else:
            self._count_try(jobs[0], text)

    def _count_try(self, job: Job, text: str) -> None:
        attempts = self._settings.attempts
        if self._queue.fail(job, text, attempts=attempts) and job.attempts + 1 >= attempts:
            logger.error(
                "spectrum %s of run %s failed after %d tries: %s",
                job.place.spectrum,
                job.place.run_uid,
                attempts,
                text,
                extra={"run_uid": job.place.run_uid},
            )
            self._on_failed(job, text)


def spectrum_of(job: Job) -> NormalisedSpectrum:
    """Return the spectrum that a queued job is to have inverted.

    Raises
    ------
    TypeError
        If its payload holds none.
    """
    outcome = unpack(job.payload or b"")["outcome"]
    if not isinstance(outcome, NormalisedSpectrum):
        raise TypeError(f"a queued spectrum holds {type(outcome).__name__}")
    return outcome
