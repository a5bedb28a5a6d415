from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import event_model
import numpy as np
import pytest
from bluesky import RunEngine

from nearedge.sim.plans import SCAN_RANGE, eels_acquire, pressure_ramp, scan_energies, xanes_scan

Documents = list[tuple[str, dict[str, Any]]]


def measure(mode: str) -> Callable:
    if mode.startswith("eels"):
        return partial(eels_acquire, frames=2)
    return partial(xanes_scan, points=20)


@pytest.mark.parametrize("mode", ["transmission", "fluorescence", "eels", "eels-files"])
def test_ramp_emits_valid_documents(
    mode: str, engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station(mode)
    result = engine(pressure_ramp(built, [0.0, 40.0], measure(mode)))
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    count = Counter(name for name, _ in documents)
    events = 2 * (2 if mode.startswith("eels") else 20)
    assert (count["start"], count["stop"], count["event"]) == (2, 2, events)
    assert list(result.plan_result) == [doc["uid"] for name, doc in documents if name == "start"]


KEYS = {
    "transmission": {"mono-energy", "chambers-i0", "chambers-it", "chambers-ir"},
    "fluorescence": {"mono-energy", "chambers-i0"}
    | {f"fluo-{kind}{n}" for kind in ("roi", "icr", "ocr") for n in (1, 2, 3, 4)},
    "eels": {"camera-spectrum", "camera-low_loss"},
    "eels-files": {"camera-spectrum", "camera-low_loss"},
}


@pytest.mark.parametrize("mode", KEYS)
def test_data_keys_are_those_of_the_profiles(
    mode: str, engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(measure(mode)(station(mode)))
    (descriptor,) = [doc for name, doc in documents if name == "descriptor"]
    assert KEYS[mode] | {"press-pressure"} <= set(descriptor["data_keys"])
    if mode.startswith("eels"):
        axis = {"camera-dispersion", "camera-offset", "camera-low_loss_offset"}
        assert set(descriptor["configuration"]["camera"]["data"]) == axis


def test_truth_is_under_simulation_and_nowhere_else(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station()
    engine(pressure_ramp(built, [0.0, 60.0], measure("transmission")))
    starts = [doc for name, doc in documents if name == "start"]
    truths = [start.pop("simulation")["truth"] for start in starts]
    assert [t["cn_mean"] for t in truths] == [4.0, pytest.approx(6.0)]
    assert not {"truth", "cn_mean", "cn_prob", "bond_mean", "sites"} & set(starts[0])


def test_pressure_is_read_at_every_point(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    engine(pressure_ramp(station(), [12.5], measure("transmission")))
    read = {doc["data"]["press-pressure"] for name, doc in documents if name == "event"}
    assert read == {12.5}


def test_scan_is_dense_where_the_structure_is() -> None:
    energy = scan_energies(1839.0, points=120)
    assert len(energy) == 120
    assert np.all(np.diff(energy) > 0)
    assert (energy[0] - 1839.0, energy[-1] - 1839.0) == pytest.approx(SCAN_RANGE)
    near = np.abs(energy - 1846.0) < 10
    assert np.diff(energy)[near[1:]].max() < 0.6
