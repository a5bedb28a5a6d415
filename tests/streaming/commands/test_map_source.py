"""Maps come from files, recorded documents and stored runs alike."""

import json
from contextlib import contextmanager

import event_model
import h5py
import numpy as np
import pytest
from bluesky_tiled_plugins import TiledWriter

from nearedge.callbacks.images import ImageError
from nearedge.streaming.catalog.connection import raw_container
from nearedge.streaming.commands import opening
from nearedge.streaming.commands.map_source import map_of
from nearedge.streaming.settings.profile import Profile

ENERGY = 1800.0 + np.arange(12.0)
PLACES = [(y, x) for y in range(2) for x in range(3)]


def value(y, x):
    return 10.0 * y + x + np.arange(12.0)


def raster(uid):
    metadata = {
        "plan_name": "grid_scan",
        "motors": ["y", "x"],
        "shape": [2, 3],
        "hints": {"dimensions": [[["y"], "primary"], [["x"], "primary"]]},
    }
    run = event_model.compose_run(uid=uid, time=1.7e9, metadata=metadata)
    yield "start", run.start_doc
    array = {"source": "s", "dtype": "array", "shape": [12], "dtype_numpy": "<f8"}
    motor = {"source": "s", "dtype": "number", "shape": [], "units": "mm"}
    keys = {"energy": array, "camera": array, "x": motor, "y": motor}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    yield "descriptor", stream.descriptor_doc
    for y, x in PLACES:
        data = {
            **{"energy": ENERGY.tolist(), "camera": value(y, x).tolist()},
            **{"x": 1.0 * x, "y": 1.0 * y},
        }
        yield (
            "event",
            stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.7e9)),
        )
    yield "stop", run.compose_stop()


@pytest.fixture
def profile():
    roles = {"energy": "energy", "spectrum": "camera"}
    told = {"technique": "eels", "absorber": "Si", "signal": "spectrum", "roles": roles}
    return Profile.model_validate({"instrument": told, "catalog": {"raw": "maps"}})


def compare(found):
    assert found.shape == (2, 3)
    assert [(axis.name, axis.unit) for axis in found.axes] == [("y", "mm"), ("x", "mm")]
    assert found.spectra.energy.tolist() == ENERGY.tolist()
    for k, (y, x) in enumerate(PLACES):
        assert found.spectra.mu[k].tolist() == value(y, x).tolist()


def test_recorded_documents_are_a_map(profile, tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in raster("recorded")))
    compare(map_of(str(path), profile))


def test_a_stored_run_is_a_map(profile, tiled_server, monkeypatch):
    raw = raw_container(tiled_server, "maps")
    writer = TiledWriter(raw, batch_size=100, max_array_size=0)
    for name, doc in raster("stored-run"):
        writer(name, doc)

    @contextmanager
    def connected(_):
        yield "server"

    monkeypatch.setattr(opening, "connected", connected)
    monkeypatch.setattr(opening, "client_of", lambda server: tiled_server)
    compare(map_of("stored-run", profile))
    with pytest.raises(KeyError, match="no run 'elsewhere'"):
        map_of("elsewhere", profile)


def test_a_file_is_a_map(profile, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["counts"] = np.ones((2, 3, 12))
        file["energy"] = ENERGY
    assert map_of(str(tmp_path / "a.h5"), profile).shape == (2, 3)


def test_a_file_that_is_not_there_is_no_uid(profile):
    with pytest.raises(FileNotFoundError, match=r"no file missing\.h5"):
        map_of("missing.h5", profile)


def test_documents_without_a_map_say_why(profile, tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(ImageError, match="no start document"):
        map_of(str(tmp_path / "a.jsonl"), profile)
