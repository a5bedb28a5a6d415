"""Whether a spectrum holds the edge that it should: the tests behind each rejection."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nearedge.models.normalise.e0 import inflections
from nearedge.models.normalise.edges import edge_energy, nearest_edge
from nearedge.models.normalise.energies import MIN_POINTS, CleanSpectrum, check_axis, clean
from nearedge.models.normalise.glitches import find_glitches
from nearedge.models.normalise.pre_edge import EdgeFit, Ranges
from nearedge.models.spectrum import Array, Reason, Rejected

MIN_BEFORE, MIN_AFTER = 5.0, 10.0  # eV that must be covered on either side of e0
MIN_POINTS_ASIDE = 3  # energies on either side of e0
NEAR = 10.0  # eV around e0
FEW_NEAR, MIN_POINTS_NEAR = 5, 2  # energies there below which a scan is coarse, and unusable
COARSE = 3.0  # eV; a step over the edge that is larger is coarse, too
PRE_PEAK = 25.0  # eV; a pre-edge peak may come so long before the main rise
MIN_SIGNIFICANCE = 6.0  # jump at e0 over its standard deviation
MEDIAN = 1.2533  # standard deviation of a median over that of a mean
MIN_JUMP = 0.2  # part of the edge step that the jump must make up
MIN_STEP_SIGNIFICANCE = 3.0  # edge step over its standard deviation
NOISY = 0.05  # error of the edge step, as part of it, from which a spectrum counts as noisy
PINNED_RUN = 5  # equal largest values in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The edge that should be there."""

    absorber: str
    edge: str
    energy: float
    tolerance: float

    def __str__(self) -> str:
        return f"{self.absorber} {self.edge} edge ({self.energy:.6g} eV)"


def expect(absorber: str, edge: str, *, tolerance: Callable[[float], float]) -> Expected | Rejected:
    """Look the expected edge up in the table, or refuse one that is not in it.

    Parameters
    ----------
    absorber, edge
        What the profile or the file says.
    tolerance
        How far from there the edge at an energy in eV may lie, eV.
    """
    try:
        energy = edge_energy(absorber, edge)
    except KeyError as error:
        return Rejected(reason=Reason.UNSUPPORTED, detail=str(error.args[0]))
    return Expected(absorber=absorber, edge=edge, energy=energy, tolerance=tolerance(energy))


def clean_signal(energy: Array, mu: Array, expected: Expected) -> CleanSpectrum | Rejected:
    """Clean one signal and refuse what no edge can be looked for in."""
    cleaned = clean(energy, mu)
    if isinstance(cleaned, Rejected):
        return cleaned
    cleaned = without_glitches(cleaned)
    refusal = check_axis(
        cleaned.energy, expected=expected.energy, tolerance=expected.tolerance
    ) or check_signal(cleaned.columns[:, 0])
    return refusal or cleaned


def without_glitches(cleaned: CleanSpectrum) -> CleanSpectrum:
    """Leave the glitches of the first column out."""
    mu = cleaned.columns[:, 0]
    if len(mu) < MIN_POINTS:
        return cleaned
    glitch = find_glitches(mu, noise=noise(cleaned.energy, mu))
    if not glitch.any():
        return cleaned
    return replace(
        cleaned,
        energy=cleaned.energy[~glitch],
        columns=cleaned.columns[~glitch],
        glitches=int(glitch.sum()),
    )


def noise(energy: Array, mu: Array) -> float:
    """Estimate the noise of one point from how far points lie off their neighbours.

    The median over all points, so that the edge itself, which bends, hardly counts.
    """
    left, right = np.diff(energy)[:-1], np.diff(energy)[1:]
    weight = right / (left + right)
    between = weight * mu[:-2] + (1 - weight) * mu[2:]
    spread = np.sqrt(1 + weight**2 + (1 - weight) ** 2)
    return float(1.4826 * np.median(np.abs(mu[1:-1] - between) / spread))


def check_signal(mu: Array) -> Rejected | None:
    """Reject a signal that never changes or whose detector was pinned at its largest value."""
    if np.ptp(mu) <= 1e-12 * np.abs(mu).max():
        return Rejected(
            reason=Reason.NO_EDGE,
            detail=f"the signal is {mu[0]:.6g} throughout; expected an edge: check the detectors",
        )
    run = _longest_run(mu >= mu.max() - 1e-9 * np.ptp(mu))
    if run >= PINNED_RUN:
        return Rejected(
            reason=Reason.SATURATED,
            detail=f"{run} neighbouring points hold the very same largest value {mu.max():.6g}: "
            "the detector was at its limit; lower the gain, the flux or the concentration",
        )
    return None


def _longest_run(marked: np.ndarray) -> int:
    edges = np.diff(np.concatenate(([0], marked.astype(int), [0])))
    return int((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)).max(initial=0))


def check_cover(energy: Array, e0: float, expected: Expected) -> Rejected | None:
    """Reject a scan that covers too little before or after ``e0`` to be normalised."""
    before, after = e0 - energy[0], energy[-1] - e0
    points = int(min((energy < e0).sum(), (energy > e0).sum()))
    if before >= MIN_BEFORE and after >= MIN_AFTER and points >= MIN_POINTS_ASIDE:
        return _check_sampling(energy, e0)
    if abs(e0 - expected.energy) > expected.tolerance:  # the steepest place is just an end
        return no_edge(energy, expected)
    return Rejected(
        reason=Reason.TOO_SHORT,
        detail=f"the scan covers {before:.1f} eV before and {after:.1f} eV after the edge at "
        f"{e0:.1f} eV, {points} points on one side; expected at least {MIN_BEFORE:g} eV before, "
        f"{MIN_AFTER:g} eV after and {MIN_POINTS_ASIDE} points: widen the scan",
    )


def _check_sampling(energy: Array, e0: float) -> Rejected | None:
    near = int((np.abs(energy - e0) <= NEAR).sum())
    if near >= MIN_POINTS_NEAR:
        return None
    return Rejected(
        reason=Reason.TOO_FEW_POINTS,
        detail=f"{near} energies within {NEAR:g} eV of the edge at {e0:.1f} eV; expected at least "
        f"{FEW_NEAR}: scan the edge in steps of 1 eV or less",
    )


def step_over(energy: Array, e0: float) -> tuple[float, float]:
    """Return the energies in eV between which ``e0`` lies; the next one for a point itself."""
    past = min(max(int(np.searchsorted(energy, e0, side="right")), 1), len(energy) - 1)
    return float(energy[past - 1]), float(energy[past])


def is_coarse(energy: Array, e0: float) -> bool:
    """Tell whether the scan stepped so far over the edge that its shape is not known."""
    before, past = step_over(energy, e0)
    return past - before > COARSE or int((np.abs(energy - e0) <= NEAR).sum()) < FEW_NEAR


def check_position(e0: float, expected: Expected) -> Rejected | None:
    """Reject an edge that is not where the table has the expected one."""
    if abs(e0 - expected.energy) <= expected.tolerance:
        return None
    absorber, edge = nearest_edge(e0)
    return Rejected(
        reason=Reason.WRONG_EDGE,
        detail=f"found an edge at {e0:.1f} eV, nearest in the table to {absorber} {edge}; expected "
        f"the {expected} within {expected.tolerance:.3g} eV: check absorber and edge in the "
        "profile; if they are right, the axis is not calibrated, and normalise.energy_shift should "
        f"be {expected.energy - e0:+.1f}",
    )


def shows_edge(energy: Array, mu: Array, fit: EdgeFit) -> bool:
    """Tell whether mu jumps: beyond the noise, and by a good part of the step of ``fit``.

    It need not jump at e0: vanadium, titanium, six-valent chromium and oxygen show a steep peak
    before the main rise, on which e0 lies.
    """
    if not fit.edge_step > MIN_STEP_SIGNIFICANCE * edge_step_error(energy, mu, fit):
        return False
    rises = inflections(energy, mu, within=(fit.e0, fit.e0 + PRE_PEAK))
    return any(_jumps(energy, mu, at, fit.edge_step) for at in (fit.e0, *rises))


def _jumps(energy: Array, mu: Array, at: float, edge_step: float) -> bool:
    jump, deviation = _jump(energy, mu, at)
    return jump > MIN_SIGNIFICANCE * deviation and jump > MIN_JUMP * edge_step


def edge_step_error(energy: Array, mu: Array, fit: EdgeFit) -> float:
    """Give the standard deviation of the edge step that the noise of mu leaves."""
    return noise(energy, mu) * step_deviation(energy, fit.e0, fit.ranges)


def _jump(energy: Array, mu: Array, at: float) -> tuple[float, float]:
    """Return the rise of mu around ``at`` over that of a line through all of it.

    A background that is smooth rises by about as much as that line. Returned with the standard
    deviation that noise gives it.
    """
    off = energy - at
    below, past = _between(off, -10.0, -2.0), _between(off, 0.5, 6.0)
    if not len(below) or not len(past):
        return 0.0, 0.0
    level = mu - np.polyval(np.polyfit(off, mu, 1), off)
    jump = np.median(level[past]) - np.median(level[below])  # of a pre-edge peak or glitch, too
    points = float(np.hypot(len(past) ** -0.5, len(below) ** -0.5))
    return float(jump), MEDIAN * noise(energy, mu) * points


def _between(off: Array, lo: float, hi: float) -> NDArray[np.intp]:
    """Find the energies from ``lo`` to ``hi`` eV; of a coarse scan the nearest one beyond."""
    inside = np.flatnonzero((off >= lo) & (off <= hi))
    if len(inside):
        return inside
    return np.flatnonzero(off < lo)[-1:] if lo < 0 else np.flatnonzero(off > hi)[:1]


def step_deviation(energy: Array, e0: float, ranges: Ranges) -> float:
    """Give the standard deviation of the edge step for points of unit deviation.

    The step is linear in mu once e0 and the ranges stand, so it is the norm of its weights.
    """
    pre = energy[_window(energy, e0, ranges.pre1, ranges.pre2)] - e0
    post = energy[_window(energy, e0, ranges.norm1, ranges.norm2)] - e0
    curve = _at_origin(post, ranges.nnorm)
    npre = min(ranges.npre, len(pre) - 1)
    # what the pre-edge line takes from the post-edge points, before it is spread over its own
    carried = curve @ np.vander(post, npre + 1, increasing=True)
    before = carried @ _coefficients(pre, npre)
    return float(np.hypot(np.linalg.norm(before), np.linalg.norm(curve)))


def _window(energy: Array, e0: float, lo: float, hi: float) -> NDArray[np.intp]:
    inside = np.flatnonzero((energy >= e0 + lo) & (energy <= e0 + hi))
    if len(inside):
        return inside
    return np.array([np.abs(energy - e0 - lo).argmin()])


def _coefficients(x: Array, degree: int) -> Array:
    """Return (degree + 1, n) weights of values at ``x`` (n,) in their polynomial."""
    return np.asarray(np.linalg.pinv(np.vander(x, degree + 1, increasing=True)), dtype=float)


def _at_origin(x: Array, degree: int) -> Array:
    """Return (n,) weights of values at ``x`` (n,) in what their polynomial is at 0."""
    weights: Array = _coefficients(x, min(degree, len(x) - 1))[0]
    return weights


def negative_step(e0: float, edge_step: float) -> Rejected:
    """Return the refusal of a spectrum that falls at its edge."""
    return Rejected(
        reason=Reason.NEGATIVE_STEP,
        detail=f"the signal falls by {-edge_step:.4g} at {e0:.1f} eV; expected it to rise: are the "
        "incident and the transmitted intensity exchanged in the profile?",
    )


def no_edge(energy: Array, expected: Expected) -> Rejected:
    """Refuse a spectrum without an edge, as too short if the scan has not passed it."""
    lo, hi = energy[0], energy[-1]
    found = f"no edge stands out of the noise between {lo:.1f} and {hi:.1f} eV"
    if hi < expected.energy + expected.tolerance:
        text = f"{found}; expected the {expected}: the scan may end before it"
        return Rejected(reason=Reason.TOO_SHORT, detail=text)
    if lo > expected.energy:
        text = f"{found}; expected the {expected}: the scan begins past it"
        return Rejected(reason=Reason.TOO_SHORT, detail=text)
    text = f"{found}; expected the {expected}: check the sample, the beam and the signal's data key"
    return Rejected(reason=Reason.NO_EDGE, detail=text)
