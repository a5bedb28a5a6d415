"""Read spectra from files: XDI, EMSA/MSPEC, plain columns and Parquet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Array, Reason, Rejected, Spectrum
from nearedge.streaming.sources.spectrum_text import (
    Table,
    UnreadableFileError,
    read_columns,
    read_msa,
    read_xdi,
)

MAX_TEXT_MB = 64
_HC = 12398.419843320026  # eV Å, exact in the SI of 2019
_EV = {"ev": 1.0, "kev": 1e3}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileSpectrum:
    """One spectrum of a file.

    Attributes
    ----------
    id
        The row's ``id`` in a Parquet file, else the name of the file.
    spectrum
        The spectrum, or why it could not be read.
    metadata
        What else the file says of it.
    """

    id: str
    spectrum: Spectrum | Rejected
    metadata: dict[str, Any] = field(default_factory=dict)


def read_spectra(path: Path, instrument: Instrument) -> list[FileSpectrum]:
    """All spectra of a file, whose form is told from its content.

    What the file does not state, absorber, edge, units and which signal to take, comes from the
    instrument's profile; where both do, the file is right. A file that cannot be read gives one
    entry with the reason, never an exception.

    Parameters
    ----------
    path
        An XDI, EMSA/MSPEC, Parquet or text file.
    instrument
        Section of the profile.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PAR1":
            return list(_parquet(path, instrument))
        table = _table(path)
        spectrum = _spectrum(table, instrument)
    except (UnreadableFileError, OSError) as error:
        return [FileSpectrum(id=path.name, spectrum=_unreadable(path, error))]
    return [FileSpectrum(id=path.name, spectrum=spectrum, metadata=dict(table.header))]


def _unreadable(path: Path, error: Exception) -> Rejected:
    return Rejected(
        reason=Reason.UNREADABLE,
        detail=f"{path.name}: {error}; readable are XDI, EMSA/MSPEC (.msa), Parquet with columns "
        "id, energy and mu, and text with two columns, energy and mu",
    )


def _table(path: Path) -> Table:
    if path.stat().st_size > MAX_TEXT_MB * 1e6:
        raise UnreadableFileError(f"larger than {MAX_TEXT_MB} MB, which no text of one spectrum is")
    text = path.read_bytes().decode(errors="replace").removeprefix("\ufeff")
    if "\0" in text:
        raise UnreadableFileError("a binary file of unknown form")
    first = text.lstrip().partition("\n")[0].replace(" ", "").upper()
    if first.startswith("#XDI/"):
        return read_xdi(text)
    if first.startswith("#FORMAT:EMSA") or "#SPECTRUM" in text:
        return read_msa(text)
    return read_columns(text)


def _spectrum(table: Table, instrument: Instrument) -> Spectrum:
    return Spectrum(
        energy=_energy(table, instrument.units),
        mu=_signal(table.columns, instrument.signal),
        technique=table.technique or instrument.technique,
        absorber=table.header.get("element.symbol") or instrument.absorber,
        edge=table.header.get("element.edge") or instrument.edge,
        reference=_reference(table.columns),
        complete=table.complete,
    )


def _energy(table: Table, default: str) -> Array:
    """Energies in eV, from the monochromator's angle where there are none."""
    unit = table.units.get("energy", "") or default
    if "energy" in table.columns:
        if unit.lower() not in _EV:
            raise UnreadableFileError(f"energies are in {unit!r}; expected eV or keV")
        return table.columns["energy"] * _EV[unit.lower()]
    if "angle" not in table.columns:
        names = ", ".join(table.columns)
        raise UnreadableFileError(f"columns {names}; expected one named energy or angle")
    try:
        spacing = float(table.header.get("mono.d_spacing", ""))
    except ValueError:
        raise UnreadableFileError("angles without a numeric Mono.d_spacing in the header") from None
    radians = table.units.get("angle", "degrees").lower().startswith("rad")
    angle = table.columns["angle"] if radians else np.radians(table.columns["angle"])
    with np.errstate(divide="ignore"):
        return np.asarray(_HC / (2 * spacing * np.sin(angle)))


def _signal(columns: dict[str, Array], wanted: str) -> Array:
    """Absorption by the wanted channel, or by the first that the file has."""
    found = _channels(columns)
    if not found:
        names = ", ".join(columns)
        raise UnreadableFileError(f"columns {names}; expected mu, or i0 with itrans or ifluor")
    return found.get(wanted, next(iter(found.values())))


def _channels(columns: dict[str, Array]) -> dict[str, Array]:
    """Absorption by each channel that the columns give, named as in `Instrument.signal`."""
    found: dict[str, Array] = {}
    if "spectrum" in columns:
        found["spectrum"] = columns["spectrum"]
    if "mu" in columns:
        found["mu"] = columns["mu"]
    found |= _channel(columns, "transmission", "mutrans", "i0", "itrans")
    found |= _channel(columns, "fluorescence", "mufluor", "ifluor", "i0")
    found |= _channel(columns, "reference", "murefer", "itrans", "irefer")
    return found


def _channel(
    columns: dict[str, Array], name: str, ready: str, above: str, below: str
) -> dict[str, Array]:
    if ready in columns:
        return {name: columns[ready]}
    if above not in columns or below not in columns:
        return {}
    with np.errstate(divide="ignore", invalid="ignore"):  # bad points are dropped and counted later
        ratio = columns[above] / columns[below]
        return {name: ratio if name == "fluorescence" else np.log(ratio)}


def _reference(columns: dict[str, Array]) -> Array | None:
    return _channel(columns, "reference", "murefer", "itrans", "irefer").get("reference")


def _parquet(path: Path, instrument: Instrument) -> Iterator[FileSpectrum]:
    """One spectrum per row of columns id, energy and mu, with absorber and edge where stated."""
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        names = set(file.schema_arrow.names)
        if missing := {"id", "energy", "mu"} - names:
            found = f"columns {sorted(names)} without {sorted(missing)}"
            raise UnreadableFileError(found)
        wanted = [n for n in ("id", "energy", "mu", "absorber", "edge") if n in names]
        for batch in file.iter_batches(batch_size=1024, columns=wanted):
            for row in batch.to_pylist():
                yield FileSpectrum(id=str(row["id"]), spectrum=_row(row, instrument))
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
        energy=energy * _EV[instrument.units.lower()],
        mu=mu,
        technique=instrument.technique,
        absorber=row.get("absorber") or instrument.absorber,
        edge=row.get("edge") or instrument.edge,
    )
