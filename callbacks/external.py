"""File-backed readings: HDF5 data sets that documents point to, below permitted folders only."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import EllipsisType
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit

import h5py
import numpy as np

HDF5_MIMETYPES = frozenset({"application/x-hdf5", "application/x-hdf"})
HDF5_SPECS = frozenset(
    {
        "HDF5",
        "AD_HDF5",
        "AD_HDF5_SINGLE",
        "AD_HDF5_SWMR",
        "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM",
        "XSP3",
    }
)
_SLICE = re.compile(r"slice\(([^,()]*), ([^,()]*), ([^,()]*)\)")  # as Python writes one
PATHS = {"XSP3": "/entry/instrument/detector/data"}
"""Where the files of a spec hold their numbers, where the documents do not say it."""
MAX_READ_BYTES = 2**30
"""More than this in one read is refused."""


Index: TypeAlias = int | slice | EllipsisType


class ReadingError(Exception):
    """A reading that cannot be read; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set in an HDF5 file, not yet opened.

    Attributes
    ----------
    uri
        ``file:///…`` or ``file://localhost/…``.
    path
        Inside the file.
    mimetype
        The MIME type, as the documents give it.
    frames
        How many rows of the data set make one reading; 0 where only the shape of a reading tells.
    cut
        The part of the data set that counts, as an index such as ``":,1,:"``; empty: all of it.
    """

    uri: str
    path: str
    mimetype: str
    frames: int = 0
    cut: str = ""

    def of_channel(self, channel: int) -> "DataSet":
        """Return one channel's part of a data set (frames, channels, …), counted from 1."""
        return replace(self, cut=f":,{channel - 1}")


def dataset_of(*, uri: str, mimetype: str, parameters: dict[str, Any]) -> DataSet:
    """Return what a ``stream_resource`` points to."""
    path = parameters.get("dataset") or parameters.get("path") or ""
    return DataSet(
        uri=uri,
        path=str(path),
        mimetype=mimetype,
        frames=_frames(parameters),
        cut=_as_text(parameters.get("slice")),
    )


def dataset_of_resource(
    *, spec: str, root: str, resource_path: str, parameters: dict[str, Any]
) -> DataSet:
    """Return what a ``resource``, the older form, points to."""
    location = Path(root, resource_path.lstrip("/")) if root else Path(resource_path)
    default = PATHS.get(spec.upper(), "/entry/data/data")
    hdf5 = spec.upper() in HDF5_SPECS
    return dataset_of(
        uri=f"file://localhost{quote(str(location.absolute()))}",
        mimetype="application/x-hdf5" if hdf5 else f"resource of spec {spec}",
        parameters={"path": default, **parameters},
    )


def _frames(parameters: dict[str, Any]) -> int:
    found = parameters.get("frame_per_point", parameters.get("multiplier"))
    if not isinstance(found, int | float | np.integer) or not float(found).is_integer():
        return 0
    return int(found) if found > 1 else 0


def _as_text(cut: Any) -> str:
    parts = cut if isinstance(cut, list | tuple) else [] if cut is None else [cut]
    return _SLICE.sub(r"\1:\2:\3", ",".join(map(str, parts)))


def read_frames(
    dataset: DataSet, *, start: int, stop: int, shape: Sequence[int | None], roots: Sequence[str]
) -> np.ndarray:
    """Read readings ``start`` to ``stop`` of a data set.

    Parameters
    ----------
    dataset
        Where they lie.
    start, stop
        The first, and the one past the last, in readings.
    shape
        The shape of one reading, from the descriptor's data key. A data set with one axis more than
        this stacks readings; one with as many concatenates them along its first axis. Where the
        documents say how many frames a reading has, that many rows are one.
    roots
        Folders below which files may be opened, symbolic links resolved.

    Returns
    -------
    np.ndarray
        (stop - start, …) numbers.

    Raises
    ------
    ReadingError
        When the file is refused, missing, too short or no HDF5 file with that data set.
    """
    if dataset.mimetype not in HDF5_MIMETYPES:
        raise ReadingError(f"found {dataset.mimetype}, expected HDF5 ({dataset.uri})")
    path = local_path(dataset.uri, roots=roots)
    if not path.is_file():
        raise ReadingError(f"found no file {path}")
    try:
        with _opened(path) as file:
            node = file[dataset.path]
            if not isinstance(node, h5py.Dataset):
                raise ReadingError(f"found {type(node).__name__}, expected a data set")
            _refuse_other_files(node, roots)
            return _read(node, dataset, start, stop, shape)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ReadingError(f"{path} [{dataset.path}]: {error}") from error


def local_path(uri: str, *, roots: Sequence[str]) -> Path:
    """Return the file that a uri names, once it is known to lie below a permitted folder.

    Raises
    ------
    ReadingError
        When the uri is none of this host's files, or lies outside the folders.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ReadingError(f"found {uri!r:.200}, expected file://localhost/…") from error
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise ReadingError(f"found {uri}, expected file://localhost/…: only local files are opened")
    return _permitted(Path(unquote(parts.path)), roots)


def _permitted(path: Path, roots: Sequence[str]) -> Path:
    # compared after symbolic links and '..' are gone, or a link would lead out of the folders
    try:
        real = Path(os.path.realpath(path))
    except ValueError as error:  # a null byte
        raise ReadingError(f"{str(path)!r:.200} is no path: {error}") from error
    if any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        return real
    allowed = ", ".join(roots) or "none"
    raise ReadingError(
        f"{path} lies outside the permitted folders ({allowed}): "
        "add its folder to instrument.readable_roots"
    )


def _opened(path: Path) -> h5py.File:
    # a file that a detector still writes is open for single writer, multiple readers, or cannot be
    # locked; a file that this very process writes can only be opened with the same lock
    for settings in ({"swmr": True, "locking": False}, {"locking": False}, {"swmr": True}):
        with suppress(OSError, ValueError):
            return h5py.File(path, "r", **settings)
    return h5py.File(path, "r")


def _read(
    node: Any, dataset: DataSet, start: int, stop: int, shape: Sequence[int | None]
) -> np.ndarray:
    along, rest = _index(dataset.cut, node.shape)
    rows = range(node.shape[0])[along]
    pairs = zip(node.shape[1:], rest, strict=True)
    kept = [len(range(size)[part]) for size, part in pairs if isinstance(part, slice)]
    per_reading = _rows_per_reading(node, (len(rows), *kept), shape, dataset.frames)
    first, last = start * per_reading, stop * per_reading
    if last > len(rows):
        raise ReadingError(
            f"{node.file.filename} [{node.name}] holds {len(rows) // per_reading} readings, "
            f"expected {stop}: it may not be written yet"
        )
    if (last - first) * int(np.prod(kept)) * node.dtype.itemsize > MAX_READ_BYTES:
        raise ReadingError(f"{stop - start} readings are more than {MAX_READ_BYTES} bytes")
    wanted = rows[first:last]
    frames = np.asarray(node[(slice(wanted.start, wanted.stop, wanted.step), *rest)])
    return frames.reshape(stop - start, -1, *frames.shape[1:]) if per_reading > 1 else frames


def _index(cut: str, shape: Sequence[int]) -> tuple[slice, list[int | slice]]:
    """Return the part of the first axis that counts, and an index of the others."""
    index = [_part(text) for text in cut.strip(" ()[]").split(",") if text.strip()]
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    before, after = index[:at], index[at + 1 :]
    between = [slice(None)] * (len(shape) - len(before) - len(after))
    parts = [part for part in (*before, *between, *after) if not isinstance(part, EllipsisType)]
    if (
        len(parts) != len(shape)
        or not isinstance(parts[0], slice)
        or not all(map(_is_forward, parts))
    ):
        raise ReadingError(
            f"found slice {cut!r} of a data set of shape {tuple(shape)}: expected one that keeps "
            "its first axis and goes forward"
        )
    return parts[0], parts[1:]


def _is_forward(part: int | slice) -> bool:
    return isinstance(part, int) or part.step is None or part.step > 0


def _part(text: str) -> Index:
    text = text.strip()
    if text in ("...", "Ellipsis"):
        return Ellipsis
    try:
        ends = [int(end) if end.strip() not in ("", "None") else None for end in text.split(":")]
        return int(text) if len(ends) == 1 else slice(*ends)
    except (ValueError, TypeError) as error:
        raise ReadingError(f"found {text!r} in a slice: expected such as ':,1,:'") from error


def _rows_per_reading(
    node: h5py.Dataset, found: Sequence[int], shape: Sequence[int | None], frames: int
) -> int:
    if node.dtype.kind not in "iufb":
        raise ReadingError(f"found {node.dtype} in {node.name}, expected numbers")
    # ophyd before 1.4 writes a 0 for an axis that a detector does not have
    shape = [size for size in shape if size != 0]
    stacked = len(found) == len(shape) + 1 or not shape
    if frames and not (stacked and shape and list(found[1:2]) == [frames] == shape[:1]):
        return frames
    if stacked:
        return 1
    if len(found) == len(shape):
        return int(shape[0] or 1)
    raise ReadingError(f"{node.name} has shape {node.shape}, expected readings of {tuple(shape)}")


def _refuse_other_files(node: h5py.Dataset, roots: Sequence[str]) -> None:
    """Refuse a data set whose numbers lie in files outside the folders, through any HDF5 link."""
    here = Path(node.file.filename)
    others = [here]
    if node.is_virtual:
        others += [here.parent / s.file_name for s in node.virtual_sources() if s.file_name != "."]
    others += [here.parent / os.fsdecode(name) for name, _, _ in node.external or ()]
    for other in others:
        _permitted(other, roots)
