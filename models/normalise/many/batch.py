"""What all ways of normalising many spectra share: what is common to them, and what is not."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.normalise.energies import MIN_POINTS, TINY_ENERGY, check_axis, clean
from nearedge.models.normalise.evidence import Expected
from nearedge.models.normalise.many.evidence import has_glitches, is_plain, noises
from nearedge.models.normalise.rebinning import MOST_POINTS
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected, Spectrum

#: Spectra that are normalised together: what belongs to them stays in a processor's cache.
AT_ONCE = 128
_SAME = 1e-6  # eV: energies of one axis, shifted to and fro

Alone = Callable[[Spectrum], NormalisedSpectrum | Rejected]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Some:
    """Finite spectra without glitches on a strictly increasing axis.

    Attributes
    ----------
    energy, mu
        (n,) eV, shifted, and (p, n).
    told_noise
        (p,) of one point, NaN where it is to be estimated.
    own_shift
        (p,) eV to be added to the energies of each, or None.
    """

    energy: Array
    mu: Array
    told_noise: Array
    own_shift: Array | None = None

    def noise(self, mu: Array) -> Array:
        """Return the noise of one point of signals (p, n), as told or estimated, (p,)."""
        told = np.isfinite(self.told_noise)
        return (
            self.told_noise
            if told.all()
            else np.where(told, self.told_noise, noises(self.energy, mu))
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What became of `Some`; rows of rejected ones say nothing.

    Attributes
    ----------
    norm, flat, e0, edge_step, error
        As in `NormalisedSpectra`.
    flags
        Names, and (p,) which spectra they hold for, in the order in which they are given.
    rejected
        What was rejected, by row.
    """

    norm: Array
    flat: Array
    e0: Array
    edge_step: Array
    error: Array
    flags: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    rejected: dict[int, Rejected] = field(default_factory=dict)


Together = Callable[[Some], Found]


class ManyOutcome:
    """The growing result of many spectra.

    Parameters
    ----------
    energy
        (n,) eV, as measured, strictly increasing.
    spectra
        The spectra whose result it is.
    """

    def __init__(self, energy: Array, spectra: Spectra) -> None:
        self._spectra = spectra
        self._energy = energy
        shape = (len(spectra), len(energy))
        self._norm, self._flat = np.full(shape, np.nan), np.full(shape, np.nan)
        self._numbers = np.full((4, len(spectra)), np.nan)
        self._flags: list[tuple[str, ...]] = [()] * len(spectra)
        self._rejected: dict[int, Rejected] = {}
        self._alone: dict[int, NormalisedSpectrum] = {}

    def put_alone(self, k: int, one: NormalisedSpectrum | Rejected) -> None:
        """Take the k-th spectrum, which was normalised by itself."""
        if isinstance(one, Rejected):
            self._rejected[k] = one
            return
        self._alone[k] = one
        energy = one.energy - one.energy_shift
        at = np.clip(np.searchsorted(self._energy, energy - _SAME), 0, len(self._energy) - 1)
        same = np.abs(self._energy[at] - energy) <= _SAME
        self._norm[k, at[same]], self._flat[k, at[same]] = one.norm[same], one.flat[same]
        error = float(one.parameters.get("edge_step_error", np.nan))
        self._numbers[:, k] = one.e0, one.edge_step, error, one.energy_shift
        self._flags[k] = one.flags

    def put(
        self,
        rows: NDArray[np.intp],
        found: Found,
        *,
        shift: float | Array,
        flags: Iterable[str],
    ) -> None:
        """Take rows that were normalised together; ``shift`` is that of all or of each."""
        good = np.ones(len(rows), dtype=bool)
        good[list(found.rejected)] = False
        self._rejected |= {int(rows[k]): why for k, why in found.rejected.items()}
        at = rows[good]
        self._norm[at], self._flat[at] = found.norm[good], found.flat[good]
        numbers = (found.e0, found.edge_step, found.error, np.broadcast_to(shift, len(rows)))
        self._numbers[:, at] = np.stack(numbers)[:, good]
        common = tuple(flags)
        for k in np.flatnonzero(good):
            own = (name for name, holds in found.flags.items() if holds[k])
            self._flags[rows[k]] = tuple(dict.fromkeys((*common, *own)))

    def done(self) -> NormalisedSpectra:
        """Return the result."""
        e0, step, error, shift = self._numbers
        return NormalisedSpectra(
            energy=self._energy,
            norm=self._norm,
            flat=self._flat,
            e0=e0,
            edge_step=step,
            edge_step_error=error,
            energy_shift=shift,
            flags=tuple(self._flags),
            technique=self._spectra.technique,
            absorber=self._spectra.absorber,
            edge=self._spectra.edge,
            complete=self._spectra.complete,
            rejected=self._rejected,
            alone=self._alone,
        )


def normalise_alone(spectra: Spectra, alone: Alone) -> NormalisedSpectra:
    """Normalise each spectrum by itself."""
    outcome = ManyOutcome(_axis(spectra), spectra)
    for k in range(len(spectra)):
        outcome.put_alone(k, alone(spectra.one(k)))
    return outcome.done()


def _axis(spectra: Spectra) -> Array:
    """Return the strictly increasing energies that all spectra together have."""
    cleaned = clean(spectra.energy, np.zeros(len(spectra.energy)))
    return np.empty(0) if isinstance(cleaned, Rejected) else cleaned.energy


def normalise_together(
    spectra: Spectra,
    expected: Expected,
    *,
    shift: float,
    together: Together,
    alone: Alone,
    own_shift: Array | None = None,
) -> NormalisedSpectra:
    """Normalise together what can be, and each of the rest alone.

    Parameters
    ----------
    spectra
        The spectra as measured.
    expected
        The edge that should be there.
    shift
        eV added to the energies.
    together, alone
        How to normalise some, and one.
    own_shift
        (p,) eV added besides to the energies of each, NaN for one that must be normalised alone;
        None: nothing.
    """
    fit = np.isfinite(spectra.mu).all(axis=1)
    finite = np.flatnonzero(fit if own_shift is None else fit & np.isfinite(own_shift))
    parts = list(_cleaned(spectra, finite, shift))
    if not parts:
        return normalise_alone(spectra, alone)
    outcome = ManyOutcome(parts[0].energy - shift, spectra)
    done = np.zeros(len(spectra), dtype=bool)
    for part in parts:
        own = None if own_shift is None else own_shift[part.rows]
        usable = _usable(part, expected, own)
        rows = part.rows[usable]
        done[rows] = True
        if len(rows):
            told = np.full(len(rows), np.nan) if spectra.noise is None else spectra.noise[rows]
            more = None if own is None else own[usable]
            some = Some(energy=part.energy, mu=part.mu[usable], told_noise=told, own_shift=more)
            total = shift if more is None else shift + more
            outcome.put(rows, together(some), shift=total, flags=(*spectra.flags, *part.flags))
    for k in np.flatnonzero(~done):
        outcome.put_alone(int(k), alone(spectra.one(int(k))))
    return outcome.done()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    rows: NDArray[np.intp]
    energy: Array
    mu: Array
    flags: tuple[str, ...]


def _cleaned(spectra: Spectra, finite: NDArray[np.intp], shift: float) -> Iterator[_Part]:
    energy = spectra.energy + shift
    clean_axis = (
        len(energy) <= MOST_POINTS
        and bool(np.isfinite(energy).all())
        and bool((np.diff(energy) > TINY_ENERGY).all())
    )
    for begin in range(0, len(finite), AT_ONCE):
        rows = finite[begin : begin + AT_ONCE]
        mu = np.asarray(spectra.mu[rows], np.float64)
        if clean_axis:
            yield _Part(rows=rows, energy=energy, mu=mu, flags=())
            continue
        cleaned = clean(energy, *mu)
        if not isinstance(cleaned, Rejected):
            yield _Part(
                rows=rows,
                energy=cleaned.energy,
                mu=np.ascontiguousarray(cleaned.columns.T),
                flags=cleaned.flags,
            )


def _usable(part: _Part, expected: Expected, own_shift: Array | None) -> NDArray[np.bool_]:
    """Return which spectra can be normalised together: nothing of them is left out or refused."""
    ends = (0.0,) if own_shift is None else (own_shift.min(), own_shift.max())
    refused = [
        check_axis(part.energy + end, expected=expected.energy, tolerance=expected.tolerance)
        for end in ends
    ]
    if any(refused) or len(part.energy) < MIN_POINTS:
        return np.zeros(len(part.rows), dtype=bool)
    plain = is_plain(part.mu)
    return np.asarray(plain & ~has_glitches(part.mu, noises(part.energy, part.mu)))
