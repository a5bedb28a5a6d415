"""Put rows into the catalog with where they come from, and compare them with what is there."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from nearedge.models import Inversion, Rejected
from nearedge.streaming.catalog import layout
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.layout import Provenance
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.result_writer import ResultWriter
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row

logger = logging.getLogger(__name__)


class Storing:
    """Writes rows, in several threads if they come so.

    Parameters
    ----------
    container
        Returns the Tiled container of results. It is called when the first row is there, and again
        while it raises: a service may start before its catalog.
    config
        Digest of the settings.
    files
        Where arrays go, if the server reads the same disk.
    now
        Seconds since the epoch.
    """

    def __init__(
        self,
        container: Callable[[], Client],
        *,
        config: str,
        files: ResultFiles | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._container, self._files = container, files
        self._config, self._now = config, now
        self._writer: ResultWriter | None = None
        self._opening = threading.Lock()

    def put(self, row: Row) -> None:
        """Write a row, unless it is there.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away; then try again.
        """
        writer = self._open()
        provenance = Provenance(
            config=self._config,
            code=version("nearedge"),
            written=self._now(),
            timings=row.stages,
        )
        if isinstance(row.outcome, Rejected):
            writer.write_rejected(row.key, row.measurement, row.outcome, provenance=provenance)
            return
        degraded = row.status is State.DEGRADED
        write = writer.write_degraded if degraded else writer.write
        inversion = _answer_of(row)
        write(row.key, row.measurement, row.outcome, inversion, provenance=provenance)
        if row.redone:
            writer.remove_degraded(row.key)

    def _open(self) -> ResultWriter:
        with self._opening:
            if self._writer is None:
                self._writer = ResultWriter(self._container(), files=self._files)
            return self._writer


class Comparing:
    """Compares rows with the stored ones, bit for bit, and writes nothing.

    Parameters
    ----------
    results
        Tiled container of the results.

    Attributes
    ----------
    counts
        How many are ``equal``, ``different`` and ``missing``.
    """

    def __init__(self, results: Client) -> None:
        self._results = results
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def put(self, row: Row) -> None:
        """Compare one row; errors as for `Storing.put`."""
        if row.key not in self._results:
            verdict, what = "missing", "nothing is stored"
        else:
            differing = differences(row, self._results[row.key])
            verdict = "different" if differing else "equal"
            what = f"stored differently: {', '.join(differing)}"
        with self._counting:
            self.counts[verdict] += 1
        if verdict != "equal":
            run = row.measurement.run.uid
            logger.warning("run %s, %s: %s", run, row.key, what, extra={"run_uid": run})


#: What tells when, with which settings and by whom a result was made, not what it is.
OF_THE_MOMENT = ("written", "timings", "code", "config")


def differences(row: Row, node: Any) -> list[str]:
    """Return the names of the arrays and metadata in which a row differs from the stored result."""
    metadata, arrays = _contents(row)
    stored = dict(node.metadata)
    names = [name for name in metadata if metadata[name] != stored.get(name)]
    names += [name for name, array in arrays.items() if not _is_stored(array, name, node)]
    return [*names, *sorted(set(node) - set(arrays))]


def _contents(row: Row) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the metadata and arrays that the row would be stored with."""
    none = Provenance(config="", code="", written=0.0)
    measurement, outcome = row.measurement, row.outcome
    if isinstance(outcome, Rejected):
        arrays = {name: array for name, (array, _) in layout.raw_arrays(measurement).items()}
        metadata = layout.rejected_metadata(measurement, outcome, none)
    else:
        arrays = layout.ensemble_arrays(measurement, outcome, _answer_of(row))
        metadata = layout.ensemble_metadata(measurement, outcome, _answer_of(row), none)
    metadata["status"] = str(row.status)
    return {k: v for k, v in metadata.items() if k not in OF_THE_MOMENT}, arrays


def _answer_of(row: Row) -> Inversion:
    """Return the answer of a row that is to be stored; without one, its spectrum would be lost."""
    if row.inversion is None:
        raise ValueError(f"the row {row.key} has neither an answer nor a rejection to store")
    return row.inversion


def _is_stored(array: np.ndarray, name: str, node: Any) -> bool:
    if name not in node:
        return False
    stored = np.asarray(node[name].read())
    return stored.dtype == array.dtype and np.array_equal(
        stored, array, equal_nan=array.dtype.kind == "f"
    )
