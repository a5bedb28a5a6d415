"""Which e0 a XANES scan gets: that of Larch, or the threshold of its expected edge."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.normalise import evidence
from nearedge.models.normalise.e0 import find_e0, find_rise
from nearedge.models.normalise.evidence import Expected
from nearedge.models.normalise.windows import is_full
from nearedge.models.spectrum import Array

#: Noise of one point, as part of the whole signal, up to which Larch's e0 is steady.
QUIET = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePlace:
    """Where an edge lies.

    Attributes
    ----------
    e0
        Its energy, eV.
    onset
        Where the absorption rises to a pre-edge peak, eV; e0 where there is none.
    """

    e0: float
    onset: float


def locate(energy: Array, mu: Array, expected: Expected) -> EdgePlace:
    """Find an edge: Larch's e0 on a full scan with little noise, else `find_threshold`'s.

    So a full scan has Larch's own numbers, and noise or a short scan does not move e0 from one
    inflection of the edge to another. Where one step of the scan spans the whole edge, e0 is the
    middle of that step, or the point of it that Larch takes.
    """
    lo, hi = expected.energy - expected.tolerance, expected.energy + expected.tolerance
    scaled: Array = mu / np.ptp(mu)
    onset, threshold = find_rise(energy, scaled, near=(lo, hi))
    before, past = evidence.step_over(energy, threshold)
    if past - before > evidence.COARSE:
        lo, hi, threshold = before, past, (before + past) / 2
    e0 = threshold
    if is_full(energy, threshold) and evidence.noise(energy, scaled) <= QUIET:
        steepest = find_e0(energy, scaled)
        e0 = steepest if lo <= steepest <= hi else threshold
    return EdgePlace(e0=e0, onset=min(onset, e0))
