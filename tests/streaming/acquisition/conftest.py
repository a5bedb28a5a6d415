"""A bus on the loopback, and what a service publishes on it."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from nearedge.streaming.acquisition import Answers
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.service.bus import Bus, opened_bus
from nearedge.streaming.service.notices import heartbeat
from nearedge.streaming.settings import profile

READY = {"ready": True, "problem": ""}


def until(what: Callable[[], object], again: Callable[[], object] = lambda: None) -> None:
    """Do something again and again until what is waited for is there."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not what():
        assert time.monotonic() < deadline
        again()
        pause.wait(0.01)


@pytest.fixture
def bus() -> Iterator[Bus]:
    with opened_bus(profile.BusSettings(address="127.0.0.1:0")) as bus:
        yield bus


@pytest.fixture
def answers(bus: Bus) -> Iterator[Answers]:
    """What hears the bus already."""
    answers = Answers(bus.address)
    until(answers.heard.is_set, lambda: bus._send(heartbeat(READY)))
    yield answers
    answers.close()


@pytest.fixture
def row_of(measurement, spectrum, make_inversion) -> Callable[..., Row]:
    """Make the row of a run's answer."""

    def make(run_uid: str, *, cn: float = 4.25, began: float = 1000.0, **other) -> Row:
        run = replace(measurement.run, uid=run_uid, time=began)
        row = Row(
            key=f"key-{run_uid}",
            status=State.COMPLETE,
            measurement=replace(measurement, run=run),
            outcome=spectrum,
            inversion=make_inversion(cn=cn),
            error=None,
            stages={},
        )
        return replace(row, **other)

    return make
