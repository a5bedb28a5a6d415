"""Frames that a simulated detector writes to HDF5 files, and the documents that say where."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import (
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    PathProvider,
    StreamableDataProvider,
    StreamResourceDataProvider,
    StreamResourceInfo,
    soft_signal_r_and_setter,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameForm:
    """What each frame adds to a dataset: an array of this shape and dtype, such as ``<f8``."""

    shape: tuple[int, ...]
    dtype: str


class FrameWriter:
    """Writes frames to one HDF5 file at a time, readable while it grows (SWMR).

    Parameters
    ----------
    expose
        Takes a frame: an array for each dataset.
    forms
        The datasets by name.
    """

    def __init__(
        self,
        expose: Callable[[], Awaitable[Sequence[NDArray[Any]]]],
        forms: Mapping[str, FrameForm],
    ) -> None:
        self._expose, self.forms = expose, dict(forms)
        self._file: h5py.File | None = None
        self.frames = 1
        self.written, self.set_written = soft_signal_r_and_setter(int)

    def open(self, path: Path) -> None:
        """Start a file with an empty dataset for each form."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # unlocked: readers follow the file while it grows, in this process or another
        self._file = h5py.File(path, "w", libver="latest", locking=False)
        for name, form in self.forms.items():
            self._file.create_dataset(
                name,
                (0, *form.shape),
                np.dtype(form.dtype),
                maxshape=(None, *form.shape),
                chunks=(1, *form.shape),
            )
        self._file.swmr_mode = True
        self.set_written(0)

    async def write(self) -> None:
        """Expose and write the frames that were asked for."""
        for _ in range(self.frames):
            self._append(await self._expose())

    def _append(self, frame: Sequence[NDArray[Any]]) -> None:
        if self._file is None:
            raise RuntimeError("no file is open: the detector was triggered before it was prepared")
        count = 0
        for name, values in zip(self.forms, frame, strict=True):
            dataset = self._file[name]
            count = len(dataset) + 1
            dataset.resize(count, axis=0)
            dataset[-1] = values
            dataset.flush()
        self.set_written(count)

    def close(self) -> None:
        """Close the file, if one is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


class FrameTrigger(DetectorTriggerLogic):
    """Says how many frames come next."""

    def __init__(self, writer: FrameWriter) -> None:
        self._writer = writer

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        """Take the number of frames; their time is the detector's own."""
        self._writer.frames = num


class FrameAcquisition(DetectorAcquireLogic):
    """Exposes in a task of its own."""

    def __init__(self, writer: FrameWriter) -> None:
        self._writer = writer
        self._task: asyncio.Task[None] | None = None

    async def start_acquiring(self) -> None:
        """Begin to expose."""
        self._task = asyncio.create_task(self._writer.write())

    async def wait_for_idle(self) -> None:
        """Wait until the frames are written."""
        if self._task is not None:
            await self._task

    async def ensure_stopped(self) -> None:
        """Stop exposing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None


class FrameFiles(DetectorDataLogic):
    """Says where the frames are."""

    def __init__(self, writer: FrameWriter, path_provider: PathProvider) -> None:
        self._writer = writer
        self._path_provider = path_provider

    async def prepare_unbounded(self, datakey_name: str) -> StreamableDataProvider:
        """Open a new file and describe its datasets."""
        info = self._path_provider(datakey_name)
        file = f"{info.filename}.h5"
        self._writer.open(Path(info.directory_path) / file)
        return StreamResourceDataProvider(
            uri=f"{info.directory_uri}{file}",
            resources=[self._resource(datakey_name, *one) for one in self._writer.forms.items()],
            mimetype="application/x-hdf5",
            collections_written_signal=self._writer.written,
        )

    def _resource(self, datakey_name: str, dataset: str, form: FrameForm) -> StreamResourceInfo:
        return StreamResourceInfo(
            data_key=f"{datakey_name}-{dataset}",
            shape=form.shape,
            chunk_shape=(1, *form.shape),
            dtype_numpy=form.dtype,
            parameters={"dataset": f"/{dataset}"},
        )

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        """Plot the first dataset."""
        return [f"{datakey_name}-{next(iter(self._writer.forms))}"]

    async def stop(self) -> None:
        """Close the file."""
        self._writer.close()
