"""Compare maps that are made again with those of the catalog, and write nothing."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.instrument import Instrument
from nearedge.models.answering.pixels import NUMBERS, PixelAnswers, on_axis
from nearedge.models.maps.findings import MapFindings
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.growing_map import group_arrays
from nearedge.streaming.catalog.growing_maps import MapSpectra, answered, stored_spectra
from nearedge.streaming.catalog.maps import NOTHING, StoredMap
from nearedge.streaming.ledger.map_row import MapRow, MapStatus

logger = logging.getLogger(__name__)

OTHER_GROUPS = "maps with other groups"
TOLERANCE = 1e-5
"""By how much a figure may differ, of its size or 1: pixels that are read together with others go
through sums of another order, in single precision."""


_NOTHING = MapSpectra(
    energy=np.empty(0),
    norm=np.empty((0, 0), np.float32),
    mu_energy=np.empty(0),
    mu=np.empty((0, 0), np.float32),
    figures=np.empty((0, len(NUMBERS))),
    known=np.empty(0, bool),
)


class ComparingMaps:
    """Takes blocks and ends of maps, as `GrowingMaps` does.

    Parameters
    ----------
    box
        The Tiled container of maps.

    Attributes
    ----------
    counts
        How many pixels are ``equal``, ``different`` and ``missing``, and in how many maps the
        groups of pixels or their clusters are others (`OTHER_GROUPS`).
    worst
        The largest difference of each figure, of its size or 1.
    """

    def __init__(self, box: Client) -> None:
        self._box = box
        self._open: dict[str, StoredMap] = {}
        self._read: dict[str, dict[str, NDArray[Any]]] = {}
        self.counts: Counter[str] = Counter()
        self.worst: dict[str, float] = {}

    def open(self) -> None:
        """Do nothing: the container was opened before."""

    def put_blocks(
        self,
        key: str,
        blocks: Sequence[tuple[Block, PixelAnswers | None]],
        *,
        instrument: Instrument,
    ) -> MapRow:
        """Compare the answers to the pixels of some blocks; errors as for `GrowingMaps`."""
        for block, found in blocks:
            self._compare(key, block, answered(block, found))
        last = blocks[-1][0]
        return self._row(key, last.run, last.stream, last.time, instrument)

    def put_end(
        self, key: str, end: MapEnd, found: MapFindings, *, instrument: Instrument
    ) -> MapRow:
        """Compare the groups of a whole map."""
        stored = self._stored(key)
        if stored is not None:
            differing = _differing_groups(stored, set(self._box[key]), found)
            if differing:
                self.counts[OTHER_GROUPS] += 1
                uid = end.run.uid
                what = ", ".join(differing)
                logger.warning("run %s: stored differently: %s", uid, what, extra={"run_uid": uid})
        return self._row(key, end.run, end.stream, end.time, instrument)

    def spectra(self, key: str) -> MapSpectra:
        """Return the stored spectra of a map, none where nothing is stored."""
        return _NOTHING if self._stored(key) is None else stored_spectra(self._box[key])

    def told(self) -> str:
        """Return the largest differences in words; empty where all figures are bit by bit equal."""
        found = [f"{name} {worst:.1g}" for name, worst in self.worst.items() if worst > 0]
        return ", ".join(found)

    def _stored(self, key: str) -> StoredMap | None:
        if key not in self._open and key in self._box:
            self._open[key] = StoredMap(self._box[key])
        return self._open.get(key)

    def _array(self, stored: StoredMap, name: str) -> NDArray[Any]:
        """Return an array of a stored map, a row for each pixel."""
        read = self._read.setdefault(stored.key, {})
        if name not in read:
            array = stored[name]
            more = array.shape[len(stored.shape) :]
            read[name] = array.reshape(-1, *more) if name != "energy" else array
        return read[name]

    def _compare(self, key: str, block: Block, answers: PixelAnswers) -> None:
        uid = block.run.uid
        extra = {"run_uid": uid}
        stored = self._stored(key)
        if stored is None:
            self.counts["missing"] += len(block)
            logger.warning("run %s, map %s: nothing is stored", uid, key, extra=extra)
            return
        there = block.places < int(np.prod(stored.shape))
        there[there] = self._array(stored, "reason")[block.places[there]] > NOTHING
        self.counts["missing"] += int((~there).sum())
        wrong = self._wrong(stored, block.places[there], answers, np.flatnonzero(there))
        bad = np.zeros(int(there.sum()), dtype=bool)
        for name, pixels in wrong.items():
            bad |= pixels
            if pixels.any():
                text = "run %s, pixels %s: %s is stored differently at %d of them"
                logger.warning(text, uid, block.name, name, int(pixels.sum()), extra=extra)
        self.counts["different"] += int(bad.sum())
        self.counts["equal"] += int((~bad).sum())

    def _wrong(
        self,
        stored: StoredMap,
        places: NDArray[np.int64],
        answers: PixelAnswers,
        rows: NDArray[np.intp],
    ) -> dict[str, NDArray[np.bool_]]:
        """Tell for each thing that is known of pixels at which of them it is another."""
        metadata = stored.metadata
        names, flags = np.array([*metadata["reasons"], ""]), metadata["flag_names"]
        reasons = names[self._array(stored, "reason")[places]]
        own_names = np.array([*answers.reason_names, ""])
        bits = self._array(stored, "flags")[places]
        kept = [{f for k, f in enumerate(flags) if int(own) >> k & 1} for own in bits]
        found = {
            "reason": reasons != own_names[answers.reasons[rows]],
            "flags": np.array(
                [set(answers.flags[k]) != one for k, one in zip(rows, kept, strict=True)], bool
            ),
        }
        for column, name in enumerate(NUMBERS):
            was = self._array(stored, name)[places]
            found[name] = self._off(name, was, answers.figures[rows, column])
        was = self._array(stored, "cn_prob")[places]
        found["cn_prob"] = self._off("cn_prob", was, answers.cn_prob[rows])
        if len(answers.energy) and "norm" not in self._box[stored.key]:
            found["norm"] = np.ones(len(rows), bool)
        elif len(answers.energy):
            now = on_axis(answers.norm[rows], answers.energy, self._array(stored, "energy"))
            found["norm"] = self._off("norm", self._array(stored, "norm")[places], now)
        return found

    def _off(self, name: str, was: NDArray[Any], now: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which pixels have another figure, and note by how much at most."""
        off = np.abs(now - was) / np.maximum(np.abs(was), 1.0)
        lacking = np.isnan(now) != np.isnan(was)
        known = off[np.isfinite(off)]
        self.worst[name] = max(self.worst.get(name, 0.0), float(known.max(initial=0.0)))
        wrong = (off > TOLERANCE) | lacking
        return np.asarray(wrong.any(axis=1) if wrong.ndim > 1 else wrong)

    def _row(self, key: str, run: Any, stream: str, measured: float, told: Instrument) -> MapRow:
        stored = self._stored(key)
        metadata = {} if stored is None else stored.metadata
        answered = int(metadata.get("answered", 0))
        return MapRow(
            key=key,
            status=MapStatus.COMPLETE if stored is None else MapStatus(stored.status),
            run=run,
            stream=stream,
            edge=f"{told.absorber} {told.edge}",
            shape=() if stored is None else stored.shape,
            pixels=int(metadata.get("pixels", 0)),
            answered=answered,
            rejected=sum(metadata.get("rejected", {}).values()),
            measured=measured,
            latency_s=float("nan"),
        )


def _differing_groups(stored: StoredMap, names: set[str], found: MapFindings) -> list[str]:
    """Return the names of the arrays in which groups and their clusters differ, bit by bit."""
    arrays = {"group": found.groups.labels.astype(np.int64).reshape(stored.shape)}
    for number, one in enumerate(found.representatives):
        arrays |= {f"group_{number}_{name}": own for name, own in group_arrays(one).items()}
    kept = {name for name in names if name == "group" or name.startswith("group_")}
    return sorted(
        name
        for name in kept | set(arrays)
        if name not in arrays
        or name not in kept
        or not np.array_equal(stored[name], arrays[name], equal_nan=arrays[name].dtype.kind == "f")
    )
