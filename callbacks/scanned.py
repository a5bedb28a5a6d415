"""Whether a run scans the energy at all: alignment scans and counts hold no spectrum."""

from collections.abc import Collection, Sequence

import numpy as np

from nearedge.callbacks.columns import Point, data_keys_of, means
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.plan import Plan
from nearedge.callbacks.signal import EV
from nearedge.models import Array
from nearedge.models.normalise.edges import edge_table

STILL = 3e-4
"""Energies that stay within this fraction of their mean were not scanned: they jitter."""
FEWEST = 3
"""Fewer readings at one energy may be the beginning of a scan, where no plan says what it is."""
NEAR = (0.8, 1.6)
"""A motor that stays within these fractions of the edge's energy is a monochromator by any name."""


def lacks_scan(
    points: Sequence[Point], plan: Plan, instrument: Instrument, *, arrays: Collection[str]
) -> bool:
    """Tell whether a run was none over the energy, and so holds no spectrum.

    A scan of the energy that the profile does not find must not pass for one of something else. So
    nothing is told of a run whose plan says nothing, nor of one that moves what is called like a
    monochromator, or comes near the edge.

    Parameters
    ----------
    points
        Readings of the run, those with the axes that its plan moves.
    plan
        What it moves.
    instrument
        What the profile says.
    arrays
        Data keys of the run that hold more than a number: any may be a spectrum.
    """
    roles = instrument.roles
    signals = data_keys_of(roles.model_copy(update={"context": ()}))
    if any(p.values[k].size > 1 for p in points for k in signals & p.values.keys()):
        return False
    if roles.energy is None or instrument.signal == "spectrum":
        return not arrays and plan.axes is not None
    energy = _numbers(points, roles.energy)
    if plan.axis_of(frozenset((roles.energy,))) is not None or roles.energy in plan.moved:
        return False
    if plan.seems_energy():
        return False
    if energy.size:
        told = plan.axes is not None or energy.size >= FEWEST
        return told and bool(np.ptp(energy) <= STILL * abs(np.mean(energy)))
    return plan.axes is not None and not _nears(points, plan, instrument)


def _nears(points: Sequence[Point], plan: Plan, instrument: Instrument) -> bool:
    edge = edge_table().get(instrument.absorber, {}).get(instrument.edge, np.nan)
    moved = [_numbers(points, key) for key in plan.moved]
    return any(
        NEAR[0] * edge <= values.min() * unit and values.max() * unit <= NEAR[1] * edge
        for values in moved
        if values.size
        for unit in EV.values()
    )


def _numbers(points: Sequence[Point], key: str) -> Array:
    found = means(p.values[key] for p in points if key in p.values)
    return np.asarray(found[np.isfinite(found)])
