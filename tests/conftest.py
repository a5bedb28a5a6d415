"""What all tests share."""

import logging
import os
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

# Small products gain nothing from threads, which wait for each other on a busy machine. Read when
# NumPy and torch are loaded, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a busy machine must not fail a test for being slow: pytest-timeout ends what hangs
settings.register_profile("nearedge", deadline=None)
settings.load_profile("nearedge")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Give the next test the logger as it was: a command sets it up for a whole process."""
    ours = logging.getLogger("nearedge")
    before = ours.handlers, ours.level, ours.propagate
    yield
    ours.handlers, ours.level, ours.propagate = before


@pytest.fixture
def slowness() -> Callable[[], float]:
    """Tells how many times longer than on a machine of its own everything takes now."""
    began = _slowness()
    return lambda: max(began, _slowness())


def _slowness(*, spent_s: float = 0.2) -> float:
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < spent_s:
        pass
    return max(1.0, (time.perf_counter() - wall) / spent_s)
