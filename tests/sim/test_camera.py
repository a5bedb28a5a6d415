from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import h5py
import numpy as np
import pytest
from bluesky import RunEngine

from nearedge.sim.camera import BEFORE_ZERO_LOSS, BIAS, DISPERSION
from nearedge.sim.plans import dark_run, eels_acquire

Documents = list[tuple[str, dict[str, Any]]]


def of(docs: Documents, wanted: str) -> list[dict[str, Any]]:
    return [doc for name, doc in docs if name == wanted]


def test_zero_loss_peak_shows_the_energy_offset(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(eels_acquire(station("eels", energy_offset_ev=2.1), frames=1))
    low = np.asarray(of(documents, "event")[0]["data"]["camera-low_loss"])
    peak = -BEFORE_ZERO_LOSS + DISPERSION * low.argmax()
    assert peak == pytest.approx(2.1, abs=0.25)


def test_background_falls_as_a_power_law_and_the_edge_stands_on_it(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(eels_acquire(station("eels", flux=1e13), frames=1))
    event, config = of(documents, "event")[0], of(documents, "descriptor")[0]["configuration"]
    axis = config["camera"]["data"]
    counts = np.asarray(event["data"]["camera-spectrum"]) - BIAS
    energy = axis["camera-offset"] + axis["camera-dispersion"] * np.arange(len(counts)) - 0.3
    before = energy < 520
    slope, _ = np.polyfit(np.log(energy[before]), np.log(counts[before]), 1)
    assert slope == pytest.approx(-3.0, abs=0.05)
    background = counts[before][0] * (energy / energy[0]) ** -3.0
    past = (energy > 562) & (energy < 592)
    assert (counts / background)[past].mean() > 1.3


def test_dark_frames_hold_bias_and_read_noise_only(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(dark_run(station("eels"), technique="eels"))
    frame = np.asarray(of(documents, "event")[0]["data"]["camera-spectrum"])
    assert frame.mean() == pytest.approx(BIAS, abs=0.5)
    assert 2 < frame.std() < 4


def test_frames_differ_and_seeds_repeat(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    for seed in (5, 5):
        engine(eels_acquire(station("eels", seed=seed), frames=2))
    frames = [e["data"]["camera-spectrum"].tolist() for e in of(documents, "event")]
    assert frames[0] != frames[1]
    assert frames[:2] == frames[2:]


def test_files_hold_the_same_frames_as_events(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(eels_acquire(station("eels"), frames=3))
    embedded = [e["data"]["camera-spectrum"] for e in of(documents, "event")]
    documents.clear()
    engine(eels_acquire(station("eels-files"), frames=3))
    resources = {doc["data_key"]: doc for doc in of(documents, "stream_resource")}
    assert set(resources) == {"camera-spectrum", "camera-low_loss"}
    core = resources["camera-spectrum"]
    with h5py.File(urlparse(core["uri"]).path, "r") as file:
        written = file[core["parameters"]["dataset"]][:]
    assert written.tolist() == np.array(embedded).tolist()
    assert all("camera-spectrum" not in e["data"] for e in of(documents, "event"))


def test_datums_cover_every_frame_once(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(eels_acquire(station("eels-files"), frames=3))
    (core,) = [d for d in of(documents, "stream_resource") if d["data_key"] == "camera-spectrum"]
    ranges = [
        (d["indices"]["start"], d["indices"]["stop"])
        for d in of(documents, "stream_datum")
        if d["stream_resource"] == core["uid"]
    ]
    assert ranges == [(0, 1), (1, 2), (2, 3)]


def test_each_run_has_a_file_of_its_own(
    engine: RunEngine, station: Callable, tmp_path: Path
) -> None:
    built = station("eels-files")
    for _ in range(2):
        engine(eels_acquire(built, frames=1))
    assert len(list(tmp_path.glob("*.h5"))) == 2


def test_files_need_a_folder(engine: RunEngine) -> None:
    from nearedge.sim.station import build_station
    from nearedge.streaming.settings.profile import Profile

    profile = Profile.model_validate({"simulator": {"mode": "eels-files"}})
    with pytest.raises(ValueError, match="readable_roots"):
        build_station(profile)
