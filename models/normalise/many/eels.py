"""Normalise many core-loss spectra at once: `nearedge.models.normalise.eels` for arrays."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise import evidence
from nearedge.models.normalise.background import MIN_POINTS, MIN_WIDTH, MOST_LOG_A
from nearedge.models.normalise.core_loss import CLEAR
from nearedge.models.normalise.e0 import WIDENING, WIDTH, smoothing_width
from nearedge.models.normalise.edges import eels_tolerance
from nearedge.models.normalise.eels import NOT_ALIGNED, STEP, normalise_eels, step_window
from nearedge.models.normalise.evidence import NOISY, Expected
from nearedge.models.normalise.many.batch import (
    Found,
    Some,
    normalise_alone,
    normalise_together,
)
from nearedge.models.normalise.many.cover import are_covered
from nearedge.models.normalise.many.e0 import find_rises
from nearedge.models.normalise.many.evidence import Fits, show_edges, step_errors
from nearedge.models.normalise.many.polynomials import RowWindows
from nearedge.models.normalise.many.slopes import slopes_of
from nearedge.models.normalise.many.zero_loss import zero_loss_shifts
from nearedge.models.normalise.windows import FOOT, SHORT_POST
from nearedge.models.spectrum import Array, Rejected

NEARLY = 1e-6
"""eV between a point and the end of a window, below which rounding may decide."""


def normalise_many_eels(
    spectra: Spectra,
    *,
    e0: float | None = None,
    background: tuple[float, float] = (-50.0, -5.0),
    align_zero_loss: bool = True,
    deconvolve: bool = False,
    fwhm: float | None = None,
    step: tuple[float, float] = STEP,
    energy_shift: float = 0.0,
) -> NormalisedSpectra:
    """Normalise many spectra as `nearedge.models.normalise.eels.normalise_eels` does each.

    Each may have an axis of its own, from the zero-loss peak of its low loss. Spectra from which
    plural scattering is taken out are normalised one by one.

    Parameters
    ----------
    spectra
        Core-loss counts as measured, with their low losses where there are.
    e0, background, align_zero_loss, deconvolve, fwhm, step, energy_shift
        As of `normalise_eels`.
    """
    settings: dict[str, Any] = {
        **{"e0": e0, "background": background, "align_zero_loss": align_zero_loss},
        **{"deconvolve": deconvolve, "fwhm": fwhm, "step": step, "energy_shift": energy_shift},
    }
    alone = partial(normalise_eels, **settings)
    expected = evidence.expect(spectra.absorber, spectra.edge, tolerance=eels_tolerance)
    if isinstance(expected, Rejected) or deconvolve:
        return normalise_alone(spectra, alone)
    own_shift, lost = None, np.zeros(len(spectra), dtype=bool)
    if align_zero_loss and spectra.low_loss is not None and spectra.low_loss_energy is not None:
        if e0 is not None:
            return normalise_alone(spectra, alone)
        own_shift = zero_loss_shifts(spectra)
        lost = np.isnan(own_shift)
        own_shift[lost] = 0.0
        axis = spectra.energy + energy_shift
        own_shift[_depends(axis, own_shift, expected, background)] = np.nan

    def together(some: Some) -> Found:
        return _EelsNormaliser(some, expected, e0=e0, window=background, step=step).found(
            partly=not spectra.complete
        )

    found = normalise_together(
        spectra,
        expected,
        shift=energy_shift,
        together=together,
        alone=alone,
        own_shift=own_shift,
    )
    return _flagged(found, lost & found.good)


def _flagged(found: NormalisedSpectra, lost: NDArray[np.bool_]) -> NormalisedSpectra:
    """Say of which there was no peak to align by; those normalised alone say so already."""
    flags = list(found.flags)
    for k in np.flatnonzero(lost):
        flags[k] = tuple(dict.fromkeys((*flags[k], NOT_ALIGNED)))
    return replace(found, flags=tuple(flags))


def _depends(
    energy: Array, shift: Array, expected: Expected, window: tuple[float, float]
) -> NDArray[np.bool_]:
    """Tell for which shifts (p,) it would not do to shift what is looked for instead of the axis.

    Either the width of smoothing depends on the energy, or a point lies on the end of a window, so
    that rounding decides whether it is inside.
    """
    highest = max(float(np.nanmean(energy)), expected.energy) + np.abs(shift)
    wide = WIDENING * highest > WIDTH
    ends = expected.energy + np.array([window[0], window[1], min(window[1], CLEAR)])
    off = energy - (ends[None, :, None] - shift[:, None, None])
    return np.asarray(wide | (np.abs(off) < NEARLY).any(axis=(1, 2)))


class _Backgrounds:
    """Power laws ``A * (energy + shift)**-r``, (p,) each, and the windows of their fits."""

    def __init__(
        self, energy: Array, counts: Array, first: Array, last: Array, *, shift: Array | float
    ) -> None:
        self._shift = np.reshape(shift, (-1, 1)) if np.ndim(shift) else shift
        begin = np.searchsorted(energy, first, side="left")
        end = np.searchsorted(energy, last, side="right")
        self.first, self.last, self.fitted = first, last, begin < end
        windows = RowWindows.between(begin, np.maximum(end, begin), size=len(energy))
        y = np.take_along_axis(counts, windows.at, axis=1)
        self.A, self.r = _fit(energy[windows.at] + self._shift, y, windows)

    def __call__(self, energy: Array) -> Array:
        return np.asarray(self.A[:, None] * (energy + self._shift) ** -self.r[:, None])


def _fit(x: Array, y: Array, windows: RowWindows) -> tuple[Array, Array]:
    inside, count = windows.inside, np.maximum(windows.count, 1)
    mean = np.where(inside, y, 0.0).sum(axis=1) / count
    width = np.where(inside, x, -np.inf).max(axis=1) - x[:, 0]
    lowest = np.where(inside, y, np.inf).min(axis=1)
    fits = (count >= MIN_POINTS) & (width >= MIN_WIDTH) & (lowest > 0) & (x[:, 0] > 0)
    counted = inside & fits[:, None]
    log_x = np.log(np.where(counted, x, 1.0))
    log_y = np.log(np.where(counted, y, 1.0))
    weight = np.where(counted, y, 0.0)
    total = np.where(fits, weight.sum(axis=1), 1.0)
    centre, level = (weight * log_x).sum(axis=1) / total, (weight * log_y).sum(axis=1) / total
    off = log_x - centre[:, None]
    spread = np.where(fits, (weight * off**2).sum(axis=1), 1.0)
    slope = (weight * off * (log_y - level[:, None])).sum(axis=1) / spread
    falls = fits & (slope < 0) & (level - slope * centre <= MOST_LOG_A)
    height = np.exp(np.where(falls, level - slope * centre, 0.0))
    return np.where(falls, height, mean), np.where(falls, -slope, 0.0)


class _EelsNormaliser:
    """Normalises some spectra of one edge.

    Where each has an axis of its own, all is calculated on the axis that they share, and what is
    looked for is shifted the other way. Only the background depends on the energies themselves.
    """

    def __init__(
        self,
        some: Some,
        expected: Expected,
        *,
        e0: float | None,
        window: tuple[float, float],
        step: tuple[float, float],
    ) -> None:
        self._some = some
        self._energy, self._counts = some.energy, some.mu
        self._expected, self._e0, self._window, self._step = expected, e0, window, step
        self._rejected: dict[int, Rejected] = {}
        self._near = expected.energy - expected.tolerance, expected.energy + expected.tolerance
        self._shift = np.zeros(len(some.mu)) if some.own_shift is None else some.own_shift
        self._table = expected.energy - self._shift
        self._own: Array | float = 0.0 if some.own_shift is None else some.own_shift
        self._slopes = slopes_of(self._energy, smoothing_width(np.array(self._near)))

    def found(self, *, partly: bool) -> Found:
        """Return what becomes of them."""
        energy = self._energy
        onset = self._onsets()
        kept = self._covered(np.arange(len(self._counts)), onset)
        background = self._background(onset)
        signal = self._counts - background(energy)
        slope = self._slopes(signal)
        e0 = self._found_onsets(signal, slope)
        kept = self._covered(kept, e0)
        fits, height = self._fits(signal, e0, background)
        noise = self._some.noise(signal)
        error = step_errors(energy, noise, fits)
        self._judge(kept, signal, noise, slope, fits, error)
        with np.errstate(divide="ignore", invalid="ignore"):  # of rejected ones
            norm = signal / height[:, None]
        flags = {
            "partial": np.full(len(signal), partly),
            "short-post-edge": energy[-1] - e0 < SHORT_POST,
            "noisy": error > NOISY * height,
            "constant-background": background.r == 0,
        }
        return Found(
            norm=norm,
            flat=norm,
            e0=e0 + self._shift,
            edge_step=height,
            error=error,
            flags=flags,
            rejected=self._rejected,
        )

    def _onsets(self) -> Array:
        """Estimate the onsets on a background whose window keeps well clear of the edge."""
        if self._e0 is not None:
            return np.full(len(self._counts), self._e0)
        at, (lo, hi) = self._table, self._window
        safe = _Backgrounds(
            self._energy, self._counts, at + lo, at + min(hi, CLEAR), shift=self._own
        )
        counts = self._counts
        if safe.fitted.any():
            counts = counts - safe(self._energy)
        return self._found_onsets(counts, self._slopes(counts))

    def _found_onsets(self, counts: Array, slope: Array) -> Array:
        if self._e0 is not None:
            return np.full(len(counts), self._e0)
        found = np.empty(len(counts))
        for rows, near in self._spans():
            found[rows] = find_rises(
                self._energy, counts[rows], self._slopes, slope[rows], near=near
            )[1]
        return found

    def _spans(self) -> Iterator[tuple[NDArray[np.intp], tuple[float, float]]]:
        """Yield rows that look for their edge at the same points of the fine grid, and where."""
        grid, (lo, hi) = self._slopes.grid, self._near
        begin = np.searchsorted(grid, lo - self._shift)
        end = np.searchsorted(grid, hi - self._shift, side="right")
        spans, which = np.unique(np.stack([begin, end]), axis=1, return_inverse=True)
        for number in range(spans.shape[1]):
            rows = np.flatnonzero(which.ravel() == number)
            own = float(self._shift[rows[0]])
            yield rows, (lo - own, hi - own)

    def _covered(self, rows: NDArray[np.intp], e0: Array) -> NDArray[np.intp]:
        """Reject the rows whose edge the scan covers too little of; return the others."""
        covered = are_covered(self._energy, e0[rows])
        for k in rows[~covered]:
            own = self._shift[k]
            why = evidence.check_cover(self._energy + own, float(e0[k] + own), self._expected)
            if why is not None:
                self._rejected[int(k)] = why
        return rows[covered]

    def _background(self, onset: Array) -> _Backgrounds:
        energy, at = self._energy, self._table
        first = at + self._window[0]
        last = np.minimum(at, onset) + self._window[1]
        measured = np.searchsorted(energy, first, side="left") < np.searchsorted(
            energy, last, side="right"
        )
        late = ~measured | (last - np.maximum(first, energy[0]) < MIN_WIDTH)
        first = np.where(late, energy[0], first)
        last = np.where(late, onset - FOOT * (onset - energy[0]), last)
        first = np.maximum(first, energy[0])
        return _Backgrounds(energy, self._counts, first, last, shift=self._own)

    def _fits(self, signal: Array, e0: Array, background: _Backgrounds) -> tuple[Fits, Array]:
        energy = self._energy
        spans = [step_window(energy - at, self._step) for at in e0]
        lo, hi = np.array(spans).T
        begin = np.searchsorted(energy, e0 + lo, side="left")
        end = np.searchsorted(energy, e0 + hi, side="right")
        windows = RowWindows.between(begin, np.maximum(end, begin), size=len(energy))
        values = np.where(windows.inside, np.take_along_axis(signal, windows.at, axis=1), 0.0)
        height = values.sum(axis=1) / np.maximum(windows.count, 1)
        fits = Fits(
            e0=e0,
            edge_step=height,
            pre1=background.first - e0,
            pre2=background.last - e0,
            norm1=lo,
            norm2=hi,
            nnorm=np.zeros(len(e0), dtype=np.intp),
            npre=(background.r != 0).astype(np.intp),
        )
        return fits, height

    def _judge(
        self,
        rows: NDArray[np.intp],
        signal: Array,
        noise: Array,
        slope: Array,
        fits: Fits,
        error: Array,
    ) -> None:
        shown = self._shown(rows, 1.0, signal, noise, slope, fits, error)
        for k in rows[shown]:
            why = evidence.check_position(float(fits.e0[k] + self._shift[k]), self._expected)
            if why is not None:
                self._rejected[int(k)] = why
        rest = rows[~shown]
        turned = self._shown(rest, -1.0, signal, noise, slope, fits, error)
        for k, falls in zip(rest, turned, strict=True):
            self._rejected[int(k)] = (
                evidence.negative_step(float(fits.e0[k] + self._shift[k]), float(fits.edge_step[k]))
                if falls
                else evidence.no_edge(self._energy + self._shift[k], self._expected)
            )

    def _shown(
        self,
        rows: NDArray[np.intp],
        sign: float,
        signal: Array,
        noise: Array,
        slope: Array,
        fits: Fits,
        error: Array,
    ) -> NDArray[np.bool_]:
        """Tell whether some rows show an edge, upright (``sign`` 1) or upside down (-1)."""
        slopes = self._slopes
        wide = smoothing_width(self._energy)
        own = sign * slope[rows]
        if wide != smoothing_width(np.array(self._near)):
            slopes = slopes_of(self._energy, wide)
            own = slopes(sign * signal[rows])
        return show_edges(
            self._energy,
            sign * signal[rows],
            noise[rows],
            slopes,
            own,
            fits.some(rows, sign=sign),
            error[rows],
        )
