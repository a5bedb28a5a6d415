"""Workers on other machines: a client of a Dask scheduler, in the place of the worker process.

Each spectrum is a task whose key is the key of its result, so that one asked for twice is
calculated once. A worker that dies has its tasks run again by the scheduler; when the scheduler
dies, the ledger has them and they are sent again.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, cast
from uuid import uuid4

from nearedge.models import Inversion, Inverts, NormalisedSpectrum, Quality
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.many_spectra import Spectra
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.exposure import scheduler_exposure
from nearedge.streaming.workers.pixels import AnswersPixels, answer_block
from nearedge.streaming.workers.worker import (
    Load,
    WorkerDied,
    WorkerError,
    WorkerUnavailable,
    asked_of,
    load_inverter,
)

logger = logging.getLogger(__name__)

# of distributed, which is loaded only when it is used
Client: TypeAlias = Any
Future: TypeAlias = Any

CONNECT_S = 5.0
LOOK_S = 0.02


class DaskWorker:
    """The workers of a Dask scheduler; used as `nearedge.streaming.workers.worker.Worker` is.

    Parameters
    ----------
    settings
        Scheduler, device, model and sampling.
    load
        What each worker calls once; a function of a module that the workers can import.
    models
        Digests of the weights that the workers must have, one of which each answer names; none:
        any.
    connect_s
        Time to reach the scheduler, s.

    Attributes
    ----------
    restarts
        How often the scheduler had to be connected anew.
    blocks_at_once
        Blocks of maps that are sent at a time, for all workers of the scheduler.

    Raises
    ------
    ValueError
        If Dask is not installed, or the scheduler is one that must not be trusted.
    """

    def __init__(
        self,
        settings: profile.WorkerSettings,
        *,
        load: Load = load_inverter,
        models: Collection[str] = (),
        connect_s: float = CONNECT_S,
    ) -> None:
        if problem := unusable(settings):
            raise ValueError(problem)
        self._settings, self._load, self._connect_s = settings, load, connect_s
        self._models = tuple(models)
        self.blocks_at_once = settings.batch
        self._client: Client | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._busy = threading.Lock()
        self.restarts = -1

    @property
    def pid(self) -> int | None:
        """Always None: the processes are on other machines."""
        return None

    @property
    def beat_age_s(self) -> float | None:
        """Always None: Dask itself watches over the workers."""
        return None

    @property
    def problem(self) -> str | None:
        """Why no spectrum can be inverted now, or None."""
        client = self._client
        if client is not None and client.status == "running":
            return None
        return f"the Dask scheduler {self._settings.scheduler} is not connected"

    @property
    def is_busy(self) -> bool:
        """Whether a batch is with the workers."""
        return self._busy.locked()

    def start(self) -> None:
        """Begin to connect, and return at once."""
        threading.Thread(target=self._try_to_connect, name="nearedge-dask", daemon=True).start()

    def _try_to_connect(self) -> None:
        try:
            self._connected()
        except Exception as e:  # the first batch tries again
            logger.warning("the Dask scheduler %s: %s", self._settings.scheduler, e)

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
        """Return one inversion per spectrum, each from any of the workers.

        Parameters
        ----------
        spectra
            What to invert.
        seeds, keys
            One of each per spectrum; without keys nothing is remembered under any.
        samples, quality, timeout_s
            Instead of the settings'.

        Raises
        ------
        WorkerError
            If an inversion raised.
        WorkerDied
            If workers died of it, it took longer than the time limit, or this was closed.
        WorkerUnavailable
            If there is no scheduler, or no worker with it.
        """
        settings = asked_of(self._settings, samples=samples, quality=quality, timeout_s=timeout_s)
        with self._busy, self._failing_as_a_worker_does():
            client = self._connected()
            futures = [
                client.submit(
                    answer,
                    pack({"spectrum": spectrum, "seed": seed}),
                    settings,
                    self._load,
                    key=task_key(key, settings=settings, usual=self._settings),
                    pure=False,
                    retries=0,
                )
                for spectrum, seed, key in zip(spectra, seeds, keys or _new_keys(), strict=False)
            ]
            try:
                return self._gather(client, futures, settings.timeout_s)
            finally:
                for future in futures:
                    future.release()

    def answer_pixels(self, blocks: Sequence[Spectra], *, instrument: str) -> list[PixelAnswers]:
        """Return the answers of the heads to the pixels of some blocks, each from any worker.

        Parameters and errors as for `nearedge.streaming.workers.worker.Worker.answer_pixels`.
        """
        with self._busy, self._failing_as_a_worker_does():
            client = self._connected()
            futures = [
                client.submit(
                    answer_pixels,
                    pack({"pixels": spectra, "instrument": instrument}),
                    self._settings,
                    self._load,
                    key=f"nearedge-{uuid4().hex}",
                    pure=False,
                    retries=0,
                )
                for spectra in blocks
            ]
            try:
                self._await(client, futures, self._settings.timeout_s)
                return [self._pixels(unpack(future.result())) for future in futures]
            finally:
                for future in futures:
                    future.release()

    def close(self) -> None:
        """Leave the scheduler, at once; tasks that nobody waits for are dropped by it."""
        self._closed.set()
        if not self._busy.locked():
            self._disconnect()

    def _connected(self) -> Client:
        import distributed

        with self._lock:
            if self._closed.is_set():
                raise WorkerDied("the worker was closed")
            if self._client is None:
                self._client = distributed.Client(  # type: ignore[no-untyped-call]
                    self._settings.scheduler,
                    timeout=self._connect_s,
                    set_as_default=False,
                    name="nearedge",
                )
                self.restarts += 1
                logger.info("connected to the Dask scheduler %s", self._settings.scheduler)
        if not self._client.nthreads():
            raise WorkerUnavailable(f"no worker is with {self._settings.scheduler}")
        return self._client

    def _disconnect(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # it is gone: there is nobody to say good-bye to
                client.close(timeout=1.0)

    def _gather(self, client: Client, futures: Sequence[Future], limit_s: float) -> list[Inversion]:
        self._await(client, futures, limit_s)
        return [self._inversion(unpack(future.result())) for future in futures]

    def _await(self, client: Client, futures: Sequence[Future], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not all(future.done() for future in futures):
            if self._closed.is_set():
                self._disconnect()
                raise WorkerDied("the worker was closed")
            if client.status != "running":
                raise ConnectionError("the connection is lost")
            if time.monotonic() > deadline:
                client.cancel(list(futures), force=True)
                if not client.nthreads():
                    raise WorkerUnavailable(f"no worker is with {self._settings.scheduler}")
                raise WorkerDied(f"the workers gave no answer within {limit_s:g} s")
            self._closed.wait(LOOK_S)

    def _inversion(self, answered: dict[str, Any]) -> Inversion:
        inversion: Inversion = _told(answered)["inversion"]
        self._refuse_others(inversion.model)
        return inversion

    def _pixels(self, answered: dict[str, Any]) -> PixelAnswers:
        answers: PixelAnswers = _told(answered)["answers"]
        if answers.model:  # else none of them could be read
            self._refuse_others(answers.model)
        return answers

    def _refuse_others(self, model: str) -> None:
        if self._models and model not in self._models:
            expected = " or ".join(one[:16] for one in self._models)
            raise WorkerUnavailable(
                f"a worker of {self._settings.scheduler} has the model {model[:16]}, "
                f"expected {expected}: install the same nearedge on all machines"
            )

    @contextmanager
    def _failing_as_a_worker_does(self) -> Iterator[None]:
        from distributed import KilledWorker

        try:
            yield
        except WorkerError:
            raise
        except KilledWorker as e:
            raise WorkerDied(f"workers died of it: {e}") from e
        except Exception as e:  # of Dask: connections, cancelled futures, time-outs
            self._disconnect()
            if self._closed.is_set():
                raise WorkerDied("the worker was closed") from e
            raise WorkerUnavailable(
                f"the Dask scheduler {self._settings.scheduler} cannot be used: "
                f"{type(e).__name__}: {e}"
            ) from e


def _told(answered: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker has answered, unless it was an error."""
    if "error" in answered:
        raise WorkerError(answered["error"])
    return answered


def task_key(
    key: str | None, *, settings: profile.WorkerSettings, usual: profile.WorkerSettings
) -> str:
    """Return the key of a task: that of the result, unless it makes another answer."""
    if key is None:
        return f"nearedge-{uuid4().hex}"
    if (settings.samples, settings.quality) == (usual.samples, usual.quality):
        return key
    return f"{key}-{settings.quality}-{settings.samples}"


def unusable(settings: profile.WorkerSettings) -> str | None:
    """Return why Dask's workers cannot be used as a profile says; None when they can."""
    return scheduler_exposure(settings) or _missing()


def _missing() -> str | None:
    from importlib.util import find_spec

    if find_spec("distributed") is not None:
        return None
    return "worker.backend is dask and Dask distributed is missing: pip install 'nearedge[dask]'"


def _new_keys() -> Iterator[None]:
    while True:
        yield None


# -- inside the Dask workers --------------------------------------------------------------------

_loading = threading.Lock()
_loaded: dict[tuple[str, str, int, Callable[..., Any]], Inverts] = {}


def answer(question: bytes, settings: profile.WorkerSettings, load: Load) -> bytes:
    """Invert one spectrum with the model of this process, loaded when it is first needed."""
    asked = unpack(question)
    try:
        (inversion,) = _inverter(settings, load).invert(
            [asked["spectrum"]],
            seeds=[asked["seed"]],
            samples=settings.samples,
            quality=settings.quality,
        )
    except Exception as e:  # it is told, and the worker goes on
        logger.exception("an inversion failed")
        return pack({"error": f"{type(e).__name__}: {e}"})
    return pack({"inversion": inversion})


def answer_pixels(question: bytes, settings: profile.WorkerSettings, load: Load) -> bytes:
    """Answer the pixels of a block with the model of this process."""
    asked = unpack(question)
    try:
        model = cast(AnswersPixels, _inverter(settings, load))
        return pack({"answers": answer_block(model, asked["pixels"], asked["instrument"])})
    except Exception as e:  # it is told, and the worker goes on
        logger.exception("the pixels of a block could not be answered")
        return pack({"error": f"{type(e).__name__}: {e}"})


def _inverter(settings: profile.WorkerSettings, load: Load) -> Inverts:
    which = (settings.model, settings.device, settings.threads, load)
    with _loading:  # a worker may have several threads
        if which not in _loaded:
            _loaded[which] = load(settings)
        return _loaded[which]
