"""Files that hold the arrays of a result, for a catalog whose server reads the same disk."""

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import h5py
import numpy as np
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset, DataSource, Management
from tiled.utils import ensure_uri

from nearedge.streaming.catalog.boxes import chunks_of
from nearedge.streaming.catalog.connection import Client

MIMETYPE = "application/x-hdf5"
KEY = "key"
"""The attribute of a file that holds the name of its result."""
WHOLE_BYTES = 8 * 2**20
"""Larger arrays lie in parts: of one in a piece, the server reads all to give some."""


class ResultFiles:
    """One HDF5 file for each result, which a Tiled server shows as a container of arrays.

    A file has the digest of its content in its name: it is written once, whoever writes it and
    however often, and never changes.

    Parameters
    ----------
    folder
        Where the files lie; made with the first of them. The server must be allowed to read it.
    private
        Whether only the owner may read the files, whatever the umask.
    """

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self._folder, self._private = folder.absolute(), private

    @staticmethod
    def suit(arrays: Mapping[str, np.ndarray]) -> bool:
        """Return whether a file can hold them: Tiled gives empty ones of a file another shape."""
        return bool(arrays) and all(array.size for array in arrays.values())

    def write(self, name: str, arrays: Mapping[str, np.ndarray]) -> DataSource:
        """Write arrays into a file, unless it is there; return what the server is to read.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        path = self._folder / f"{name}-{_digest(arrays)}.h5"
        if not path.exists():
            mode = 0o700 if self._private else 0o777
            self._folder.mkdir(mode=mode, parents=True, exist_ok=True)
            self._write(path, name, arrays)
        return DataSource(
            structure_family=StructureFamily.container,
            structure=None,
            mimetype=MIMETYPE,
            management=Management.external,
            assets=[
                Asset(data_uri=ensure_uri(path), is_directory=False, parameter="data_uris", num=0)
            ],
        )

    def _write(self, path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write aside, under a name of its own: another service may write the same file."""
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with h5py.File(part, "w-") as file:
                if self._private:
                    part.chmod(0o600)
                file.attrs[KEY] = name
                for label, array in arrays.items():
                    file.create_dataset(label, data=array, chunks=_chunks(array))
            _sync(part)
            part.replace(path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, container: Client, name: str) -> None:
        """Remove an entry of a container, and its file of this folder if it has one."""
        uris = [asset.data_uri for one in container[name].data_sources() for asset in one.assets]
        container.delete_contents([name], recursive=True, external_only=False)
        for uri in uris:
            if (path := Path(urlparse(uri).path)).parent == self._folder:
                path.unlink(missing_ok=True)


def _chunks(array: np.ndarray) -> tuple[int, ...] | None:
    """Return the parts of a large array, such as spectra over a map; None: it lies in one piece."""
    if array.nbytes <= WHOLE_BYTES or array.ndim < 2:
        return None
    return (*chunks_of(array.shape[:-1]), array.shape[-1])


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:16]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
