"""The sweeps of a step scan: how often, and in which readings, it ran over its energies."""

import numpy as np
from numpy.typing import NDArray

from nearedge.models import Array
from nearedge.models.normalise.energies import TINY_ENERGY

TURN = 0.25
"""A scan turns round where its energies go back by more than this fraction of their range."""
REGULAR = 0.8
"""Energies are repeats where so many of them were read equally often."""
CLOSE = 0.2
"""Readings closer than this fraction of the mean distance are of one energy."""
FEWEST = 3
"""A sweep has at least so many readings."""


def sweeps_of(energy: Array) -> list[NDArray[np.intp]]:
    """Return the readings of each sweep, as indices in the order in which they were read.

    Parameters
    ----------
    energy
        (n,) as measured; readings whose energy is no number belong to no sweep. A new sweep begins
        where the energies turn round. Where a scan that never does reads every energy several
        times, the first readings of each make the first sweep, the second ones the second.
    """
    rows = np.flatnonzero(np.isfinite(energy))
    if len(rows) < 2:
        return [rows]
    turns = _turns(energy[rows])
    if turns:
        return np.split(rows, turns)
    visit = _visits(energy[rows])
    return [rows[visit == k] for k in range(int(visit.max()) + 1)]


def _visits(energy: Array) -> NDArray[np.intp]:
    """Return for each reading how often its energy was read before; 0 where that is irregular."""
    order = np.argsort(energy, kind="stable")
    close = max(TINY_ENERGY, CLOSE * float(np.ptp(energy)) / len(energy))
    group = np.empty(len(energy), dtype=np.intp)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(energy[order]) > close)])
    counts = np.bincount(group)
    usual = np.bincount(counts).argmax()
    if usual < 2 or np.mean(counts == usual) < REGULAR:
        return np.zeros(len(energy), dtype=np.intp)
    by_group = np.argsort(group, kind="stable")  # in the order in which they were read
    starts = np.cumsum(counts) - counts
    visit = np.empty(len(energy), dtype=np.intp)
    visit[by_group] = np.arange(len(energy)) - starts[group[by_group]]
    return visit


def _turns(energy: Array) -> list[int]:
    """Return with which readings sweeps begin, but the first."""
    back = TURN * float(np.ptp(energy))
    found: list[int] = []
    way, last = 0.0, 0  # up or down, and the farthest reading of the sweep so far
    lowest = highest = 0
    for k, value in enumerate(energy):
        if not way:  # neither is known before it has gone far enough
            lowest = k if value < energy[lowest] else lowest
            highest = k if value > energy[highest] else highest
            way = float(value - energy[lowest] > back) - float(energy[highest] - value > back)
            last = k
        elif (value - energy[last]) * way > 0:
            last = k
        elif (energy[last] - value) * way > back:
            # after a jump back, the next sweep begins with its lowest reading
            if not found or last + 1 - found[-1] >= FEWEST:
                found.append(last + 1)
            way, last = -way, k
    return found
