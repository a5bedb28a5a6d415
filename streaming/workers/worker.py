"""The process that owns the device and the model, seen from the service.

The service never imports torch: it sends packed spectra through a pipe and gets packed inversions.
A worker that dies, hangs or stops beating is killed, and the next batch starts another.
"""

import logging
import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from nearedge.models import Inversion, Inverts, NormalisedSpectrum, Quality
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.many_spectra import Spectra
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.settings import profile
from nearedge.streaming.workers.pixels import AnswersPixels, answer_block

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 180.0  # loading torch and the weights from a cold disk
BEAT_S = 0.5
BEAT_LOST_S = 30.0
EXIT_S = 2.0


class WorkerError(RuntimeError):
    """An inversion that raised in the worker; the worker itself goes on."""


class WorkerDied(WorkerError):  # noqa: N818 - what happened
    """A worker that died, hung or was closed while it had work."""


class WorkerUnavailable(WorkerError):  # noqa: N818 - what happened
    """A worker that cannot start: no spectrum is to blame."""


Load = Callable[[profile.WorkerSettings], Inverts]


def load_inverter(settings: profile.WorkerSettings) -> Inverts:
    """Load the model on its device; this imports torch."""
    # threads that wait by spinning cost ten times the work itself when other processes want the
    # cores; OpenMP reads this once, when torch brings it in
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from nearedge.models.answering.several import Several

    inverter: Inverts = Several.load(
        settings.model, device=settings.device, threads=settings.threads
    )
    return inverter


def asked_of(
    settings: profile.WorkerSettings,
    *,
    samples: int | None,
    quality: Quality | None,
    timeout_s: float | None,
) -> profile.WorkerSettings:
    """Return the settings with what one call asks for in their place; None asks for nothing."""
    asked = {"samples": samples, "quality": quality, "timeout_s": timeout_s}
    return settings.model_copy(update={k: v for k, v in asked.items() if v is not None})


class Worker:
    """The worker process of one model and device.

    Parameters
    ----------
    settings
        Device, threads, model and sampling.
    load
        What the process calls first; a function of a module, since the process imports it anew.
    start_timeout_s
        Time for the process to import torch and load the model, s.
    beat_lost_s
        Silence after which a process counts as stuck, s.

    Attributes
    ----------
    restarts
        How often a process had to be replaced.
    blocks_at_once
        Blocks of maps that are answered at a time.
    """

    blocks_at_once = 1

    def __init__(
        self,
        settings: profile.WorkerSettings,
        *,
        load: Load = load_inverter,
        start_timeout_s: float = START_TIMEOUT_S,
        beat_lost_s: float = BEAT_LOST_S,
    ) -> None:
        self._settings, self._load = settings, load
        self._start_timeout_s, self._beat_lost_s = start_timeout_s, beat_lost_s
        self._context = mp.get_context("spawn")
        self._beat = self._context.RawValue("d", 0.0)
        self._process: Any = None
        self._pipe: Connection | None = None
        self._ready = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._busy = threading.Lock()
        self.restarts = -1

    @property
    def pid(self) -> int | None:
        """Process id, or None when none runs."""
        return self._process.pid if self._process is not None else None

    @property
    def beat_age_s(self) -> float | None:
        """Seconds since the process last showed life, or None before it first did."""
        return time.monotonic() - self._beat.value if self._beat.value else None

    @property
    def is_busy(self) -> bool:
        """Whether a batch is with it."""
        return self._busy.locked()

    @property
    def problem(self) -> str | None:
        """Why no spectrum can be inverted now, or None."""
        if self.pid is None:
            return "no worker process runs"
        age = self.beat_age_s
        if age is not None and age > self._beat_lost_s:
            return f"the worker has shown no life for {age:.0f} s"
        return None

    def start(self) -> None:
        """Start the process and return at once; it loads the model meanwhile."""
        with self._lock:
            if self._process is None and not self._closed.is_set():
                self._spawn()

    def _spawn(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._beat.value = 0.0
        self._ready = False
        self._process = self._context.Process(
            target=serve,
            args=(theirs, self._beat, self._settings, self._load),
            name="nearedge-worker",
            daemon=True,
        )
        with _interrupts_blocked():
            self._process.start()
        theirs.close()
        self.restarts += 1

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        keys: Sequence[str] | None = None,
        samples: int | None = None,
        quality: Quality | None = None,
        timeout_s: float | None = None,
    ) -> list[Inversion]:
        """Return one inversion per spectrum.

        Parameters
        ----------
        spectra
            What to invert together.
        seeds
            One per spectrum.
        keys
            The keys of the results; not needed here, where everything asked for is calculated.
        samples, quality, timeout_s
            Instead of the settings'.

        Raises
        ------
        WorkerError
            If the inversion raised.
        WorkerDied
            If the process died, took longer than the time limit, or was closed.
        WorkerUnavailable
            If no process could load the model.
        """
        asked = asked_of(self._settings, samples=samples, quality=quality, timeout_s=timeout_s)
        question = {
            "spectra": list(spectra),
            "seeds": list(seeds),
            "samples": asked.samples,
            "quality": asked.quality,
        }
        inversions: list[Inversion] = self._answer_to(question, asked.timeout_s)["inversions"]
        return inversions

    def answer_pixels(self, blocks: Sequence[Spectra], *, instrument: str) -> list[PixelAnswers]:
        """Return the answers of the heads to the pixels of some blocks.

        Parameters
        ----------
        blocks
            The spectra of each.
        instrument
            How to normalise them, as JSON.

        Raises
        ------
        WorkerError
            As for `invert`.
        """
        limit_s = self._settings.timeout_s
        return [
            self._answer_to({"pixels": one, "instrument": instrument}, limit_s)["answers"]
            for one in blocks
        ]

    def _answer_to(self, question: dict[str, Any], limit_s: float) -> dict[str, Any]:
        with self._busy:
            self._make_ready()
            answer = self._ask(pack(question), limit_s)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, at once if it is at work; a closed worker does not start again."""
        self._closed.set()
        if not self._busy.locked():
            self._let_go()
        self._end()

    def _let_go(self) -> None:
        """Let an idle process end by itself, so that what it imported can tidy up."""
        with self._lock:
            process, pipe = self._process, self._pipe
        if process is not None and pipe is not None:
            pipe.close()
            process.join(EXIT_S)

    def _make_ready(self) -> None:
        self.start()
        if self._ready:
            return
        try:
            answer = self._receive(self._start_timeout_s)
        except WorkerDied as e:
            raise self._unless_closed(WorkerUnavailable(f"the worker did not start: {e}")) from e
        if "error" in answer:
            self._end()
            raise WorkerUnavailable(
                f"the worker cannot load {self._settings.model!r}: {answer['error']}"
            )
        self._ready = True

    def _ask(self, question: bytes, limit_s: float) -> dict[str, Any]:
        self._check_beat()  # a process that stands still would not empty the pipe
        try:
            if self._pipe is not None:
                self._pipe.send_bytes(question)
        except OSError as e:
            raise self._died("died before it got the batch") from e
        return self._receive(limit_s)

    def _receive(self, limit_s: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = unpack(self._wait_for_bytes(limit_s))
        except (EOFError, OSError) as e:
            raise self._died("died") from e
        return answer

    def _wait_for_bytes(self, limit_s: float) -> bytes:
        pipe = self._pipe
        if pipe is None:
            raise EOFError
        deadline = time.monotonic() + limit_s
        while (left := deadline - time.monotonic()) > 0:
            if wait([pipe], timeout=min(left, self._beat_lost_s)):
                return pipe.recv_bytes()
            self._check_beat()
        raise self._died(f"gave no answer within {limit_s:g} s")

    def _check_beat(self) -> None:
        age = self.beat_age_s
        if age is not None and age > self._beat_lost_s:
            raise self._died(f"showed no life for {age:.0f} s")

    def _died(self, what: str) -> WorkerError:
        code = self._end()
        how = f" ({_how_it_ended(code)})" if code is not None else ""
        return self._unless_closed(WorkerDied(f"the worker {what}{how}"))

    def _unless_closed(self, error: WorkerError) -> WorkerError:
        return WorkerDied("the worker was closed") if self._closed.is_set() else error

    def _end(self) -> int | None:
        """Kill the process; return its exit code when it had ended by itself."""
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process, self._pipe, self._ready = None, None, False
        if process is None:
            return None
        process.join(0 if self._closed.is_set() else 0.05)  # time to tell how it ended
        code: int | None = process.exitcode
        process.kill()
        process.join(EXIT_S)
        if pipe is not None:
            pipe.close()
        if process.exitcode is not None:
            process.close()
        return code


def _how_it_ended(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process that is started here not end on Ctrl-C before it can say so itself.

    It takes over the mask of this thread; the service is told of Ctrl-C by another, or later.
    """
    resource_tracker.ensure_running()  # its start would unblock them again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- inside the worker process ------------------------------------------------------------------


def serve(pipe: Connection, beat: Any, settings: profile.WorkerSettings, load: Load) -> None:
    """Load the model and answer batches until the service closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which closes us
    threading.Thread(target=_beat_until_orphaned, args=(beat,), daemon=True).start()
    try:
        inverter = load(settings)
    except Exception as e:
        logger.exception("cannot load the model %s", settings.model)
        pipe.send_bytes(pack({"error": _describe(e)}))
        return
    try:
        pipe.send_bytes(pack({"ready": True}))
        while True:
            pipe.send_bytes(pack(_answer(inverter, unpack(pipe.recv_bytes()))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(inverter: Inverts, question: dict[str, Any]) -> dict[str, Any]:
    try:
        if "pixels" in question:
            model = cast(AnswersPixels, inverter)
            return {"answers": answer_block(model, question["pixels"], question["instrument"])}
        return {"inversions": list(inverter.invert(question.pop("spectra"), **question))}
    except Exception as e:  # the one broad catch of this process: the batch is answered, not lost
        logger.exception("an inversion failed")
        return {"error": _describe(e)}


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _beat_until_orphaned(beat: Any) -> None:
    parent = mp.parent_process()
    while parent is not None:
        beat.value = time.monotonic()
        if wait([parent.sentinel], timeout=BEAT_S):
            os._exit(1)  # the service is gone, and the main thread may compute for long
