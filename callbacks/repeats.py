"""Whether the readings of a measurement are repeats of one spectrum, and how far they scatter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nearedge.callbacks.agreement import Sweep, agreement, edge_step
from nearedge.callbacks.columns import Point, columns_of, is_whole
from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.signal import Columns, RefusedError, energies_of, signal_of
from nearedge.callbacks.sweeps import sweeps_of
from nearedge.models import Array

UNLIKE = "unlike-averaged"
"""Flag of a mean of readings that are no repeats of one spectrum."""
MOST_COMPARED = 32
"""More repeats than this are compared in so many groups of neighbours."""
DIM = 0.1
"""Rows of a camera whose edge is lower than this fraction of the highest tell nothing."""
SIGNALS = ("i0", "it", "ir", "mu", "spectrum")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeats:
    """What the repeats of a spectrum tell.

    Attributes
    ----------
    unlike
        Why they may not be averaged, a sentence; empty where they may.
    scatter
        (n,) standard error of their mean, in units of the signal; None where it is not known.
    """

    unlike: str = ""
    scatter: Array | None = None


def examine(measurement: Measurement, points: Sequence[Point], instrument: Instrument) -> Repeats:
    """Compare what a measurement averages: sweeps, whole spectra, and the rows of each reading.

    Parameters
    ----------
    measurement
        The measurement, as it would be reduced.
    points
        Its readings.
    """
    try:
        within = _alike_within(measurement, points, instrument)
        if is_whole(points, instrument.roles):
            found = _of_whole(measurement, points, instrument)
        else:
            found = of_steps(measurement, instrument)
    except RefusedError:  # of which the reduction will tell
        return Repeats()
    return found if found.unlike else replace(found, unlike=within)


def of_steps(measurement: Measurement, instrument: Instrument) -> Repeats:
    """Compare the sweeps of a step scan, one after the other or read in turn at each energy.

    Raises
    ------
    RefusedError
        If the columns make no signal.
    """
    energy, signal = _sweep(measurement, measurement.columns, instrument)
    if len(energy) != len(signal):
        return Repeats()
    rows = sweeps_of(energy)
    if len(rows) < 2:
        return Repeats()
    result = agreement([(energy[some], signal[some]) for some in rows])
    if result.alike:
        return Repeats()
    return Repeats(
        unlike=f"its {len(rows)} sweeps are no repeats of one spectrum: sweep {result.repeat + 1} "
        f"differs from the others by {result.difference:.0%} of the edge step. Name what changed "
        "between them in instrument.split.axes, or make each sweep a spectrum: instrument.finish "
        f"with when: events, n: {len(rows[0])}"
    )


def _of_whole(measurement: Measurement, points: Sequence[Point], instrument: Instrument) -> Repeats:
    if len(points) < 2:
        return Repeats()
    blocks = [[points[k] for k in some] for some in _blocks(len(points))]
    sweeps = [
        _sweep(measurement, columns_of(block, instrument.roles)[0], instrument) for block in blocks
    ]
    result = agreement(sweeps)
    if not result.alike:
        return Repeats(
            unlike=f"its {len(points)} readings are no repeats of one spectrum: number "
            f"{sum(map(len, blocks[: result.repeat])) + 1} differs from the others by "
            f"{result.difference:.0%} of the edge step. Name what changed between them in "
            "instrument.split.axes, or make each reading a spectrum: instrument.finish with "
            "when: event"
        )
    signals = [signal for _, signal in sweeps]
    if len({len(signal) for signal in signals} | {len(c) for c in _energy(measurement)}) > 1:
        return Repeats()
    return Repeats(scatter=np.std(signals, axis=0, ddof=1) / np.sqrt(len(signals)))


def _energy(measurement: Measurement) -> Iterator[Array]:
    if "energy" in measurement.columns:
        yield measurement.columns["energy"]


def _sweep(
    measurement: Measurement, columns: dict[str, np.ndarray], instrument: Instrument
) -> Sweep:
    found = Columns(replace(measurement, columns=columns), instrument)
    signal, _ = signal_of(found, instrument)
    return energies_of(found, instrument, size=len(signal)), signal


def _blocks(count: int) -> list[Array]:
    return np.array_split(np.arange(count), min(count, MOST_COMPARED))


def _alike_within(measurement: Measurement, points: Sequence[Point], instrument: Instrument) -> str:
    """Compare the values that each reading has at one energy: rows of a camera, samples, pixels."""
    rows = _rows_within(points, instrument.roles)
    if rows < 2:
        return ""
    sweeps = []
    for some in _blocks(rows):
        part = [_of_rows(point, some, rows, instrument.roles) for point in points]
        columns, _ = columns_of(part, instrument.roles)
        sweeps.append(_sweep(measurement, columns, instrument))
    steps = [edge_step(energy, np.nan_to_num(signal)) for energy, signal in sweeps]
    bright = [sweep for sweep, step in zip(sweeps, steps, strict=True) if step > DIM * max(steps)]
    result = agreement(bright, any_scale=True)
    if result.alike:
        return ""
    return (
        f"each reading averages {rows} spectra that are no repeats of one: they differ by "
        f"{result.difference:.0%} of the edge step. Publish the rows or pixels that belong "
        "together as a spectrum each"
    )


def _rows_within(points: Sequence[Point], roles: Roles) -> int:
    """Return how many values a reading has for each energy, 1 where it has one."""
    whole = is_whole(points, roles)
    return max((_count(p.values[k], whole) for p in points[:1] for k in _keys(p, roles)), default=1)


def _keys(point: Point, roles: Roles) -> list[str]:
    named = (getattr(roles, role) for role in SIGNALS)
    return [key for key in named if isinstance(key, str) and key in point.values]


def _count(value: np.ndarray, whole: bool) -> int:
    return int(value.size // value.shape[-1]) if whole and value.ndim else int(value.size)


def _of_rows(point: Point, some: Array, rows: int, roles: Roles) -> Point:
    """Return a reading with the mean of some of its rows."""
    whole = is_whole([point], roles)
    keys = [key for key in _keys(point, roles) if _count(point.values[key], whole) == rows]
    tables = {key: point.values[key].reshape(rows, -1) for key in keys}
    means = {key: table[some.astype(int)].mean(axis=0) for key, table in tables.items()}
    return replace(point, values={**point.values, **means})
