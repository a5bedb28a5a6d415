"""The time that a RunEngine takes for a scan, with the service in every condition.

The conditions take turns in an order that is drawn anew each round, and are compared within a
round: what else the machine does falls on all of them alike.
"""

import math
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.plans import list_scan
from ophyd.sim import SynAxis, SynSignal

from benchmarks.drill.process import cpu_s, wait_until
from benchmarks.drill.report import load_text
from benchmarks.drill.stand import Base, Stand, locked
from nearedge.sim import hostile
from nearedge.sim.beamline import run_engine

POINTS = 120
TURN = 3  # scans without a pause: the service inverts each of them while the next is measured
UNIT = Path(__file__).parents[2] / "profiles/deploy/nearedge.service"
ABSENT = "absent"
LOOK_S, IDLE_SHARE, IDLE_TIMEOUT_S = 1.0, 0.25, 30.0
REPEATS = 2000  # of the bootstrap

Turns = list[list[float]]  # the scans of each turn, s
Condition = Callable[[], AbstractContextManager[None]]


def measure(
    base: Base, *, rounds: int, exposure_s: float, limit_s: float = math.inf
) -> dict[str, Any]:
    """Return the seconds of each scan by condition.

    Parameters
    ----------
    base
        Proxy and server.
    rounds
        In each, every condition has one turn.
    exposure_s
        Of each point; with none the RunEngine never waits, and all of a scan is its own work.
    limit_s
        When to begin no more rounds.
    """
    began, nice = time.monotonic(), shipped_nice()
    stand = Stand(base, "pace")
    conditions: dict[str, Condition] = {
        "attached": nullcontext,
        "stopped (SIGSTOP)": partial(_frozen, stand),
        "hung (its ledger locked by another process)": partial(locked, stand.ledger),
        ABSENT: partial(_absent, stand, nice=nice),
    }
    seconds: dict[str, Turns] = {name: [] for name in conditions}
    busy = 0
    try:
        stand.start(nice=nice)
        with run_engine([stand.publisher]) as RE:
            _scan(RE, exposure_s)  # the first one imports and allocates
            for n in range(rounds):
                if time.monotonic() - began > limit_s:
                    break
                for name in random.Random(n).sample(list(conditions), len(conditions)):
                    busy += not _await_idle(stand)
                    with conditions[name]():
                        seconds[name].append([_scan(RE, exposure_s) for _ in range(TURN)])
                    print(f"  pace: {name}: {np.round(seconds[name][-1], 3)} s", flush=True)
    finally:
        stand.close()
    absent = seconds[ABSENT]
    return {
        "good": all(within_noise(seconds[name], absent) for name in seconds if name != ABSENT),
        "points": POINTS,
        "rounds": len(absent),
        "turn": TURN,
        "exposure_ms": round(1e3 * exposure_s, 3),
        "nice": nice,
        "busy_turns": busy,
        "noise": round(noise(absent), 4),
        "load": load_text(),
        "conditions": {name: summary(some, absent) for name, some in seconds.items()},
        "scans_s": {name: np.round(some, 4).tolist() for name, some in seconds.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def shipped_nice() -> int:
    """Return by how much the systemd unit that is shipped lets acquisition come first."""
    found = re.search(r"^Nice=(\d+)$", UNIT.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _await_idle(stand: Stand) -> bool:
    """Wait until the service has nothing left of the turns before; return whether that came."""

    def used() -> float:
        pids = (stand.service and stand.service.pid, stand.worker())
        return sum(cpu_s(pid) for pid in pids if pid)

    def idle() -> bool:
        before = used()
        time.sleep(LOOK_S)
        return used() - before < IDLE_SHARE * LOOK_S and set(stand.states()) <= {
            "complete",
            "rejected",
        }

    try:
        wait_until("an idle service", idle, timeout_s=IDLE_TIMEOUT_S)
    except TimeoutError:  # the machine leaves it no time: then its work falls into the next turn
        return False
    return True


def _scan(RE: RunEngine, exposure_s: float) -> float:
    mono = SynAxis(name="mono")
    rise = lambda: float(hostile.absorption(np.array([mono.position]))[0])  # noqa: E731
    mu = SynSignal(func=rise, name="mu", exposure_time=exposure_s)
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


@contextmanager
def _absent(stand: Stand, *, nice: int) -> Iterator[None]:
    stand.kill()
    time.sleep(LOOK_S)  # its worker ends
    yield
    stand.start(nice=nice)


def within_noise(some: Turns, absent: Turns) -> bool:
    """Return whether scans differ by less than those without the service do among themselves."""
    return abs(difference(some, absent)[0]) < noise(absent)


def noise(absent: Turns) -> float:
    """Return half the range that holds 95 % of the scans around the mean of their turn, s."""
    scans = np.array(absent)
    of_a_sample = np.sqrt(scans.shape[1] / (scans.shape[1] - 1))
    lo, hi = np.percentile(of_a_sample * (scans - scans.mean(1, keepdims=True)), [2.5, 97.5])
    return float(hi - lo) / 2


def difference(some: Turns, absent: Turns) -> tuple[float, float, float]:
    """Return the median of the differences within rounds and its bootstrapped 95 % interval, s."""
    each = np.mean(some, axis=1) - np.mean(absent, axis=1)
    drawn = np.random.default_rng(0).choice(each, (REPEATS, len(each)))
    lo, hi = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(np.median(each)), float(lo), float(hi)


def summary(some: Turns, absent: Turns) -> dict[str, float]:
    """Return what the table shows of one condition, s."""
    apart, lo, hi = difference(some, absent)
    return {
        "median": round(float(np.median(some)), 4),
        "lowest": round(float(np.min(some)), 4),
        "highest": round(float(np.max(some)), 4),
        "apart": round(apart, 4),
        "lo": round(lo, 4),
        "hi": round(hi, 4),
    }


def table(record: Mapping[str, Any]) -> str:
    """Return the Markdown table of a record."""
    lines = [
        f"{record['rounds']} rounds of {record['turn']} scans for each line, {record['points']} "
        f"points of {record['exposure_ms']:g} ms each; the service at nice {record['nice']}; "
        f"{record['load']}. "
        f"95 % of the scans without it lie within ±{1e3 * record['noise']:.0f} ms of their turn.",
        "",
        "| the service is | median, s | lowest … highest, s | longer than absent, ms | 95 %, ms |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, s in record["conditions"].items():
        span = f"{s['lowest']:.3f} … {s['highest']:.3f}"
        apart, interval = f"{1e3 * s['apart']:+.0f}", f"{1e3 * s['lo']:+.0f} … {1e3 * s['hi']:+.0f}"
        if name == ABSENT:
            apart = interval = "–"
        lines.append(f"| {name} | {s['median']:.3f} | {span} | {apart} | {interval} |")
    return "\n".join(lines)
