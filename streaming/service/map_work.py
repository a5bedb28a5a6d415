"""Blocks and ends of maps: what a worker is asked of them, and what is written."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import Supports, prepare
from nearedge.models import Inversion, NormalisedSpectrum, Rejected, Spectrum
from nearedge.models.answering.map_groups import map_groups
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.findings import MapFindings
from nearedge.models.maps.representative import Representative, mean_measured
from nearedge.streaming.catalog.growing_maps import MapSpectra
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.job import Job
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.ledger.map_row import (
    MapRow,
    block_of,
    end_of,
    findings_of,
    instrument_of,
    pixels_of,
)

logger = logging.getLogger(__name__)


class MapStore(Protocol):
    """Keeps maps, as `nearedge.streaming.catalog.growing_maps.GrowingMaps` does."""

    def open(self) -> None:
        """Connect to where they are."""

    def put_blocks(
        self,
        key: str,
        blocks: Sequence[tuple[Block, PixelAnswers | None]],
        *,
        instrument: Instrument,
    ) -> MapRow:
        """Write the answers to the pixels of some blocks."""

    def put_end(
        self, key: str, end: MapEnd, found: MapFindings, *, instrument: Instrument
    ) -> MapRow:
        """Write what is known of a whole map."""

    def spectra(self, key: str) -> MapSpectra:
        """Return the spectra of a map."""


class MapWorker(Protocol):
    """What a worker does for maps."""

    def answer_pixels(self, blocks: Sequence[Spectra], *, instrument: str) -> list[PixelAnswers]:
        """Return the answers of the heads to the pixels of some blocks."""

    def invert(
        self, spectra: Sequence[NormalisedSpectrum], *, seeds: Sequence[int]
    ) -> list[Inversion]:
        """Return one inversion per spectrum."""


class MapWork:
    """What is to be done with the rows of maps.

    Parameters
    ----------
    store
        Where maps are kept.
    supports
        Whether the model knows an absorber and edge.
    span
        The grid that the model reads.
    """

    def __init__(
        self, store: MapStore, *, supports: Supports, span: Callable[[], Sequence[float]]
    ) -> None:
        self._store, self._supports, self._span = store, supports, span

    def open(self) -> None:
        """Connect to where maps are kept; where that fails, the first block tries again."""
        try:
            self._store.open()
        except Exception as e:  # of the client of the catalog, whatever it is
            logger.info("maps cannot be kept yet: %s", told(e))

    def answer(
        self, jobs: Sequence[Job], worker: MapWorker
    ) -> list[PixelAnswers] | list[MapFindings]:
        """Return the answers to some blocks, or what is found in one map that has ended.

        Raises
        ------
        nearedge.streaming.workers.worker.WorkerError
            If the worker cannot give any.
        """
        if jobs[0].is_map:
            return [self._findings(jobs[0], worker)]
        instruments = {instrument_of(job) for job in jobs}
        if len(instruments) > 1:  # a service before this one had another profile
            return [self._answers([job], worker)[0] for job in jobs]
        return self._answers(jobs, worker)

    def _answers(self, jobs: Sequence[Job], worker: MapWorker) -> list[PixelAnswers]:
        blocks = [block_of(job).spectra for job in jobs]
        whole = [one for one in blocks if one is not None]
        return worker.answer_pixels(whole, instrument=instrument_of(jobs[0]))

    def put(self, jobs: Sequence[Job]) -> MapRow:
        """Write blocks of one map, or its end alone; return how far the map is.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away; then try again.
        """
        first = jobs[0]
        instrument = Instrument.model_validate_json(instrument_of(first))
        if first.is_map:
            return self._store.put_end(
                first.key, end_of(first), findings_of(first), instrument=instrument
            )
        blocks = [(block_of(job), pixels_of(job)) for job in jobs]
        return self._store.put_blocks(first.part_of or "", blocks, instrument=instrument)

    def _findings(self, job: Job, worker: MapWorker) -> MapFindings:
        """Group the pixels of a map, and have the mean of each group inverted."""
        instrument = Instrument.model_validate_json(instrument_of(job))
        stored = self._store.spectra(job.key)
        groups = map_groups(
            stored.energy,
            stored.norm,
            stored.figures,
            stored.known,
            span=self._span(),
            technique=instrument.technique,
            absorber=instrument.absorber,
            edge=instrument.edge,
            rng=np.random.default_rng(0),
        )
        rows = [np.flatnonzero(groups.labels == k) for k in range(groups.count)]
        outcomes = [self._mean(stored, some, instrument) for some in rows]
        good = {k: one for k, one in enumerate(outcomes) if not isinstance(one, Rejected)}
        seeds = [_seed(job.key, k) for k in good]
        found = worker.invert(list(good.values()), seeds=seeds) if good else []
        answers = dict(zip(good, found, strict=True))
        return MapFindings(
            groups=groups,
            representatives=tuple(
                Representative(
                    pixels=len(some),
                    spectrum=None if isinstance(one, Rejected) else one,
                    answer=one if isinstance(one, Rejected) else answers[k],
                )
                for k, (some, one) in enumerate(zip(rows, outcomes, strict=True))
            ),
        )

    def _mean(
        self, stored: MapSpectra, rows: NDArray[np.intp], instrument: Instrument
    ) -> NormalisedSpectrum | Rejected:
        """Return the mean of the measured spectra of some pixels, normalised."""
        raw = Spectrum(
            energy=stored.mu_energy,
            mu=mean_measured(stored.mu, rows),
            technique=instrument.technique,
            absorber=instrument.absorber,
            edge=instrument.edge,
            formula=stored.formula,
        )
        return prepare(raw, instrument, supports=self._supports)


def _seed(key: str, number: int) -> int:
    return seed_of(hashlib.sha256(f"{key} {number}".encode()).hexdigest())
