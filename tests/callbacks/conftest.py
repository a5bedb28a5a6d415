"""Runs as a bus brings them, and what an assembler makes of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import event_model
import numpy as np
import pytest

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Gap, Measurement

Documents: TypeAlias = list[tuple[str, dict[str, Any]]]

RECORDED = Path(__file__).parent.parent / "data" / "documents"


@dataclass
class Heard:
    """Everything that an assembler said."""

    emitted: list[Measurement] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    discards: list[tuple[str, str]] = field(default_factory=list)
    now: float = 0.0
    assembler: Any = None

    @property
    def finals(self) -> list[Measurement]:
        return [measurement for measurement in self.emitted if measurement.final]

    @property
    def only(self) -> Measurement:
        (measurement,) = self.finals
        return measurement

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.discards]

    def take(self, documents: Iterable[tuple[str, dict[str, Any]]]) -> "Heard":
        for name, doc in documents:
            self.assembler(name, doc)
        return self


@pytest.fixture
def hearing() -> Callable[..., Heard]:
    """Make an assembler that writes down what it says; its clock is ``heard.now``."""

    def make(instrument: Instrument, **settings: Any) -> Heard:
        heard = Heard()
        heard.assembler = Assembler(
            instrument,
            emit=heard.emitted.append,
            on_gap=heard.gaps.append,
            on_discard=lambda reason, uid: heard.discards.append((reason, uid)),
            clock=lambda: heard.now,
            **settings,
        )
        return heard

    return make


@pytest.fixture
def recorded() -> Callable[[str], Documents]:
    """Read a recorded set of documents."""

    def read(name: str) -> Documents:
        lines = (RECORDED / f"{name}.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    return read


def compose(
    uid: str,
    events: Sequence[dict[str, Any]],
    *,
    stream: str = "primary",
    paged: bool = False,
    time: float = 100.0,
    exit_status: str = "success",
    metadata: dict[str, Any] | None = None,
    configuration: dict[str, Any] | None = None,
    baseline: Sequence[dict[str, Any]] = (),
    units: dict[str, str] | None = None,
) -> Documents:
    """Return the documents of one run; ``paged`` packs its events into one event_page."""
    run = event_model.compose_run(uid=uid, time=time, metadata=metadata or {}, validate=False)
    documents: Documents = [("start", dict(run.start_doc))]
    streams = (("baseline", baseline, {}), (stream, events, configuration or {}))
    for name, rows, settings in streams:
        if rows:
            documents += _stream(
                run, name, rows, paged=paged, time=time, settings=settings, units=units or {}
            )
    stop = run.compose_stop(exit_status=exit_status, time=time + 50)
    return [*documents, ("stop", dict(stop))]


def _stream(
    run: Any,
    name: str,
    rows: Sequence[dict[str, Any]],
    *,
    paged: bool,
    time: float,
    settings: dict[str, Any],
    units: dict[str, str],
) -> Documents:
    keys = {key: data_key(value) for key, value in rows[0].items()}
    keys |= {key: {**keys[key], "units": unit} for key, unit in units.items() if key in keys}
    configuration = {
        "camera": {
            "data": settings,
            "timestamps": dict.fromkeys(settings, time),
            "data_keys": {key: data_key(value) for key, value in settings.items()},
        }
    }
    bundle = run.compose_descriptor(
        name=name, data_keys=keys, configuration=configuration, validate=False
    )
    events = [
        bundle.compose_event(
            data=row, timestamps=dict.fromkeys(row, time + k), time=time + k, validate=False
        )
        for k, row in enumerate(rows, start=1)
    ]
    packed: Documents = [("event", dict(event)) for event in events]
    if paged:
        packed = [("event_page", dict(event_model.pack_event_page(*events)))]
    return [("descriptor", dict(bundle.descriptor_doc)), *packed]


def data_key(value: Any) -> dict[str, Any]:
    shape = list(np.shape(value))
    return {"source": "test", "dtype": "array" if shape else "number", "shape": shape}


@pytest.fixture(name="compose")
def compose_fixture() -> Callable[..., Documents]:
    """Compose the documents of a run of given events."""
    return compose


@pytest.fixture
def scan_points() -> Callable[..., list[dict[str, Any]]]:
    """Readings of a step scan over an edge at 1845 eV."""

    def points(count: int = 20, *, offset: float = 0.0) -> list[dict[str, Any]]:
        energies = np.linspace(1830.0, 1890.0, count)
        absorbed = 0.5 + np.arctan(energies - 1845.0) / np.pi
        return [
            {"e": float(energy), "i0": 1e6 + offset, "it": float(1e6 * np.exp(-mu) + offset)}
            for energy, mu in zip(energies, absorbed, strict=True)
        ]

    return points


@pytest.fixture
def transmission() -> Instrument:
    """A step scan in transmission with the keys of ``scan_points``."""
    return Instrument.model_validate({"roles": {"energy": "e", "i0": "i0", "it": "it"}})
