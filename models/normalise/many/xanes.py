"""Normalise many XANES spectra at once: `nearedge.models.normalise.xanes` for arrays."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise import evidence
from nearedge.models.normalise.e0 import find_e0, smoothing_width
from nearedge.models.normalise.edges import SHIFT, edge_energy, xanes_tolerance
from nearedge.models.normalise.evidence import COARSE, NOISY, Expected
from nearedge.models.normalise.many.batch import (
    Found,
    Some,
    normalise_alone,
    normalise_together,
)
from nearedge.models.normalise.many.cover import are_coarse, are_covered, steps_over
from nearedge.models.normalise.many.e0 import find_rises
from nearedge.models.normalise.many.evidence import show_edges, step_errors
from nearedge.models.normalise.many.pre_edges import PreEdges, pre_edges
from nearedge.models.normalise.many.slopes import slopes_of
from nearedge.models.normalise.pre_edge import ranges_of
from nearedge.models.normalise.windows import (
    FULL_POST,
    FULL_PRE,
    SHORT_POST,
    Windows,
    choose_windows,
)
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.normalise.xanes_e0 import QUIET
from nearedge.models.spectrum import Array, Rejected


def normalise_many_xanes(
    spectra: Spectra,
    *,
    e0: float | None = None,
    step: float | None = None,
    pre1: float | None = None,
    pre2: float | None = None,
    norm1: float | None = None,
    norm2: float | None = None,
    nnorm: int | None = None,
    nvict: int = 0,
    energy_shift: float | Literal["reference"] = 0.0,
    reference_edge: str | None = None,
) -> NormalisedSpectra:
    """Normalise many spectra as `nearedge.models.normalise.xanes.normalise_xanes` does each.

    Spectra that are aligned by a reference foil of their own are normalised one by one.

    Parameters
    ----------
    spectra
        The spectra as measured.
    e0, step, pre1, pre2, norm1, norm2, nnorm, nvict, energy_shift, reference_edge
        As of `normalise_xanes`.
    """
    wanted = Windows(pre1=pre1, pre2=pre2, norm1=norm1, norm2=norm2, nnorm=nnorm, nvict=nvict)
    ranges = {name: value for name, value in asdict(wanted).items() if name != "npre"}
    alone = partial(
        normalise_xanes,
        e0=e0,
        step=step,
        energy_shift=energy_shift,
        reference_edge=reference_edge,
        **ranges,
    )
    expected = evidence.expect(spectra.absorber, spectra.edge, tolerance=xanes_tolerance)
    if isinstance(expected, Rejected) or isinstance(energy_shift, str):
        return normalise_alone(spectra, alone)

    def together(some: Some) -> Found:
        return _XanesNormaliser(some, expected, e0=e0, step=step, wanted=wanted).found(
            partly=not spectra.complete
        )

    return normalise_together(
        spectra, expected, shift=float(energy_shift), together=together, alone=alone
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Upright:
    """Fits of spectra one way up: those that show an edge, and why the others do not."""

    found: PreEdges
    errors: Array
    rejected: dict[int, Rejected]


class _XanesNormaliser:
    """Normalises some spectra of one edge."""

    def __init__(
        self,
        some: Some,
        expected: Expected,
        *,
        e0: float | None,
        step: float | None,
        wanted: Windows,
    ) -> None:
        self._energy, self._mu, self._noise = some.energy, some.mu, some.noise(some.mu)
        self._expected, self._e0, self._step, self._wanted = expected, e0, step, wanted
        self._near = expected.energy - expected.tolerance, expected.energy + expected.tolerance
        self._slopes = slopes_of(self._energy, smoothing_width(np.array(self._near)))
        self._slope = self._slopes(self._mu)

    def found(self, *, partly: bool) -> Found:
        """Return what becomes of them."""
        energy, everyone = self._energy, np.arange(len(self._mu))
        e0, onset = self._located(everyone, 1.0)
        upright = self._upright(everyone, 1.0, e0, onset, step=self._step)
        rejected = dict(upright.rejected)
        # of both ways up that show an edge, the one that comes first is the edge
        turned_e0, turned_onset = self._located(everyone, -1.0)
        refused = np.zeros(len(everyone), dtype=bool)
        refused[list(rejected)] = True
        asked = np.flatnonzero(refused | (turned_e0 < e0))
        if len(asked):
            turned = self._upright(asked, -1.0, turned_e0[asked], turned_onset[asked], step=None)
            steps = turned.found.fits.edge_step
            for n, k in enumerate(asked):
                if n not in turned.rejected:
                    rejected[int(k)] = evidence.negative_step(float(turned_e0[k]), -float(steps[n]))
        for k in np.flatnonzero(np.abs(e0 - self._expected.energy) > self._expected.tolerance):
            why = evidence.check_position(float(e0[k]), self._expected)
            if why is not None:
                rejected.setdefault(int(k), why)
        table = edge_energy(self._expected.absorber, self._expected.edge)
        found = upright.found
        flags = {
            "partial": np.full(len(everyone), partly),
            "short-post-edge": energy[-1] - e0 < SHORT_POST,
            "coarse-edge": are_coarse(energy, e0),
            "maybe-uncalibrated": np.abs(e0 - table) > SHIFT,
            "noisy": upright.errors > NOISY * found.fits.edge_step,
        }
        return Found(
            norm=found.norm,
            flat=found.flat,
            e0=e0,
            edge_step=found.fits.edge_step,
            error=upright.errors,
            flags=flags,
            rejected=rejected,
        )

    def _located(self, rows: NDArray[np.intp], sign: float) -> tuple[Array, Array]:
        """Return where edges lie, and the onsets of peaks before them, as `locate` does."""
        energy = self._energy
        if self._e0 is not None:
            told = np.full(len(rows), self._e0)
            return told, told
        mu = sign * self._mu[rows]
        onset, threshold = find_rises(
            energy, mu, self._slopes, sign * self._slope[rows], near=self._near
        )
        lo, hi = (np.full(len(rows), at) for at in self._near)
        before, past = steps_over(energy, threshold)
        coarse = past - before > COARSE
        lo, hi = np.where(coarse, before, lo), np.where(coarse, past, hi)
        threshold = np.where(coarse, (before + past) / 2, threshold)
        span = np.ptp(mu, axis=1)
        full = (threshold - energy[0] >= FULL_PRE) & (energy[-1] - threshold >= FULL_POST)
        e0 = threshold.copy()
        for k in np.flatnonzero(full & (self._noise[rows] / span <= QUIET)):
            steepest = find_e0(energy, mu[k] / span[k])
            e0[k] = steepest if lo[k] <= steepest <= hi[k] else threshold[k]
        return e0, np.minimum(onset, e0)

    def _upright(
        self, rows: NDArray[np.intp], sign: float, e0: Array, onset: Array, *, step: float | None
    ) -> _Upright:
        """Fit spectra one way up: with windows chosen for each, and else with a level pre-edge."""
        energy = self._energy
        covered = are_covered(energy, e0)
        # an edge at the very end is refused, and what is fitted in its place says nothing
        middle = energy[len(energy) // 2]
        safe, first = (np.where(covered, at, middle) for at in (e0, onset))
        windows = [
            choose_windows(energy, float(at), self._wanted, onset=float(begin))
            for at, begin in zip(safe, first, strict=True)
        ]
        found = self._fitted(rows, sign, safe, windows, step=step)
        errors = step_errors(energy, self._noise[rows], found.fits)
        shown = self._shown(rows, sign, found, errors) & covered
        level = np.array([w.pre1 != self._wanted.pre1 and bool(w.npre) for w in windows], bool)
        again = np.flatnonzero(covered & ~shown & level)
        if len(again):
            some = [replace(windows[k], npre=0) for k in again]
            other = self._fitted(rows[again], sign, safe[again], some, step=step)
            other_errors = step_errors(energy, self._noise[rows[again]], other.fits)
            better = self._shown(rows[again], sign, other, other_errors)
            _replace(found, other, again, better)
            errors[again[better]] = other_errors[better]
            shown[again] = better
        rejected = {}
        for k in np.flatnonzero(~shown):
            why = evidence.check_cover(energy, float(e0[k]), self._expected)
            rejected[int(k)] = why or evidence.no_edge(energy, self._expected)
        return _Upright(found=found, errors=errors, rejected=rejected)

    def _fitted(
        self,
        rows: NDArray[np.intp],
        sign: float,
        e0: Array,
        windows: list[Windows],
        *,
        step: float | None,
    ) -> PreEdges:
        energy = self._energy
        ranges = [
            ranges_of(
                energy,
                float(at),
                (one.pre1, one.pre2),
                (one.norm1, one.norm2),
                nnorm=one.nnorm,
                nvict=one.nvict,
                npre=one.npre,
            )
            for at, one in zip(e0, windows, strict=True)
        ]
        return pre_edges(energy, sign * self._mu[rows], e0, ranges, step=step)

    def _shown(
        self, rows: NDArray[np.intp], sign: float, found: PreEdges, errors: Array
    ) -> NDArray[np.bool_]:
        mu = sign * self._mu[rows]
        slopes, own = self._slopes, sign * self._slope[rows]
        wide = smoothing_width(self._energy)
        if wide != smoothing_width(np.array(self._near)):
            slopes = slopes_of(self._energy, wide)
            own = slopes(mu)
        return show_edges(self._energy, mu, self._noise[rows], slopes, own, found.fits, errors)


def _replace(
    found: PreEdges, other: PreEdges, rows: NDArray[np.intp], better: NDArray[np.bool_]
) -> None:
    """Put the better ones of ``other`` in the place of the rows of ``found``."""
    at = rows[better]
    found.norm[at], found.flat[at] = other.norm[better], other.flat[better]
    for name in found.fits.__slots__:
        getattr(found.fits, name)[at] = getattr(other.fits, name)[better]
