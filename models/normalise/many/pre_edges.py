"""Larch's pre-edge line, post-edge polynomial and edge step of many spectra at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nearedge.models.normalise.many.evidence import Fits
from nearedge.models.normalise.many.polynomials import Polynomials, RowWindows
from nearedge.models.normalise.pre_edge import (
    Ranges,
    index_nearest,
    post_window,
    pre_window,
)
from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreEdges:
    """Steps of many spectra.

    Attributes
    ----------
    fits
        Where they are, and from which ranges.
    norm, flat
        (p, n) normalised, and flattened past e0.
    """

    fits: Fits
    norm: Array
    flat: Array


def pre_edges(
    energy: Array, mu: Array, e0: Array, ranges: Sequence[Ranges], *, step: float | None
) -> PreEdges:
    """Fit each spectrum as `nearedge.models.normalise.pre_edge.pre_edge` does.

    Parameters
    ----------
    energy, mu
        (n,) eV, strictly increasing, and (p, n).
    e0
        (p,) eV, within the scan.
    ranges
        The ranges of each spectrum.
    step
        Edge step of all; None: fitted.
    """
    line = _lines(energy, mu, e0, ranges)
    curve = line + _past(energy, mu - line, e0, ranges)
    at = np.array([index_nearest(energy, float(one)) for one in e0], dtype=np.intp)
    rows = np.arange(len(mu))
    found = curve[rows, at] - line[rows, at]
    height = found if step is None else np.full(len(mu), float(step))
    with np.errstate(divide="ignore", invalid="ignore"):  # a step of 0 is the caller's to refuse
        norm = (mu - line) / height[:, None]
        residue = (curve - line) / height[:, None]
        flat = norm - residue + residue[rows, at][:, None]
    before = np.arange(len(energy)) < at[:, None]
    flat[before] = norm[before]
    return PreEdges(fits=_fits(e0, height, ranges), norm=norm, flat=flat)


def _fits(e0: Array, edge_step: Array, ranges: Sequence[Ranges]) -> Fits:
    return Fits(
        e0=e0,
        edge_step=edge_step,
        pre1=np.array([one.pre1 for one in ranges]),
        pre2=np.array([one.pre2 for one in ranges]),
        norm1=np.array([one.norm1 for one in ranges]),
        norm2=np.array([one.norm2 for one in ranges]),
        nnorm=np.array([one.nnorm for one in ranges], dtype=np.intp),
        npre=np.array([one.npre for one in ranges], dtype=np.intp),
    )


def _lines(energy: Array, mu: Array, e0: Array, ranges: Sequence[Ranges]) -> Array:
    found = [pre_window(energy, float(at), one) for at, one in zip(e0, ranges, strict=True)]
    power = np.array([float(one.nvict) for one in ranges])
    raised = energy ** power[:, None] if power.any() else np.ones((1, len(energy)))
    degree = np.array([min(one.npre, 1) for one in ranges], dtype=np.intp)
    return _fitted(energy, mu * raised, found, degree) / raised


def _past(energy: Array, above: Array, e0: Array, ranges: Sequence[Ranges]) -> Array:
    found = [post_window(energy, float(at), one) for at, one in zip(e0, ranges, strict=True)]
    degree = np.array([nnorm for _, _, nnorm in found], dtype=np.intp)
    return _fitted(energy, above, [window[:2] for window in found], degree)


def _fitted(energy: Array, y: Array, found: Sequence[tuple[int, int]], degree: np.ndarray) -> Array:
    """Return polynomials (p, n) through the windows ``found`` of ``y`` (p, n)."""
    begin, end = np.array(found, dtype=np.intp).T
    windows = RowWindows.between(begin, end, size=len(energy))
    centre = energy[begin]
    x = energy[windows.at] - centre[:, None]
    fits = Polynomials(x, windows.inside, degree)
    coefficients = fits.fit(np.take_along_axis(y, windows.at, axis=1))
    return fits.at(energy - centre[:, None], coefficients)
