"""Write results into the catalog, so that a reader sees a whole one or none."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.array  # noqa: F401 - Tiled would load it, for a second, within the first write
import numpy as np
from tiled.client.utils import ClientError
from tiled.structures.core import Spec, StructureFamily
from tiled.structures.data_source import DataSource

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.catalog import layout
from nearedge.streaming.catalog.connection import CONFLICT, Client
from nearedge.streaming.catalog.layout import Provenance
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.ledger.job import State

THREADS = 4
"""More gain nothing: one process of Tiled does the work, and with SQLite they wait for its lock."""


class ResultWriter:
    """Writes one container for each spectrum.

    With files, an entry is made by one request, whole. Without, its status is ``writing`` until
    everything under it is there, then ``complete`` or ``rejected``. From then on it is never
    touched again, save that an answer takes the place of a rejection. Each step can be repeated: a
    writer that was killed between any two of them, or works beside another on the same key, does
    no harm.

    Parameters
    ----------
    container
        The container of the results.
    files
        Where the arrays go, if the server reads the same disk. None: they are sent to the server,
        which takes ten times as long.
    threads
        Requests at a time, within one result that is sent.
    """

    def __init__(
        self, container: Client, *, files: ResultFiles | None = None, threads: int = THREADS
    ) -> None:
        self._container, self._files = container, files
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nearedge-tiled")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def write(
        self,
        key: str,
        measurement: Measurement,
        spectrum: NormalisedSpectrum,
        inversion: Inversion,
        *,
        provenance: Provenance,
    ) -> None:
        """Write an answer under its key, unless it is there.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away; then try again.
        """
        answer = measurement, spectrum, inversion
        self._put_answer(key, *answer, provenance=provenance, final=State.COMPLETE)

    def write_degraded(
        self,
        key: str,
        measurement: Measurement,
        spectrum: NormalisedSpectrum,
        inversion: Inversion,
        *,
        provenance: Provenance,
    ) -> None:
        """Write a quick answer beside the place of the full one; errors as for `write`."""
        answer = measurement, spectrum, inversion
        self._put_answer(degraded_key(key), *answer, provenance=provenance, final=State.DEGRADED)

    def _put_answer(
        self,
        name: str,
        measurement: Measurement,
        spectrum: NormalisedSpectrum,
        inversion: Inversion,
        *,
        provenance: Provenance,
        final: State,
    ) -> None:
        self.put(
            name,
            Spec(layout.ENSEMBLE_SPEC, version=layout.VERSION),
            layout.ensemble_metadata(measurement, spectrum, inversion, provenance),
            layout.ensemble_arrays(measurement, spectrum, inversion),
            final=final,
        )

    def remove_degraded(self, key: str) -> None:
        """Remove the quick answer, if there is one; errors as for `write`."""
        if degraded_key(key) in self._container:
            self._remove(degraded_key(key))

    def write_rejected(
        self, key: str, measurement: Measurement, rejected: Rejected, *, provenance: Provenance
    ) -> None:
        """Write under its key why a measurement was not inverted; errors as for `write`."""
        self.put(
            key,
            Spec(layout.REJECTED_SPEC, version=layout.VERSION),
            layout.rejected_metadata(measurement, rejected, provenance),
            {name: array for name, (array, _) in layout.raw_arrays(measurement).items()},
            final=State.REJECTED,
        )

    def put(
        self,
        key: str,
        spec: Spec,
        metadata: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        *,
        final: State,
    ) -> None:
        """Write an entry with its arrays under its key, unless it is there; errors as for `write`.

        Parameters
        ----------
        key, spec, metadata, arrays
            The entry's name, what it is, what can be searched, and what it holds.
        final
            Its status once all is there.
        """
        if self._files is not None and self._files.suit(arrays):
            whole = {"status": str(final), **metadata}
            self._make(key, spec, whole, final=final, source=self._files.write(key, arrays))
            return
        first = {"status": str(State.WRITING if arrays else final), **metadata}
        node = self._make(key, spec, first, final=final)
        if node is not None and arrays:
            list(self._pool.map(lambda item: put_array(node, *item), arrays.items()))
            node.update_metadata({"status": str(final)}, drop_revision=True)

    def _make(
        self,
        key: str,
        spec: Spec,
        metadata: Mapping[str, Any],
        *,
        final: State,
        source: DataSource | None = None,
    ) -> Client | None:
        """Return the entry, made or to be gone on with; None if nothing is left to be done."""
        sources = [] if source is None else [source]

        def make() -> Client:
            return self._container.new(
                StructureFamily.container, sources, key=key, metadata=metadata, specs=[spec]
            )

        try:
            return make()
        except ClientError as e:
            if e.response.status_code != CONFLICT:
                raise
        node = self._container[key]
        status = node.metadata["status"]
        came_late = (status, final) == (State.REJECTED, State.COMPLETE)  # a file, say
        if came_late or (sources and status == State.WRITING):
            self._remove(key)
            return make()
        return node if status == State.WRITING else None

    def _remove(self, key: str) -> None:
        if self._files is None:
            self._container.delete_contents([key], recursive=True, external_only=False)
        else:
            self._files.remove(self._container, key)


def degraded_key(key: str) -> str:
    """Return the name of the quick answer of a spectrum."""
    return f"{key}-degraded"


def put_array(node: Client, name: str, array: np.ndarray) -> None:
    """Write an array under a name, in place of what an earlier try has left there."""
    try:
        node.write_array(array, key=name)
    except ClientError as e:
        if e.response.status_code != CONFLICT:
            raise
        _overwrite(node, name, array)


def _overwrite(node: Client, name: str, array: np.ndarray) -> None:
    left = node[name]
    if (left.shape, left.dtype) == (array.shape, array.dtype):
        left.write(array)
    else:
        node.delete_contents([name], external_only=False)
        node.write_array(array, key=name)
