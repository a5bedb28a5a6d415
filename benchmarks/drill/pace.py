"""The time that a RunEngine takes for a scan, with the service in every condition.

The conditions take turns, one scan each, so that what else the machine does falls on all of them.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.plans import list_scan
from ophyd.sim import SynAxis, SynSignal

from benchmarks.drill.stand import Base, Stand, locked
from nearedge.sim import hostile
from nearedge.sim.beamline import run_engine

POINTS = 120
NICE = 5  # as in profiles/deploy/nearedge.service: acquisition comes first
REPEATS = 2000  # of the bootstrap

Condition = Callable[[], Any]


def measure(base: Base, *, scans: int) -> dict[str, Any]:
    """Return the seconds of each scan by condition.

    Parameters
    ----------
    base
        Proxy and server.
    scans
        Of each condition.
    """
    began = time.monotonic()
    stand = Stand(base, "pace")
    seconds: dict[str, list[float]] = {}
    try:
        stand.start(nice=NICE)
        conditions: dict[str, Condition] = {
            "attached": lambda: nullcontext(),
            "stopped (SIGSTOP)": lambda: _frozen(stand),
            "hung (its ledger locked by another process)": lambda: locked(stand.ledger),
        }
        with run_engine([stand.publisher]) as RE:
            _scan(RE, stand)  # the first one imports and allocates
            for _ in range(scans):
                for name in random.Random(len(seconds)).sample(list(conditions), len(conditions)):
                    with conditions[name]():
                        seconds.setdefault(name, []).append(_scan(RE, stand))
            stand.kill()  # absent: it cannot take turns, its start would disturb the others
            seconds["absent"] = [_scan(RE, stand) for _ in range(scans)]
    finally:
        stand.close()
    return {
        "good": all(within_noise(seconds[n], seconds["absent"]) for n in seconds if n != "absent"),
        "points": POINTS,
        "scans": scans,
        "conditions": {name: summary(s, seconds["absent"]) for name, s in seconds.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def _scan(RE: RunEngine, stand: Stand) -> float:
    mono = SynAxis(name="mono")
    rise = lambda: float(hostile.absorption(np.array([mono.position]))[0])  # noqa: E731
    mu = SynSignal(func=rise, name="mu")
    energies = np.linspace(hostile.ONSET - 30.0, hostile.ONSET + 60.0, POINTS)
    began = time.perf_counter()
    RE(list_scan([mu], mono, energies.tolist()))
    return time.perf_counter() - began


@contextmanager
def _frozen(stand: Stand) -> Iterator[None]:
    assert stand.service is not None
    stand.service.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stand.service.signal(signal.SIGCONT)


def within_noise(some: list[float], others: list[float]) -> bool:
    """Return whether the 95 % interval of the difference of the medians holds zero."""
    lo, hi = difference(some, others)
    return lo <= 0.0 <= hi


def difference(some: list[float], others: list[float]) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval of the difference of two medians, s."""
    rng = np.random.default_rng(0)
    medians = [
        np.median(rng.choice(values, (REPEATS, len(values))), axis=1) for values in (some, others)
    ]
    lo, hi = np.percentile(medians[0] - medians[1], [2.5, 97.5])
    return float(lo), float(hi)


def summary(some: list[float], absent: list[float]) -> dict[str, float]:
    """Return what the table shows of one condition, s."""
    lo, hi = difference(some, absent)
    return {
        "median": round(float(np.median(some)), 4),
        "lowest": round(min(some), 4),
        "highest": round(max(some), 4),
        "lo": round(lo, 4),
        "hi": round(hi, 4),
        "load": round(os.getloadavg()[0], 1),
    }


def table(record: Mapping[str, Any]) -> str:
    """Return the Markdown table of a record."""
    lines = [
        f"{record['scans']} scans of {record['points']} points for each line.",
        "",
        "| the service is | median, s | lowest … highest, s | difference from absent, 95 %, ms |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, s in record["conditions"].items():
        apart = "–" if name == "absent" else f"{1e3 * s['lo']:+.0f} … {1e3 * s['hi']:+.0f}"
        span = f"{s['lowest']:.3f} … {s['highest']:.3f}"
        lines.append(f"| {name} | {s['median']:.3f} | {span} | {apart} |")
    return "\n".join(lines)
