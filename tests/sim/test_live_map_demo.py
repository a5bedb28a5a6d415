"""Simulated maps that are measured live: the devices' documents, and the demo's verdict."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.block import MapEnd
from nearedge.sim.beamline import run_engine
from nearedge.sim.live_map_demo import MapDemoReport
from nearedge.sim.map_beamline import KIND_OF_MODE, map_of, map_plan
from nearedge.sim.maps import MapComparison
from nearedge.streaming.settings.configuration import load_profile


def fast(name: str, folder: Path):
    profile = load_profile([name], environ={})
    simulator = profile.simulator.model_copy(update={"dwell_s": 0.0})
    instrument = profile.instrument.model_copy(update={"readable_roots": (str(folder),)})
    return profile.model_copy(update={"simulator": simulator, "instrument": instrument})


@pytest.mark.parametrize("name", list(KIND_OF_MODE))
def test_the_documents_of_a_stock_run_engine_hold_the_map(name, tmp_path):
    profile = fast(name, tmp_path)
    blocks = []
    assembler = Assembler(profile.instrument, emit=lambda one: None, emit_block=blocks.append)
    with run_engine([assembler]) as RE:
        RE(map_plan(profile, tmp_path))
    simulated = map_of(profile)
    (end,) = [one for one in blocks if isinstance(one, MapEnd)]
    assert end.layout.shape == simulated.cn_mean.shape
    assert end.flags == ()
    data = np.moveaxis(simulated.data, 0, -1) if simulated.stack else simulated.data
    wanted = data.reshape(-1, len(simulated.energy)).astype(np.float32)
    found = np.full_like(wanted, np.nan)
    for block in blocks:
        if not isinstance(block, MapEnd):
            found[block.places] = block.spectra.mu
            assert block.spectra.energy == pytest.approx(simulated.energy)
    assert np.array_equal(found, wanted)


def comparison(*, lost: int = 0) -> MapComparison:
    return MapComparison(
        pixels=10,
        holding=8,
        answered=8,
        refused=2 - lost,
        cn_error=0.1,
        bond_error=0.01,
        cn_inside=1.0,
        bond_inside=1.0,
        lost=lost,
    )


def test_a_demo_is_good_only_if_each_pixel_has_an_answer_or_a_reason(tmp_path):
    from nearedge.sim.beamline_process import BeamlineOutcome

    ended = BeamlineOutcome(uids=("a",))

    def report(*comparisons, outcome=ended):
        return MapDemoReport(
            profile=fast("quick", tmp_path),
            comparisons=comparisons,
            outcome=outcome,
            lag_s=1.0,
            finish_s=2.0,
        )

    assert report(comparison()).good
    assert not report(comparison(lost=1)).good
    assert not report().good
    assert not report(comparison(), outcome=None).good
    assert not report(comparison(), outcome=BeamlineOutcome(error="it broke")).good


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(KIND_OF_MODE))
def test_the_demo_answers_every_pixel(name, tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "nearedge.streaming", "demo", "-c", name, "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=590,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert ", 0 neither" in told.stdout
