"""File-backed readings: HDF5 data sets that documents point to, below permitted folders only."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h5py
import numpy as np

HDF5_MIMETYPES = frozenset({"application/x-hdf5", "application/x-hdf"})
HDF5_SPECS = frozenset({"HDF5", "AD_HDF5", "AD_HDF5_SINGLE", "AD_HDF5_SWMR"})
MAX_READ_BYTES = 2**30
"""More than this in one read is refused."""


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
        As the documents give it.
    """

    uri: str
    path: str
    mimetype: str


def dataset_of(*, uri: str, mimetype: str, parameters: dict[str, Any]) -> DataSet:
    """Return what a ``stream_resource`` points to."""
    path = parameters.get("dataset") or parameters.get("path") or ""
    return DataSet(uri=uri, path=str(path), mimetype=mimetype)


def dataset_of_resource(
    *, spec: str, root: str, resource_path: str, parameters: dict[str, Any]
) -> DataSet:
    """Return what a ``resource``, the older form, points to."""
    location = (Path(root or "/") / resource_path.lstrip("/")) if root else Path(resource_path)
    hdf5 = spec.upper() in HDF5_SPECS
    return DataSet(
        uri=f"file://localhost{location}",
        path=str(parameters.get("dataset") or parameters.get("path") or "/entry/data/data"),
        mimetype="application/x-hdf5" if hdf5 else f"resource of spec {spec}",
    )


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
        Of one reading, from the descriptor's data key. A data set with one axis more than this
        stacks readings; one with as many concatenates them along its first axis.
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
            return _read(file[dataset.path], start, stop, shape, roots)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
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
    node: Any, start: int, stop: int, shape: Sequence[int | None], roots: Sequence[str]
) -> np.ndarray:
    if not isinstance(node, h5py.Dataset):
        raise ReadingError(f"found {type(node).__name__} at {node.name}, expected a data set")
    _refuse_other_files(node, roots)
    per_reading = _rows_per_reading(node, shape)
    first, last = start * per_reading, stop * per_reading
    if last > node.shape[0]:
        raise ReadingError(
            f"{node.file.filename} [{node.name}] holds {node.shape[0] // per_reading} readings, "
            f"expected {stop}: it may not be written yet"
        )
    if (last - first) * int(np.prod(node.shape[1:])) * node.dtype.itemsize > MAX_READ_BYTES:
        raise ReadingError(f"{stop - start} readings are more than {MAX_READ_BYTES} bytes")
    frames = np.asarray(node[first:last])
    return frames.reshape(stop - start, -1, *frames.shape[1:]) if per_reading > 1 else frames


def _rows_per_reading(node: h5py.Dataset, shape: Sequence[int | None]) -> int:
    if node.dtype.kind not in "iufb":
        raise ReadingError(f"found {node.dtype} in {node.name}, expected numbers")
    if node.ndim == len(shape) + 1 or not shape:
        return 1
    if node.ndim == len(shape):
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
