import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from nearedge.callbacks.measurement import Measurement, Run
from nearedge.models import (
    Estimates,
    Interval,
    Inversion,
    NormalisedSpectrum,
    Quality,
    Samples,
    Technique,
)
from nearedge.sim.beamline import run_engine
from nearedge.sim.silica import silica
from nearedge.sim.station import Station, build_station
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.settings.profile import Profile


@dataclass
class FakeClock:
    """Time that passes only when somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    with run_engine([]) as RE:
        yield RE


@pytest.fixture
def station(engine: RunEngine, clock: FakeClock, tmp_path: Path) -> Callable[..., Station]:
    """Build a station of one mode; further keywords are settings of the simulator."""

    def build(mode: str = "transmission", **settings: Any) -> Station:
        absorber = "O" if mode.startswith("eels") else "Si"
        profile = Profile.model_validate(
            {"instrument": {"absorber": absorber}, "simulator": {"mode": mode} | settings}
        )
        clock.now = 0.0
        return build_station(profile, directory=tmp_path, clock=clock.clock, sleep=clock.sleep)

    return build


@pytest.fixture
def documents(engine: RunEngine) -> list[tuple[str, dict[str, Any]]]:
    """Every document that the engine emits."""
    docs: list[tuple[str, dict[str, Any]]] = []
    engine.subscribe(lambda name, doc: docs.append((name, doc)))
    return docs


@pytest.fixture
def result() -> Callable[..., Row]:
    """Build the row of one simulated spectrum at a pressure."""
    specimen = silica("Si")

    def build(
        pressure: float,
        *,
        cn_mean: float = 4.0,
        cn_set: tuple[int, ...] = (4,),
        bond: tuple[float, float, float] | None = (1.61, 1.60, 1.62),
        status: State = State.COMPLETE,
        latency_s: float = 1.0,
        simulated: bool = True,
    ) -> Row:
        truth = {"truth": specimen.truth(pressure).metadata()}
        start = {"uid": f"run-{pressure}", "time": pressure}
        run = Run(
            uid=f"run-{pressure}",
            scan_id=1,
            time=pressure,
            start=start | ({"simulation": truth} if simulated else {}),
        )
        energy = specimen.edge_energy + np.arange(-20.0, 60.0)
        mu = specimen.mu(energy, pressure=pressure)
        spectrum = NormalisedSpectrum(
            energy=energy,
            mu=mu,
            norm=mu,
            flat=mu,
            e0=specimen.edge_energy,
            edge_step=1.0,
            technique=Technique.XANES,
            absorber="Si",
            edge="K",
        )
        estimates = Estimates(
            cn_prob=np.eye(8)[round(cn_mean)],
            cn_mean=cn_mean,
            cn_map=round(cn_mean),
            cn_set=cn_set,
            cn_mean_lo=cn_mean - 0.25,
            cn_mean_hi=cn_mean + 0.25,
            bond=None if bond is None else Interval(mean=bond[0], lo=bond[1], hi=bond[2]),
            angle=None,
            bridge=None,
            sample_cn=np.array([round(cn_mean)]),
            sample_bond=np.array([1.61]),
            sample_angle=np.array([109.5]),
            rdf_r=np.linspace(0, 4, 201),
            rdf=specimen.rdf(np.linspace(0, 4, 201), pressure=pressure),
        )
        inversion = Inversion(
            absorber="Si",
            edge="K",
            samples=Samples(
                species=np.array([["O"]]),
                positions=np.zeros((1, 1, 3), np.float32),
                weights=np.ones(1),
            ),
            estimates=estimates,
            grid=np.arange(3.0),
            condition=np.zeros(3),
            ood_score=0.0,
            ood_flag=False,
            misfit=None,
            model="0" * 16,
            seed=0,
            quality=Quality.FAST,
            seconds=0.1,
        )
        return Row(
            key=f"key-{pressure}",
            status=status,
            measurement=Measurement(
                run=run,
                stream="primary",
                spectrum="0",
                columns={},
                complete=True,
                final=True,
                time=pressure,
            ),
            outcome=spectrum,
            inversion=inversion if status is State.COMPLETE else None,
            error=None,
            stages={"wait": latency_s},
        )

    return build
