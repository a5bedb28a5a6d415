"""Tell the form of a file from its content, and read every spectrum in it."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Reason, Rejected, Spectrum
from nearedge.streaming.sources.files import athena, hdf5, parquet, rosetta, spec
from nearedge.streaming.sources.files.chosen import Chosen
from nearedge.streaming.sources.files.rows import decode, lines_of
from nearedge.streaming.sources.files.spectra import spectra_of
from nearedge.streaming.sources.files.table import NoEnergyError, Table, UnreadableFileError
from nearedge.streaming.sources.files.text import read_text

MAX_TEXT_MB = 64
_NO_ENERGY = "nearedge.no_energy"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileSpectrum:
    """One spectrum of a file.

    Attributes
    ----------
    id
        The row's ``id`` in a Parquet file, else the name of the file; of several spectra in a
        file with the name of each: ``scans.spec#scan 1.1``.
    spectrum
        The spectrum, or why it could not be read.
    metadata
        What else the file says of it.
    file
        The file, as it was named.
    signal
        How the absorption is made of the file's columns, such as ``ln(I0/It)``; None where there
        is none, or nothing had to be chosen.
    measured
        Which signal of `Instrument` that is; None where the file does not tell.
    """

    id: str
    spectrum: Spectrum | Rejected
    metadata: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    signal: str | None = None
    measured: str | None = None


def read_spectra(
    path: Path, instrument: Instrument, *, columns: Chosen | None = None
) -> list[FileSpectrum]:
    """Return all spectra of a file, whose content tells its form.

    What the file does not state, absorber, edge, units and which signal to take, comes from the
    instrument's profile; where both do, the file is right. A file that cannot be read gives one
    entry with the reason, never an exception.

    Parameters
    ----------
    path
        Columns of text as beamlines write them, XDI, EMSA/MSPEC, SPEC, an Athena project,
        HDF5/NeXus, Parquet, or a file that RosettaSciIO reads.
    instrument
        Section of the profile.
    columns
        Which columns play which role, stronger than the profile and the usual names.
    """
    path = Path(path)
    try:
        found = list(_distinct(_scans(list(_read(path, instrument, columns)))))
    except (UnreadableFileError, OSError) as error:
        found = [_unreadable(path, path.name, error)]
    return [replace(one, file=str(path)) for one in found]


def _read(path: Path, instrument: Instrument, columns: Chosen | None) -> Iterator[FileSpectrum]:
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(parquet.MAGIC):
        for name, spectrum in parquet.read_parquet(path, instrument):
            yield FileSpectrum(id=name, spectrum=spectrum)
    elif path.suffix.lower() in rosetta.READERS:
        yield from _all(path, rosetta.read_signals(path), instrument, columns)
    elif hdf5.is_hdf5(path):
        for tables in hdf5.read_hdf5(path):
            yield from _likeliest(path, tables, instrument, columns)
    elif (project := athena.project_text(path)) is not None:
        yield from _all(path, athena.read_project(project), instrument, columns)
    else:
        yield from _all(path, _texts(path), instrument, columns)


def _texts(path: Path) -> Iterator[Table | UnreadableFileError]:
    if path.stat().st_size > MAX_TEXT_MB * 1e6:
        raise UnreadableFileError(f"larger than {MAX_TEXT_MB} MB, which no text of one spectrum is")
    text = decode(_unpacked(path))
    lines = lines_of(text)
    if spec.is_spec(lines):
        yield from spec.read_spec(lines)
    else:
        yield read_text(text)


def _unpacked(path: Path) -> bytes:
    """Return the bytes of a file, those within where gzip has packed it."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    most = int(MAX_TEXT_MB * 1e6)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            inside = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(f"gzip cannot unpack it: {error}") from error
    if len(inside) > most:
        raise UnreadableFileError(f"larger than {MAX_TEXT_MB} MB unpacked, which no text is")
    return inside


def _all(
    path: Path,
    tables: Iterable[Table | UnreadableFileError],
    instrument: Instrument,
    columns: Chosen | None,
) -> Iterator[FileSpectrum]:
    for table in tables:
        if isinstance(table, UnreadableFileError):
            yield _unreadable(path, path.name, table)
            continue
        try:
            yield from _spectra(path, table, instrument, columns)
        except UnreadableFileError as error:
            yield _not_spectrum(path, table, error)


def _likeliest(
    path: Path, tables: list[Table], instrument: Instrument, columns: Chosen | None
) -> Iterator[FileSpectrum]:
    """Yield the spectra of the first table that has the wanted columns."""
    first: UnreadableFileError | None = None
    for table in tables:
        try:
            yield from _spectra(path, table, instrument, columns)
            return
        except UnreadableFileError as error:
            first = first or error
    yield _not_spectrum(path, tables[0], first or UnreadableFileError("no columns"))


def _spectra(
    path: Path, table: Table, instrument: Instrument, columns: Chosen | None
) -> Iterator[FileSpectrum]:
    for name, spectrum, channels in spectra_of(table, instrument, columns):
        yield FileSpectrum(
            id=_id(path, name),
            spectrum=spectrum,
            metadata=dict(table.header),
            signal=channels.made_as,
            measured=channels.measured,
        )


def _id(path: Path, name: str) -> str:
    return f"{path.name}#{name}" if name else path.name


def _scans(found: list[FileSpectrum]) -> Iterator[FileSpectrum]:
    """Tell alignment scans from spectra that cannot be read, where a file has both."""
    spectra = any(isinstance(one.spectrum, Spectrum) for one in found)
    for one in found:
        if spectra and one.metadata.get(_NO_ENERGY):
            detail = f"{one.id} scans no energy: {one.metadata.get('title', '')}"
            yield replace(one, spectrum=Rejected(reason=Reason.NOT_A_SAMPLE, detail=detail))
        else:
            yield one


def _distinct(found: Iterable[FileSpectrum]) -> Iterator[FileSpectrum]:
    """Give a number to what has the same name in one file, such as two groups of one label."""
    seen: dict[str, int] = {}
    for one in found:
        seen[one.id] = count = seen.get(one.id, 0) + 1
        name = one.id if count == 1 else f"{one.id} ({count})"
        yield replace(one, id=name)


def _not_spectrum(path: Path, table: Table, error: UnreadableFileError) -> FileSpectrum:
    about = table.header | {_NO_ENERGY: isinstance(error, NoEnergyError)}
    return replace(_unreadable(path, _id(path, table.name), error), metadata=about)


def _unreadable(path: Path, name: str, error: Exception) -> FileSpectrum:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    detail = f"{path.name}: {text}"
    return FileSpectrum(id=name, spectrum=Rejected(reason=Reason.UNREADABLE, detail=detail))
