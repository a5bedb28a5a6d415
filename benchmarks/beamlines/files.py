"""Runs whose fluorescence spectra lie in HDF5 files, in all forms that documents have for it."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
from ophyd.sim import SynSignal

from benchmarks.beamlines.beamline import (
    ENERGIES,
    Beamline,
    Document,
    mu,
    stop_of,
    uid_of,
)
from benchmarks.beamlines.case import Sent, case

BINS, LINE = 256, slice(100, 120)
CHANNELS = ("xs_channel1", "xs_channel2")
PATH = "/entry/data/data"
LATE_S = 6.0

KwargsOf = Callable[[int, int], dict[str, Any]]


def frames(line: Beamline, *, per_point: int = 1, channels: int = 2) -> np.ndarray:
    """Return spectra of a silicon-drift detector: (points * per_point, channels, bins)."""
    strength = np.repeat(2000 * mu(ENERGIES) + 50, per_point) / per_point
    found = line.rng.poisson(20, (len(strength), channels, BINS))
    found[..., LINE] += line.rng.poisson(strength[:, None, None], found[..., LINE].shape)
    return found.astype("u4")


def written(line: Beamline, data: np.ndarray, *, name: str | None = None) -> Path:
    """Write frames whole, and each channel by itself, into a file; return its path."""
    path = line.folder / (name or f"{uuid.uuid4()}.h5")
    with h5py.File(path, "w") as file:
        file[PATH] = data
        for channel in range(data.shape[1] if data.ndim > 2 else 0):
            file[f"channel{channel + 1}"] = data[:, channel]
    return path


def head(line: Beamline, shape: list[int], kind: str) -> tuple[list[Document], dict[str, Any]]:
    """Return start and descriptor of a run with two channels in files, and its scalar columns."""
    start = {"uid": str(uuid.uuid4()), "time": time.time(), "scan_id": 1, "plan_name": "list_scan"}
    number = {"source": "PV", "dtype": "number", "shape": []}
    array = {"source": "file", "dtype": "array", "shape": shape, "external": kind}
    descriptor = {
        **{"uid": str(uuid.uuid4()), "run_start": start["uid"], "time": start["time"]},
        **{"name": "primary", "configuration": {}, "object_keys": {}, "hints": {}},
        "data_keys": {
            **{"mono_energy": number, "ion_chamber_1": number},
            **{channel: {**array, "dtype_numpy": "<u4"} for channel in CHANNELS},
        },
    }
    columns = line.columns(ENERGIES)
    del columns["ion_chamber_2"]
    return [("start", start), ("descriptor", descriptor)], columns


def event(docs: list[Document], columns: dict[str, Any], row: int, **data: Any) -> Document:
    """Return the event of a point."""
    (_, start), (_, descriptor) = docs[:2]
    read = {**{k: float(v[row]) for k, v in columns.items()}, **data}
    return "event", {
        **{"uid": str(uuid.uuid4()), "descriptor": descriptor["uid"], "seq_num": row + 1},
        **{"time": start["time"] + 1e-3 * row, "data": read},
        **{"timestamps": dict.fromkeys(read, start["time"]), "filled": dict.fromkeys(data, False)},
    }


def older(
    line: Beamline,
    file: Path,
    *,
    spec: str,
    kwargs_of: KwargsOf,
    shape: list[int],
    resource: dict[str, Any] | None = None,
) -> list[Document]:
    """Return documents with resource and datum, as ophyd's area detectors write them."""
    docs, columns = head(line, shape, "FILESTORE:")
    rid = str(uuid.uuid4())
    docs.append(
        (
            "resource",
            {
                **{"uid": rid, "run_start": docs[0][1]["uid"], "spec": spec, "root": "/"},
                **{"resource_path": str(file).lstrip("/"), "path_semantics": "posix"},
                "resource_kwargs": resource or {},
            },
        )
    )
    for row in range(len(ENERGIES)):
        names = {}
        for number, channel in enumerate(CHANNELS, start=1):
            names[channel] = f"{rid}/{row}-{number}"
            kwargs = kwargs_of(row, number)
            datum = {"datum_id": names[channel], "resource": rid, "datum_kwargs": kwargs}
            docs.append(("datum", datum))
        docs.append(event(docs, columns, row, **names))
    return [*docs, stop_of(docs[0][1], len(ENERGIES))]


def newer(
    line: Beamline,
    file: Path,
    *,
    shape: list[int],
    describe: Callable[[int], dict[str, Any]],
    every: int = 40,
) -> list[Document]:
    """Return documents with stream_resource and stream_datum, as ophyd-async writes them."""
    docs, columns = head(line, shape, "STREAM:")
    uid, resources = docs[0][1]["uid"], {}
    for number, channel in enumerate(CHANNELS, start=1):
        resources[channel] = str(uuid.uuid4())
        about = {"uid": resources[channel], "run_start": uid, "data_key": channel}
        docs.append(("stream_resource", {**about, **describe(number)}))
    for row in range(len(ENERGIES)):
        docs.append(event(docs, columns, row))
        if (row + 1) % every == 0:
            places = {
                "indices": {"start": row + 1 - every, "stop": row + 1},
                "seq_nums": {"start": row + 2 - every, "stop": row + 2},
            }
            docs += [
                (
                    "stream_datum",
                    {
                        **{"uid": f"{rid}/{row}", "stream_resource": rid},
                        **{"descriptor": docs[1][1]["uid"], **places},
                    },
                )
                for rid in resources.values()
            ]
    return [*docs, stop_of(docs[0][1], len(ENERGIES))]


def at(file: Path, **parameters: Any) -> dict[str, Any]:
    """Return what a stream_resource says of a file."""
    return {
        "mimetype": "application/x-hdf5",
        "uri": f"file://localhost{file}",
        "parameters": {"chunk_shape": [1], **parameters},
    }


def sent(line: Beamline, docs: list[Document], **expected: Any) -> list[Sent]:
    """Publish a run and return it."""
    line.publish(docs)
    return [Sent(uid=uid_of(docs), **expected)]


@case("counts of two elements in the events", profile="fluorescence")
def in_events(line: Beamline) -> list[Sent]:
    def element() -> float:
        return float(line.rng.poisson(1e5 * mu(line.mono.position) + 1e3))

    elements = [SynSignal(func=element, name=channel) for channel in CHANNELS]
    plan = bp.list_scan([line.i0, *elements], line.mono, ENERGIES.tolist())
    return [Sent(uid=uid) for uid in line.run(plan)]


@case("resource of spec AD_HDF5, a frame for each point", profile="fluorescence")
def area_detector(line: Beamline) -> list[Sent]:
    file = written(line, frames(line)[:, 0])
    docs = older(
        line,
        file,
        spec="AD_HDF5",
        shape=[1, BINS],
        kwargs_of=lambda row, channel: {"point_number": row},
        resource={"frame_per_point": 1},
    )
    return sent(line, docs)


@case("resource of spec AD_HDF5, three frames for each point", profile="fluorescence")
def three_frames(line: Beamline) -> list[Sent]:
    file = written(line, frames(line, per_point=3)[:, 0])
    docs = older(
        line,
        file,
        spec="AD_HDF5",
        shape=[BINS],
        kwargs_of=lambda row, channel: {"point_number": row},
        resource={"frame_per_point": 3},
    )
    return sent(line, docs)


@case("resource of spec XSP3, by frame and channel", profile="fluorescence")
def xspress(line: Beamline) -> list[Sent]:
    file = line.folder / f"{uuid.uuid4()}.h5"
    with h5py.File(file, "w") as h5:
        h5["/entry/instrument/detector/data"] = frames(line)
    docs = older(
        line,
        file,
        spec="XSP3",
        shape=[BINS],
        kwargs_of=lambda row, channel: {"frame": row, "channel": channel},
    )
    return sent(line, docs)


@case("resource of spec AD_TIFF, which cannot be read", profile="fluorescence")
def tiff(line: Beamline) -> list[Sent]:
    docs = older(
        line,
        line.folder,
        spec="AD_TIFF",
        shape=[1, BINS],
        kwargs_of=lambda row, channel: {"point_number": row},
        resource={"template": "%s%s_%6.6d.tiff", "filename": "x", "frame_per_point": 1},
    )
    return sent(line, docs, outcome="rejected")


@case("stream_resource, a dataset for each channel", profile="fluorescence")
def streamed(line: Beamline) -> list[Sent]:
    file = written(line, frames(line))
    return sent(
        line, newer(line, file, shape=[BINS], describe=lambda n: at(file, dataset=f"/channel{n}"))
    )


@case("stream_resource, the channel in `slice`", profile="fluorescence")
def sliced(line: Beamline) -> list[Sent]:
    file = written(line, frames(line))

    def describe(number: int) -> dict[str, Any]:
        return at(file, dataset=PATH, slice=f":,{number - 1},:")

    return sent(line, newer(line, file, shape=[BINS], describe=describe))


@case("stream_resource of the older form: spec, root, resource_path", profile="fluorescence")
def older_stream(line: Beamline) -> list[Sent]:
    file = written(line, frames(line))

    def describe(number: int) -> dict[str, Any]:
        return {
            **{"spec": "AD_HDF5_SWMR_SLICE", "root": "/", "path_semantics": "posix"},
            "resource_path": str(file).lstrip("/"),
            "resource_kwargs": {"path": f"/channel{number}", "multiplier": 1},
        }

    return sent(line, newer(line, file, shape=[BINS], describe=describe))


@case("a file that comes after the run has ended", profile="fluorescence")
def late(line: Beamline) -> list[Sent]:
    name, data = f"{uuid.uuid4()}.h5", frames(line)
    file = line.folder / name
    docs = newer(line, file, shape=[BINS], describe=lambda n: at(file, dataset=f"/channel{n}"))
    docs = [(k, {**d, "time": d["time"] - 5} if "time" in d else d) for k, d in docs]
    line.store(docs)  # without the catalog it could not be read again

    def write() -> None:
        written(line, data, name=f"{name}.part").rename(file)

    threading.Timer(LATE_S, write).start()
    return sent(line, docs)


@case(
    "a file that never comes, and one outside the folders that may be read", profile="fluorescence"
)
def unreadable(line: Beamline) -> list[Sent]:
    elsewhere = written(line, frames(line), name="../outside.h5")
    runs = []
    for file in (line.folder / "never.h5", elsewhere.resolve()):
        docs = newer(
            line, file, shape=[BINS], describe=lambda n, f=file: at(f, dataset=f"/channel{n}")
        )
        runs += sent(line, docs, outcome="rejected")
    return runs
