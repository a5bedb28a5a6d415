"""Read spectra of a Parquet file, one a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.signal import EV
from nearedge.models import Reason, Rejected, Spectrum
from nearedge.streaming.sources.files.table import UnreadableFileError

MAGIC = b"PAR1"


def read_parquet(path: Path, instrument: Instrument) -> Iterator[tuple[str, Spectrum | Rejected]]:
    """Yield id and spectrum of each row of columns id, energy and mu, with absorber and edge.

    Raises
    ------
    UnreadableFileError
        If the file is broken or lacks a column.
    """
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        names = set(file.schema_arrow.names)
        if missing := {"id", "energy", "mu"} - names:
            found = f"columns {sorted(names)} without {sorted(missing)}"
            raise UnreadableFileError(found)
        wanted = [n for n in ("id", "energy", "mu", "absorber", "edge", "formula") if n in names]
        for batch in file.iter_batches(batch_size=1024, columns=wanted):
            for row in batch.to_pylist():
                yield str(row["id"]), _row(row, instrument)
    except ArrowException as error:
        raise UnreadableFileError(f"Parquet cannot be read: {error}") from error


def _row(row: dict[str, Any], instrument: Instrument) -> Spectrum | Rejected:
    try:
        energy = np.array(row["energy"], dtype=float)
        mu = np.array(row["mu"], dtype=float)
    except (TypeError, ValueError):
        energy = mu = np.empty((0, 0))
    if energy.ndim != 1 or energy.shape != mu.shape:
        return Rejected(
            reason=Reason.UNREADABLE,
            detail=f"row {row['id']}: energy and mu are no lists of numbers of one length",
        )
    return Spectrum(
        energy=energy * EV[instrument.units],
        mu=mu,
        technique=instrument.technique,
        absorber=row.get("absorber") or instrument.absorber,
        edge=row.get("edge") or instrument.edge,
        formula=row.get("formula") or "",
    )
