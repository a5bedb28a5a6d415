"""Simulated maps carry their truth, and their answers are compared with it."""

import h5py
import numpy as np
import pytest

from nearedge.sim.map_demo import run_map_demo
from nearedge.sim.maps import KINDS, compare_map, eels_map, quick_map, write_map, xanes_map
from nearedge.streaming.cli import main
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files.maps import read_map

SMALL = {
    "eels": lambda seed: eels_map(size=12, seed=seed),
    "xanes": lambda seed: xanes_map(size=8, seed=seed),
    "quick": lambda seed: quick_map(sweeps=24, seed=seed),
}


@pytest.fixture(scope="module")
def profile():
    return Profile.model_validate({"worker": {"model": "siox", "samples": 4, "threads": 1}})


def test_the_truth_lies_between_four_and_six():
    found = eels_map(size=12)
    there = np.isfinite(found.cn_mean)
    assert not there[0, 0]
    assert found.cn_mean[there].min() == pytest.approx(4.0, abs=0.1)
    assert found.cn_mean[there].max() == pytest.approx(6.0, abs=0.1)
    assert np.diff(found.bond_mean[there][[0, -1]]) > 0.05


def test_another_seed_has_other_noise_and_the_same_truth():
    one, same, other = (xanes_map(size=6, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.data, same.data)
    assert not np.array_equal(one.data, other.data)
    assert np.array_equal(one.cn_mean, other.cn_mean)


def test_a_written_map_is_read_back(tmp_path, profile):
    found = xanes_map(size=6)
    write_map(found, tmp_path / "raw.h5")
    image = read_map(tmp_path / "raw.h5", profile.instrument)
    assert image.shape == (6, 6)
    assert [axis.unit for axis in image.axes] == ["um", "um"]
    assert image.spectra.mu[7] == pytest.approx(found.data[:, 1, 1])


@pytest.mark.parametrize("kind", SMALL)
def test_every_pixel_of_a_demo_is_answered_or_has_its_reason(kind, profile, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, kind, SMALL[kind])
    said = []
    found = run_map_demo(kind, profile, tmp_path, said.append)
    assert found.good
    assert found.lost == 0
    assert found.cn_error < 0.5
    assert found.bond_error < 0.06
    assert found.cn_inside > 0.8
    assert any("pixels with sample are answered" in line for line in said)


def test_a_pixel_without_answer_and_reason_is_lost(profile, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "quick", SMALL["quick"])
    run_map_demo("quick", profile, tmp_path, lambda line: None)
    with h5py.File(tmp_path / "map.h5", "a") as file:
        file["entry/figures/cn_mean"][3] = np.nan
    found = compare_map(SMALL["quick"](profile.simulator.seed), tmp_path / "map.h5")
    assert (found.lost, found.answered) == (1, 23)
    assert not found.good


def test_the_command_runs_a_demo_and_keeps_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(KINDS, "quick", SMALL["quick"])
    monkeypatch.setenv("NEAREDGE__WORKER__MODEL", "siox")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--map", "quick", "--keep", str(tmp_path / "kept"), "--samples", "4"])
    assert ended.value.code == 0
    assert (tmp_path / "kept" / "map.h5").is_file()
    assert "24 of 24 pixels with sample are answered" in capsys.readouterr().out


def test_the_command_knows_three_maps(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--map", "xrd"])
    assert ended.value.code == 2
    assert "expected eels, xanes, quick" in capsys.readouterr().err
