"""Larch's pre-edge line, post-edge polynomial and edge step."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.normalise.e0 import find_e0
from nearedge.models.spectrum import Array, freeze_arrays

MAX_NNORM = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Fit ranges in eV from e0, and the degrees of the fits, under Larch's names."""

    pre1: float
    pre2: float
    norm1: float
    norm2: float
    nnorm: int
    nvict: int
    npre: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EdgeFit:
    """An edge on what lies before it: what Larch's ``pre_edge`` finds, and its like for EELS.

    Attributes
    ----------
    e0, edge_step
        Edge energy in eV; height of the edge in units of mu, negative where mu falls.
    norm, flat, pre_edge, post_edge
        (n,) normalised; flattened; the pre-edge line; the post-edge curve.
    ranges
        The ranges and degrees that were used.
    """

    e0: float
    edge_step: float
    norm: Array
    flat: Array
    pre_edge: Array
    post_edge: Array
    ranges: Ranges

    def __post_init__(self) -> None:
        freeze_arrays(self)


def pre_edge(
    energy: Array,
    mu: Array,
    *,
    e0: float | None = None,
    step: float | None = None,
    pre1: float | None = None,
    pre2: float | None = None,
    norm1: float | None = None,
    norm2: float | None = None,
    nnorm: int | None = None,
    nvict: int = 0,
    npre: int = 1,
) -> EdgeFit:
    """Subtract the pre-edge, divide by the edge step and flatten, as ``larch.xafs.pre_edge``.

    The numbers are Larch's, with one exception: a negative step stays negative, where Larch takes
    its absolute value and so makes a good-looking spectrum of a bad one.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    mu
        (n,) absorption.
    e0
        Edge energy, eV; None or outside the data: found by `find_e0`.
    step
        Edge step; None: the difference of the post- and pre-edge curves at e0.
    pre1, pre2, norm1, norm2
        Ranges of the two fits, eV from e0; None: Larch's defaults.
    nnorm
        Degree of the post-edge polynomial; None: 2, 1 below 300 eV of range, 0 below 30 eV.
    nvict
        The line is fitted to ``mu * energy**nvict``.
    npre
        Degree of the pre-edge fit: 1 a line, 0 a constant.

    Raises
    ------
    ValueError
        Fewer than four points.
    """
    if len(energy) < 4:
        raise ValueError(f"{len(energy)} points; expected at least 4")
    if e0 is None or not energy[1] <= e0 <= energy[-2]:
        e0 = find_e0(energy, mu)
    ranges = ranges_of(
        energy, e0, (pre1, pre2), (norm1, norm2), nnorm=nnorm, nvict=nvict, npre=npre
    )
    line = _pre_line(energy, mu, e0, ranges)
    curve = _post_curve(energy, mu, line, e0, ranges)
    ie0 = index_nearest(energy, e0)
    edge_step = float(curve[ie0] - line[ie0]) if step is None else float(step)
    with np.errstate(divide="ignore", invalid="ignore"):  # a step of 0 is the caller's to refuse
        norm = (mu - line) / edge_step
        residue = (curve - line) / edge_step
        flat = norm - residue + residue[ie0]
    flat[:ie0] = norm[:ie0]
    return EdgeFit(
        e0=float(e0),
        edge_step=edge_step,
        norm=norm,
        flat=flat,
        pre_edge=line,
        post_edge=curve,
        ranges=ranges,
    )


def index_of(energy: Array, value: float) -> int:
    """Return the index of the last energy at or below ``value``; 0 where there is none."""
    return max(0, int(np.searchsorted(energy, value, side="right")) - 1)


def index_nearest(energy: Array, value: float) -> int:
    """Return the index of the energy nearest to ``value``."""
    return int(np.abs(energy - value).argmin())


def _round_to(value: float, unit: float) -> float:
    return unit * round(value / unit)


def _pre_range(
    energy: Array, e0: float, pre1: float | None, pre2: float | None
) -> tuple[float, float]:
    if pre1 is None:  # Larch leaves out the first point, "often bad"
        pre1 = _round_to(energy[1] - e0, 5.0 if index_nearest(energy, e0) > 20 else 2.0)
    pre1 = max(pre1, energy[0] - e0)
    if pre2 is None:
        pre2 = 0.5 * pre1
    return (pre1, pre2) if pre1 <= pre2 else (pre2, pre1)


def _post_range(
    energy: Array, e0: float, norm1: float | None, norm2: float | None
) -> tuple[float, float]:
    end = energy[-1] - e0
    if norm2 is None:
        norm2 = _round_to(end, 5.0)
    if norm2 < 0:
        norm2 = end - norm2
    norm2 = min(norm2, end)
    if norm1 is None:
        norm1 = min(25.0, 5.0 * round(norm2 / 15.0))
    if norm1 > norm2:
        norm1, norm2 = norm2, norm1
    return min(norm1, norm2 - 2), norm2


def ranges_of(
    energy: Array,
    e0: float,
    pre: tuple[float | None, float | None],
    norm: tuple[float | None, float | None],
    *,
    nnorm: int | None,
    nvict: int,
    npre: int,
) -> Ranges:
    """Fill the ranges that are None with Larch's defaults, and keep all within the data."""
    pre1, pre2 = _pre_range(energy, e0, *pre)
    norm1, norm2 = _post_range(energy, e0, *norm)
    if index_of(energy - e0, pre2) - index_of(energy - e0, pre1) < 3:
        nvict = npre = 0
    return Ranges(
        pre1=float(pre1),
        pre2=float(pre2),
        norm1=float(norm1),
        norm2=float(norm2),
        nnorm=_degree(norm2 - norm1, nnorm),
        nvict=nvict,
        npre=npre,
    )


def _degree(span: float, nnorm: int | None) -> int:
    if nnorm is None:
        nnorm = 0 if span < 30 else 1 if span < 300 else 2
    return max(min(nnorm, MAX_NNORM), 0)


def _polynomial(x: Array, y: Array, degree: int) -> Array:
    """Return (degree + 1,) coefficients of the least-squares polynomial, lowest power first."""
    fit = np.polynomial.Polynomial.fit(x, y, deg=degree)
    return np.asarray(fit.convert().coef, dtype=float)


def _add_polynomial(base: Array, energy: Array, coefficients: Array) -> Array:
    """Add power by power, in Larch's order: cubic terms of 1e12 cancel here."""
    total = base.copy()
    for power, coefficient in enumerate(coefficients):
        total += coefficient * energy**power
    return total


def pre_window(energy: Array, e0: float, ranges: Ranges) -> tuple[int, int]:
    """Return the first point of the pre-edge fit, and the one past its last."""
    p1, p2 = index_of(energy, ranges.pre1 + e0), index_nearest(energy, ranges.pre2 + e0)
    if ranges.npre == 0:
        return p1, max(p2, p1 + 1)
    return p1, p2 if p2 - p1 >= 2 else min(len(energy), p1 + 2)


def post_window(energy: Array, e0: float, ranges: Ranges) -> tuple[int, int, int]:
    """Return the post-edge fit's first point, the one past its last, and its degree."""
    p1, p2 = index_of(energy, ranges.norm1 + e0), index_nearest(energy, ranges.norm2 + e0)
    p1, nnorm = min(p1, len(energy) - 3), ranges.nnorm
    if p2 - p1 < 2:
        p1, nnorm = max(0, p1 - 2), 0
    elif p2 - p1 < 5:
        nnorm = min(1, nnorm)
    return p1, max(p2, p1 + 1), nnorm


def _pre_line(energy: Array, mu: Array, e0: float, ranges: Ranges) -> Array:
    p1, p2 = pre_window(energy, e0, ranges)
    if ranges.npre == 0:
        return np.full(len(energy), mu[p1:p2].mean())
    scaled = mu[p1:p2] * energy[p1:p2] ** ranges.nvict
    line = _add_polynomial(np.zeros(len(energy)), energy, _polynomial(energy[p1:p2], scaled, 1))
    return line * energy ** float(-ranges.nvict)


def _post_curve(energy: Array, mu: Array, line: Array, e0: float, ranges: Ranges) -> Array:
    p1, p2, nnorm = post_window(energy, e0, ranges)
    window = slice(p1, p2)
    coefficients = _polynomial(energy[window], (mu - line)[window], nnorm)
    return _add_polynomial(line, energy, coefficients)
