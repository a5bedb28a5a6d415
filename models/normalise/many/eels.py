"""Normalise many core-loss spectra at once: `nearedge.models.normalise.eels` for arrays."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise import evidence
from nearedge.models.normalise.background import MIN_POINTS, MIN_WIDTH, MOST_LOG_A
from nearedge.models.normalise.core_loss import CLEAR
from nearedge.models.normalise.e0 import smoothing_width
from nearedge.models.normalise.edges import eels_tolerance
from nearedge.models.normalise.eels import STEP, normalise_eels, step_window
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
from nearedge.models.normalise.windows import FOOT, SHORT_POST
from nearedge.models.spectrum import Array, Rejected


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

    Spectra with a low loss of their own that is used, to align the axis or to take plural
    scattering out, are normalised one by one.

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
    own_low_loss = spectra.low_loss is not None and (align_zero_loss or deconvolve)
    if isinstance(expected, Rejected) or deconvolve or own_low_loss:
        return normalise_alone(spectra, alone)

    def together(some: Some) -> Found:
        return _EelsNormaliser(some, expected, e0=e0, window=background, step=step).found(
            partly=not spectra.complete
        )

    return normalise_together(spectra, expected, shift=energy_shift, together=together, alone=alone)


class _Backgrounds:
    """Power laws ``A * energy**-r``, (p,) each, and the windows that they were fitted to."""

    def __init__(self, energy: Array, counts: Array, first: Array, last: Array) -> None:
        begin = np.searchsorted(energy, first, side="left")
        end = np.searchsorted(energy, last, side="right")
        self.first, self.last, self.fitted = first, last, begin < end
        windows = RowWindows.between(begin, np.maximum(end, begin), size=len(energy))
        y = np.take_along_axis(counts, windows.at, axis=1)
        self.A, self.r = _fit(energy[windows.at], y, windows)

    def __call__(self, energy: Array) -> Array:
        return np.asarray(self.A[:, None] * energy ** -self.r[:, None])


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
    """Normalises some spectra of one edge."""

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
            e0=e0,
            edge_step=height,
            error=error,
            flags=flags,
            rejected=self._rejected,
        )

    def _onsets(self) -> Array:
        """Estimate the onsets on a background whose window keeps well clear of the edge."""
        if self._e0 is not None:
            return np.full(len(self._counts), self._e0)
        at, (lo, hi) = self._expected.energy, self._window
        count = len(self._counts)
        safe = _Backgrounds(
            self._energy, self._counts, np.full(count, at + lo), np.full(count, at + min(hi, CLEAR))
        )
        counts = self._counts
        if safe.fitted.any():
            counts = counts - safe(self._energy)
        return self._found_onsets(counts, self._slopes(counts))

    def _found_onsets(self, counts: Array, slope: Array) -> Array:
        if self._e0 is not None:
            return np.full(len(counts), self._e0)
        return find_rises(self._energy, counts, self._slopes, slope, near=self._near)[1]

    def _covered(self, rows: NDArray[np.intp], e0: Array) -> NDArray[np.intp]:
        """Reject the rows whose edge the scan covers too little of; return the others."""
        covered = are_covered(self._energy, e0[rows])
        for k in rows[~covered]:
            why = evidence.check_cover(self._energy, float(e0[k]), self._expected)
            if why is not None:
                self._rejected[int(k)] = why
        return rows[covered]

    def _background(self, onset: Array) -> _Backgrounds:
        energy, at = self._energy, self._expected.energy
        first = np.full(len(onset), at + self._window[0])
        last = np.minimum(at, onset) + self._window[1]
        measured = np.searchsorted(energy, first, side="left") < np.searchsorted(
            energy, last, side="right"
        )
        late = ~measured | (last - np.maximum(first, energy[0]) < MIN_WIDTH)
        first = np.where(late, energy[0], first)
        last = np.where(late, onset - FOOT * (onset - energy[0]), last)
        return _Backgrounds(energy, self._counts, np.maximum(first, energy[0]), last)

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
            why = evidence.check_position(float(fits.e0[k]), self._expected)
            if why is not None:
                self._rejected[int(k)] = why
        rest = rows[~shown]
        turned = self._shown(rest, -1.0, signal, noise, slope, fits, error)
        for k, falls in zip(rest, turned, strict=True):
            self._rejected[int(k)] = (
                evidence.negative_step(float(fits.e0[k]), float(fits.edge_step[k]))
                if falls
                else evidence.no_edge(self._energy, self._expected)
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
