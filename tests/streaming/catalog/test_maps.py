"""Maps in the catalog are whole, searchable, and come back as they were written."""

from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from nearedge.models import Reason, Rejected
from nearedge.models.answering.several import Several
from nearedge.sim.maps import eels_map, write_map
from nearedge.streaming.answers.maps import Representative
from nearedge.streaming.catalog.maps import Maps, map_metadata, store_map
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.commands import map_source, opening
from nearedge.streaming.commands.mapping import MapOptions, Mapping
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files.maps import read_map

ABOUT = {
    "raw": {"uid": "run-1"},
    "technique": "eels",
    "absorber": "Si",
    "edge": "K",
    "config": "c",
    "written": 1.0,
}


@pytest.fixture(scope="module")
def profile():
    instrument = {"technique": "eels", "absorber": "Si", "composition": "SiO2", "signal": "mu"}
    worker = {"model": "siox", "samples": 3, "threads": 1}
    return Profile.model_validate({"instrument": instrument, "worker": worker})


@pytest.fixture(scope="module")
def mapped(profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    write_map(eels_map(size=10), folder / "raw.h5")
    model = Several.load("siox", device="cpu", threads=1)
    image = read_map(folder / "raw.h5", profile.instrument)
    Mapping(profile, model, MapOptions()).run(image, folder / "map.h5", source="raw.h5")
    return folder / "map.h5"


@pytest.fixture(scope="module", params=["sent", "in a file"])
def stored(request, mapped, tiled_server, tiled_files):
    files = ResultFiles(tiled_files / "maps") if request.param == "in a file" else None
    box = tiled_server.create_container(f"maps {request.param}")
    store_map(box, "one", mapped, about=ABOUT, files=files)
    store_map(box, "one", mapped, about=ABOUT, files=files)  # is there already
    return Maps(box)


def test_the_arrays_come_back(stored, mapped):
    found = stored["one"]
    assert found.key == "one"
    assert found.shape == (10, 10)
    with h5py.File(mapped) as file:
        for name in ("bond", "cn_mean_lo", "group", "flags", "reason", "e0"):
            wanted = file[f"entry/figures/{name}"][()]
            assert np.array_equal(found[name], wanted, equal_nan=wanted.dtype.kind == "f")
        assert np.array_equal(found["norm"], file["entry/spectra/norm"][()], equal_nan=True)
        assert found["cn_prob"].shape == (10, 10, 13)
        assert found["group_0_positions"].tolist() == (
            file["entry/groups/0/positions"][()].tolist()
        )
        assert found["group_0_species"].shape == found["group_0_positions"].shape[:2]
    assert [(axis.name, axis.unit) for axis in found.axes] == [("y", "nm"), ("x", "nm")]
    assert found.axes[1].positions[:2].tolist() == [0.0, 0.5]


def test_what_can_be_searched_sums_the_map_up(stored):
    metadata = stored["one"].metadata
    assert metadata["status"] == "complete"
    assert metadata["pixels"] == 100
    assert metadata["answered"] + sum(metadata["rejected"].values()) == 100
    assert metadata["flags"]["heads-only"] == metadata["answered"]
    assert metadata["cn"]["min"] >= 3
    assert metadata["cn"]["max"] <= 7
    assert metadata["groups"][0]["pixels"] > 20
    assert [one.key for one in stored.search(raw_uid="run-1", absorber="Si")] == ["one"]
    assert list(stored.search(raw_uid="another")) == []
    assert stored.latest().key == "one"


def test_flags_are_images(stored):
    found = stored["one"]
    answered = np.isfinite(found["cn_mean"])
    assert np.array_equal(found.flags["heads-only"], answered)


def test_a_table_has_a_row_for_each_pixel(stored):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(stored["one"].columns())
    assert len(table) == 100
    assert {"y", "x", "bond", "cn_mean", "reason", "heads-only"} <= set(table)
    assert (table[table["reason"] == ""]["bond"] > 1.4).all()
    assert table[table["reason"] != ""]["bond"].isna().all()


def test_xarray_reads_the_dictionary(stored):
    found = stored["one"].to_dict()
    assert found["dims"] == {"y": 10, "x": 10}
    assert found["data_vars"]["norm"]["dims"] == ["y", "x", "energy"]
    assert found["data_vars"]["bond"]["attrs"] == {"units": "angstrom"}
    assert found["coords"]["x"]["attrs"] == {"units": "nm"}
    xarray = pytest.importorskip("xarray")
    data = xarray.Dataset.from_dict(found)
    assert data["bond"].sel(x=4.5, y=4.5).item() > 1.4


def test_without_a_map_there_is_no_latest(tiled_client):
    with pytest.raises(KeyError, match="the catalog has no map"):
        Maps(tiled_client).latest()


def test_a_group_without_an_answer_says_why(mapped, tmp_path):
    refusal = Rejected(reason=Reason.NO_EDGE, detail="nothing")
    one = Representative(pixels=3, spectrum=None, answer=refusal)
    path = tmp_path / "a.h5"
    path.write_bytes(mapped.read_bytes())
    with h5py.File(path, "a") as file:
        group = file["entry/groups"].create_group("9")
        group["pixels"] = one.pixels
        group["reason"], group["detail"] = str(refusal.reason), refusal.detail
        metadata = map_metadata(file, ABOUT)
    assert metadata["groups"][-1] == {"pixels": 3, "reason": "no-edge", "detail": "nothing"}


def test_the_key_is_that_of_the_run_and_of_what_was_done(profile, tmp_path):
    write_map(eels_map(size=6), tmp_path / "raw.h5")
    image = read_map(tmp_path / "raw.h5", profile.instrument)
    key = map_source.key_of(image, profile, model="m", how="a")
    assert key == map_source.key_of(image, profile, model="m", how="a")
    others = [
        map_source.key_of(image, profile, model="other", how="a"),
        map_source.key_of(image, profile, model="m", how="b"),
        map_source.key_of(image.binned(2), profile, model="m", how="a"),
    ]
    assert len({key, *others}) == 4


def test_a_map_is_stored_where_the_profile_says(
    profile, mapped, tiled_server, monkeypatch, tmp_path
):
    @contextmanager
    def connected(_):
        yield opening.Server(uri="", api_key=None)

    monkeypatch.setattr(opening, "connected", connected)
    monkeypatch.setattr(opening, "client_of", lambda server: tiled_server)
    image = read_map(mapped, profile.instrument)
    map_source.store(image, profile, mapped, key="by-command")
    assert Maps(tiled_server["maps"])["by-command"].metadata["absorber"] == "Si"
