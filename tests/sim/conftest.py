import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine

from nearedge.sim.beamline import run_engine
from nearedge.sim.station import Station, build_station
from nearedge.streaming.profile import Profile


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
        flux = {"flux": 1e10} if mode.startswith("eels") else {}
        profile = Profile.model_validate(
            {"instrument": {"absorber": absorber}, "simulator": {"mode": mode} | flux | settings}
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
