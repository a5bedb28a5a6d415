"""Maps that grow in the catalog while their runs last, one entry for each run."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.block import Block, MapEnd, MapLayout
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Run
from nearedge.models import Array, Reason, Rejected
from nearedge.models.answering.pixels import PixelAnswers, refused_pixels
from nearedge.models.maps.findings import MapFindings
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.growing_map import GrowingMap
from nearedge.streaming.catalog.maps import FIGURE_STACK
from nearedge.streaming.ledger.map_row import MapRow

KEPT = 8
"""Maps whose state is remembered between two of their blocks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapSpectra:
    """All that the groups of a map are found in, over the pixels as they lie.

    Attributes
    ----------
    energy, norm
        (n,) eV, and (p, n) normalised spectra.
    mu_energy, mu
        (m,) eV, and (p, m) measured.
    figures
        (p, k) the `NUMBERS` of each.
    known
        (p,) which pixels have an answer.
    formula
        What is said of the sample; empty where nothing is.
    """

    energy: Array
    norm: NDArray[np.float32]
    mu_energy: Array
    mu: NDArray[np.float32]
    figures: Array
    known: NDArray[np.bool_]
    formula: str = ""


class GrowingMaps:
    """Writes blocks and ends of maps; one thread may write while others read.

    Parameters
    ----------
    container
        Returns the Tiled container of maps; called when the first block is there, and again while
        it raises.
    config
        Digest of the settings.
    now
        Seconds since the epoch.
    """

    def __init__(
        self,
        container: Callable[[], Client],
        *,
        config: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._container, self._config, self._now = container, config, now
        self._box: Client | None = None
        self._open: OrderedDict[str, GrowingMap] = OrderedDict()

    def open(self) -> None:
        """Connect now, so that the first block need not wait for that; errors as for `put_blocks`.

        Another thread may call it while blocks are written.
        """
        self._opened()

    def put_blocks(
        self,
        key: str,
        blocks: Sequence[tuple[Block, PixelAnswers | None]],
        *,
        instrument: Instrument,
    ) -> MapRow:
        """Write the answers to the pixels of some blocks; return how far the map is.

        Parameters
        ----------
        key
            Names the map.
        blocks
            The pixels, and the answers to them; None where they were refused.
        instrument
            What the spectra are of.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away; the same call goes on from there.
        """
        last = max((block for block, _ in blocks), key=lambda block: block.time)
        formula = next((b.spectra.formula for b, _ in blocks if b.spectra is not None), "")
        try:
            own = self._map(key, last.run, last.stream, last.layout, instrument, formula)
            own.put([(block, answered(block, found)) for block, found in blocks])
        except BaseException:
            self._open.pop(key, None)  # what it remembers may be more than the catalog has
            raise
        return own.row(last.time, (self._now() - last.time), ())

    def put_end(
        self, key: str, end: MapEnd, found: MapFindings, *, instrument: Instrument
    ) -> MapRow:
        """Write what is known of a whole map; parameters and errors as for `put_blocks`."""
        try:
            own = self._map(key, end.run, end.stream, end.layout, instrument)
            own.finish(end, found)
        finally:
            self._open.pop(key, None)
        return own.row(end.time, (self._now() - end.time), end.flags)

    def spectra(self, key: str) -> MapSpectra:
        """Return the spectra of a map; errors as for `put_blocks`, and a KeyError without one."""
        return stored_spectra(self._opened()[key])

    def _opened(self) -> Client:
        if self._box is None:
            self._box = self._container()
        return self._box

    def _map(
        self,
        key: str,
        run: Run,
        stream: str,
        layout: MapLayout,
        instrument: Instrument,
        formula: str = "",
    ) -> GrowingMap:
        if key not in self._open:
            about = {
                "raw": {
                    "uid": run.uid,
                    "scan_id": run.scan_id,
                    "time": run.time,
                    "sample": run.sample,
                    "stream": stream,
                },
                "technique": str(instrument.technique),
                "absorber": instrument.absorber,
                "edge": instrument.edge,
                "formula": formula,
                "config": self._config,
                "code": version("nearedge"),
            }
            self._open[key] = GrowingMap(
                self._opened(),
                key,
                run,
                stream,
                layout,
                about=about,
                now=self._now,
            )
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return self._open[key]


def answered(block: Block, answers: PixelAnswers | None) -> PixelAnswers:
    """Return the answers to the pixels of a block, or why there are none."""
    if answers is not None:
        return answers
    refusal = block.refused or Rejected(reason=Reason.UNREADABLE, detail="no answer")
    return refused_pixels(len(block), refusal)


def stored_spectra(node: Any) -> MapSpectra:
    """Return the spectra of an entry."""
    metadata = node.metadata
    count = int(np.prod(metadata["shape"]))

    def read(name: str) -> NDArray[Any]:
        return np.asarray(node[name].read())

    def flat(name: str) -> NDArray[Any]:
        found = read(name)
        return found.reshape(-1, found.shape[-1])[:count]

    nothing = np.empty((count, 0), np.float32)
    return MapSpectra(
        energy=read("energy") if "energy" in node else np.empty(0),
        norm=flat("norm") if "norm" in node else nothing,
        mu_energy=read("mu_energy") if "mu_energy" in node else np.empty(0),
        mu=flat("mu") if "mu" in node else nothing,
        figures=flat(FIGURE_STACK),
        known=read("reason").ravel()[:count] == -1,
        formula=str(metadata.get("formula", "")),
    )
