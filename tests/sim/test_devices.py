import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from hypothesis import given
from hypothesis import strategies as st

from nearedge.sim.detection import counted
from nearedge.sim.devices import DARK_RATE, I0_SHARE, fluorescence
from nearedge.sim.plans import dark_run, xanes_scan

Documents = list[tuple[str, dict[str, Any]]]


def column(docs: Documents, key: str) -> np.ndarray:
    return np.array([doc["data"][key] for name, doc in docs if name == "event"])


def test_beer_and_lambert_give_the_sample_back(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station(flux=1e16, energy_offset_ev=0.7)
    engine(xanes_scan(built, points=60))
    i0, it = column(documents, "chambers-i0"), column(documents, "chambers-it")
    true_energy = column(documents, "mono-energy") - 0.7
    measured = np.log(i0 * (1 - I0_SHARE) / I0_SHARE / it)
    specimen = built.hutch.specimen
    edge = specimen.mu(true_energy, pressure=0.0, fwhm=0.4)
    background = 0.6 * (specimen.edge_energy / true_energy) ** 3
    assert measured == pytest.approx(edge + background, abs=2e-3)


def test_reference_foil_has_its_edge_at_the_table_energy(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station(flux=1e16, energy_offset_ev=1.5)
    engine(xanes_scan(built, points=120))
    foil = np.log(column(documents, "chambers-it") / column(documents, "chambers-ir"))
    energy = column(documents, "mono-energy")
    steepest = energy[np.gradient(foil, energy).argmax()]
    assert steepest - 1.5 == pytest.approx(built.hutch.specimen.edge_energy, abs=0.5)


def test_same_seed_same_counts(engine: RunEngine, station: Callable, documents: Documents) -> None:
    for seed in (1, 1, 2):
        engine(xanes_scan(station(seed=seed), points=20))
    first, again, other = np.split(column(documents, "chambers-it"), 3)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_noise_is_poisson(engine: RunEngine, station: Callable, documents: Documents) -> None:
    engine(dark_run(station(dwell_s=1.0), technique="xanes"))
    dark = column(documents, "chambers-i0")
    assert dark == pytest.approx(np.full(len(dark), DARK_RATE), abs=6 * DARK_RATE**0.5)
    assert len(set(dark)) > 1


def test_dark_run_closes_the_shutter_and_opens_it_again(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station()
    engine(dark_run(built, technique="xanes"))
    start = documents[0][1]
    assert (start["dark_frame"], start["scan_type"]) == (True, "dark")
    assert column(documents, "chambers-it").max() < 2 * DARK_RATE * 0.01
    assert built.hutch.shutter_open


def test_i0_drifts_with_the_clock(clock: Any, station: Callable) -> None:
    hutch = station().hutch
    now = hutch.particles(1.0)
    clock.now += 75.0
    assert hutch.particles(1.0) > 1.02 * now


def test_devices_wait_on_the_injected_clock_only(
    engine: RunEngine, clock: Any, station: Callable
) -> None:
    engine(xanes_scan(station(dwell_s=100.0), points=20))
    assert clock.slept.count(100.0) == 20


def test_dead_time_correction_recovers_the_true_counts(
    engine: RunEngine, station: Callable, documents: Documents
) -> None:
    built = station("fluorescence", flux=1e9)
    engine(xanes_scan(built, points=40))
    raw = sum(column(documents, f"fluo-roi{n}") for n in range(1, 5))
    corrected = sum(
        column(documents, f"fluo-roi{n}")
        * column(documents, f"fluo-icr{n}")
        / column(documents, f"fluo-ocr{n}")
        for n in range(1, 5)
    )
    energy = column(documents, "mono-energy") - 0.3
    edge = built.hutch.specimen.mu(energy, pressure=0.0, fwhm=0.4)
    past = edge > 0.5
    i0 = column(documents, "chambers-i0") - DARK_RATE * 0.01
    ratio = (corrected / i0 / edge)[past]
    assert ratio.std() / ratio.mean() < 0.02
    flat = (raw / i0 / edge)[past]
    assert flat.std() / flat.mean() > 0.1


@given(rate=st.floats(0, 1e7), dead_time=st.floats(0, 1e-5))
def test_counted_rate_inverts_exactly(rate: float, dead_time: float) -> None:
    seen = counted(rate, dead_time_s=dead_time)
    assert seen <= rate
    assert seen / (1 - seen * dead_time) == pytest.approx(rate)


def test_no_photons_no_counts() -> None:
    element = fluorescence(0.0, 1.0, seconds=0.01, rng=np.random.default_rng(0))
    assert element == {"roi": 0.0, "icr": 0.0, "ocr": 0.0}


def test_pressure_changes_the_absorption(engine: RunEngine, station: Callable) -> None:
    built = station()
    built.hutch.energy = built.hutch.specimen.edge_energy + 3.0
    before = built.hutch.absorption()

    async def squeeze() -> None:
        await built.press.set(60.0)

    asyncio.run_coroutine_threadsafe(squeeze(), engine.loop).result(10)
    assert abs(built.hutch.absorption() - before) > 0.05
