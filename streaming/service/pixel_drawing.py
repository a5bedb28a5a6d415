"""Draw clusters for the pixels of maps that are complete, while nothing measured waits."""

import logging
from collections.abc import Sequence
from typing import Protocol

from nearedge.models import Inversion, NormalisedSpectrum, Samples
from nearedge.streaming.catalog.pixel_clusters import PixelClusters
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.ledger.backlog import Backlog
from nearedge.streaming.service.on_demand import Inverting
from nearedge.streaming.service.writing import may_pass
from nearedge.streaming.workers.worker import WorkerError, WorkerUnavailable

logger = logging.getLogger(__name__)

BUSY_S = 2.0
LOOK_S = 60.0  # another service may have completed a map
AWAY_S = 10.0  # for a worker or a catalog to come back


class UndrawnMaps(Protocol):
    """Knows maps, as `nearedge.streaming.catalog.pixel_clusters.ClusterStore` does."""

    def find(self) -> PixelClusters | None:
        """Return a map that has pixels without clusters."""

    def forget(self) -> None:
        """Look at every map anew."""


class PixelDrawing:
    """The step of the loop that draws clusters for pixels.

    Between two batches it looks whether anything measured waits, which so waits for one batch at
    most. A batch that fails is tried again pixel by pixel, and a pixel that fails alone has none.

    Parameters
    ----------
    backlog
        What waits.
    workers
        All of a service; the last one is asked, when none of them has anything to do.
    store
        The maps; None: there are none.
    batch
        Pixels that are inverted together.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        workers: Sequence[Inverting],
        store: UndrawnMaps | None,
        batch: int,
    ) -> None:
        self._backlog, self._workers, self._store = backlog, workers, store
        self._batch = batch
        self._map: PixelClusters | None = None
        self._suspects = 0
        self._stopping = False

    def stop(self) -> None:
        """Blame no pixel, from now on, for what the worker does not finish."""
        self._stopping = True

    def step(self) -> float | None:
        """Draw the clusters of some pixels; return when to look again, s, or None for never."""
        if self._store is None:
            return None
        if self._something_waits():
            return BUSY_S
        try:
            return self._draw(self._store)
        except WorkerUnavailable as e:
            logger.warning("the clusters of pixels wait: %s", e)
        except Exception as e:  # of the client of the catalog, whatever it is
            self._leave(self._store, e)
        return AWAY_S

    def _something_waits(self) -> bool:
        busy = any(getattr(worker, "is_busy", False) for worker in self._workers)
        return busy or self._backlog.oldest_age_s() is not None

    def _draw(self, store: UndrawnMaps) -> float:
        own, most = self._map, 1 if self._suspects else self._batch
        pixels = [] if own is None else own.waiting(most)
        if own is None or not pixels:
            self._map, self._suspects = store.find(), 0
            return LOOK_S if self._map is None else 0
        answers = self._answers(own, pixels)
        if answers is not None:
            own.put(answers)
            self._suspects = max(0, self._suspects - 1)
        return 0

    def _answers(
        self, own: PixelClusters, pixels: Sequence[int]
    ) -> dict[int, Samples | None] | None:
        """Return the clusters of some pixels, None for one that has none; or None to try again."""
        spectra = self._spectra(own, pixels)
        seeds = [own.seed(pixel) for pixel in spectra]
        found: Sequence[Inversion] = ()
        try:
            if spectra:
                found = self._workers[-1].invert(list(spectra.values()), seeds=seeds)
        except WorkerUnavailable:
            raise
        except WorkerError as e:
            if self._stopping or not self._suspects:
                self._suspects = len(pixels)
                return None
            self._tell(own, pixels[0], e)
            return dict.fromkeys(pixels)
        samples = {pixel: one.samples for pixel, one in zip(spectra, found, strict=True)}
        return {pixel: samples.get(pixel) for pixel in pixels}

    def _spectra(self, own: PixelClusters, pixels: Sequence[int]) -> dict[int, NormalisedSpectrum]:
        """Return the spectra of those pixels that have one."""
        spectra = {}
        for pixel in pixels:
            try:
                spectra[pixel] = own.spectrum(pixel)
            except ValueError as e:
                self._tell(own, pixel, e)
        return spectra

    def _tell(self, own: PixelClusters, pixel: int, error: Exception) -> None:
        place = own.place(pixel)
        logger.warning("map %s: the pixel %s has no clusters: %s", own.key, place, error)

    def _leave(self, store: UndrawnMaps, error: Exception) -> None:
        """Leave a map that cannot be read or written: for good, unless that may pass."""
        self._map = None
        if self._stopping:
            return
        if may_pass(error):
            store.forget()
            logger.warning("the clusters of pixels wait: %s", told(error))
        else:
            logger.error("a map gets no clusters of its pixels: %s", told(error), exc_info=error)
