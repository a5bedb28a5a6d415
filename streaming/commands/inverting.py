"""One-off spectra: normalise them and invert them, in this process or several."""

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import Supports, prepare
from nearedge.models import (
    Inversion,
    Inverts,
    NormalisedSpectrum,
    Quality,
    Reason,
    Rejected,
    Spectrum,
)
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.sources.files import FileSpectrum
from nearedge.streaming.workers.worker import WorkerUnavailable

BATCH = 8
LOOK_S = 0.5  # how long a signal waits to be looked at

Prepared: TypeAlias = NormalisedSpectrum | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertOptions:
    """How much work each answer is worth, and the seed of the whole call."""

    samples: int
    quality: Quality
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of one spectrum.

    Attributes
    ----------
    asked
        The spectrum as it was read.
    spectrum
        Normalised; None where it was rejected.
    answer
        The inversion, or why there is none.
    """

    asked: FileSpectrum
    spectrum: NormalisedSpectrum | None
    answer: Inversion | Rejected


def invert(
    asked: Sequence[FileSpectrum],
    instrument: Instrument,
    *,
    inverters: Sequence[Inverts],
    supports: Supports,
    effort: InvertOptions,
) -> Iterator[Outcome]:
    """Yield what becomes of each spectrum, in order.

    A spectrum's own seed comes from the seed of the call and its numbers, so that its answer
    depends neither on what else was asked nor on the name of its file.

    Parameters
    ----------
    asked, instrument
        The spectra, and how to normalise them.
    inverters, supports
        The model, once for each batch that is calculated at a time, and whether it knows an
        absorber and edge.
    effort
        Clusters per spectrum, quality and seed.
    """
    free: queue.SimpleQueue[Inverts] = queue.SimpleQueue()
    for inverter in inverters:
        free.put(inverter)

    def answer(some: Sequence[FileSpectrum]) -> list[Outcome]:
        inverter = free.get()
        try:
            return _outcomes(some, instrument, inverter=inverter, supports=supports, effort=effort)
        finally:
            free.put(inverter)

    batches = [asked[begin : begin + BATCH] for begin in range(0, len(asked), BATCH)]
    if len(inverters) == 1:
        for some in batches:
            yield from answer(some)
        return
    pool = ThreadPoolExecutor(len(inverters), thread_name_prefix="nearedge-invert")
    try:
        for future in [pool.submit(answer, some) for some in batches]:
            while not future.done():  # a wait without end is deaf to signals of other threads
                wait([future], timeout=LOOK_S)
            yield from future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _outcomes(
    some: Sequence[FileSpectrum],
    instrument: Instrument,
    *,
    inverter: Inverts,
    supports: Supports,
    effort: InvertOptions,
) -> list[Outcome]:
    prepared = [_prepare(one, instrument, supports=supports) for one in some]
    good = [
        (spectrum, seed_for(one.spectrum, seed=effort.seed))
        for one, spectrum in zip(some, prepared, strict=True)
        if not isinstance(spectrum, Rejected) and not isinstance(one.spectrum, Rejected)
    ]
    answers = iter(_answers(good, inverter=inverter, effort=effort))
    return [
        Outcome(asked=one, spectrum=None, answer=spectrum)
        if isinstance(spectrum, Rejected)
        else Outcome(asked=one, spectrum=spectrum, answer=next(answers))
        for one, spectrum in zip(some, prepared, strict=True)
    ]


def _prepare(one: FileSpectrum, instrument: Instrument, *, supports: Supports) -> Prepared:
    if isinstance(one.spectrum, Rejected):
        return one.spectrum
    measured = {} if one.measured is None else {"signal": one.measured}
    return prepare(one.spectrum, instrument.model_copy(update=measured), supports=supports)


def _answers(
    good: Sequence[tuple[NormalisedSpectrum, int]], *, inverter: Inverts, effort: InvertOptions
) -> list[Inversion | Rejected]:
    """Return the answers; where a batch fails, each spectrum is asked alone."""
    if not good:
        return []
    try:
        return list(
            inverter.invert(
                [spectrum for spectrum, _ in good],
                seeds=[seed for _, seed in good],
                samples=effort.samples,
                quality=effort.quality,
            )
        )
    except WorkerUnavailable:
        raise  # no spectrum is to blame
    except Exception as error:
        if len(good) > 1:
            return [a for one in good for a in _answers([one], inverter=inverter, effort=effort)]
        detail = f"nearedge itself failed on it, please report: {type(error).__name__}: {error}"
        return [Rejected(reason=Reason.UNREADABLE, detail=detail)]


def seed_for(spectrum: Spectrum, *, seed: int) -> int:
    """Return the seed of a spectrum: its numbers and the seed of the call decide it."""
    return seed_of(fingerprint(spectrum, str(seed)))


def fingerprint(one: FileSpectrum | Spectrum | Rejected, *more: str) -> str:
    """Return what tells one spectrum, and whatever else is said, from all others."""
    spectrum = one.spectrum if isinstance(one, FileSpectrum) else one
    digest = sha256("\0".join(more).encode())
    if isinstance(spectrum, Rejected):
        digest.update(spectrum.detail.encode())
    else:
        about = (spectrum.absorber, spectrum.edge, spectrum.technique, spectrum.formula)
        digest.update(repr(about).encode())
        digest.update(spectrum.energy.tobytes() + spectrum.mu.tobytes())
    return digest.hexdigest()
