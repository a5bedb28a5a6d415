"""Input conditions: what an instrument makes of a calculated spectrum, before normalisation.

A calculated spectrum is broadened, put on the points of a scan, shifted, given a background and
counted, in the order in which a beamline would do it; then it goes through the same normalisation
as any measurement. Used to evaluate a model and to augment its training.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from zlib import crc32

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nearedge.models.data.dataset import Site
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected, Spectrum

Range = tuple[float, float]
Normaliser = Callable[[Spectrum], NormalisedSpectrum | Rejected]

_FINE = 0.1  # eV, the grid on which resolution is applied
_FWHM = 2 * np.sqrt(2 * np.log(2))


class InputCondition(StrEnum):
    """How the spectrum that a model is asked about came about."""

    CLEAN = "clean"
    MEASURED = "measured"
    PARTIAL_40 = "partial-40"
    PARTIAL_60 = "partial-60"
    PARTIAL_80 = "partial-80"
    MEAN = "mean"

    @property
    def share(self) -> float:
        """Share of the scan's points that were measured."""
        return int(self.value[-2:]) / 100 if self.value.startswith("partial") else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedInstrument:
    """Ranges from which a measurement is drawn, evenly unless said otherwise.

    Attributes
    ----------
    resolution
        Full width at half maximum of the added Gaussian broadening, eV.
    counts
        Counts at the edge step, evenly in their logarithm.
    offset
        Standard deviation of the energy calibration's error, eV.
    background
        Absorption below the edge, in units of the edge step.
    slope
        Slope of that background, edge steps per eV.
    step
        Height of the edge in arbitrary units, evenly in its logarithm.
    start, end
        First and last energy of the scan, eV from the edge.
    spacing
        Between points near the edge, eV; twice as much from 15 eV above it on.
    """

    resolution: Range = (0.3, 1.2)
    counts: Range = (1e4, 1e6)
    offset: float = 0.5
    background: Range = (0.05, 1.0)
    slope: Range = (-1e-3, 1e-3)
    step: Range = (0.1, 10.0)
    start: Range = (-60.0, -20.0)
    end: Range = (48.0, 62.0)
    spacing: Range = (0.15, 0.5)


INSTRUMENT = SimulatedInstrument()


def half_height(spectrum: Spectrum) -> float:
    """Return the energy where a calculated spectrum is half way up, eV."""
    energy, mu = spectrum.energy, spectrum.mu
    level = (mu[0] + mu[-(len(mu) // 4) :].mean()) / 2
    k = max(1, int((mu > level).argmax()))
    rise = mu[k] - mu[k - 1]
    share = np.clip((level - mu[k - 1]) / rise, 0.0, 1.0) if rise > 0 else 0.0
    return float(energy[k - 1] + share * (energy[k] - energy[k - 1]))


def scan_points(*, start: float, end: float, spacing: float) -> Array:
    """Return a scan's energies, eV from the edge: coarse, fine around it, medium past it."""
    return np.concatenate(
        [
            np.arange(start, -6.0, 1.0),
            np.arange(-6.0, 15.0, spacing),
            np.arange(15.0, end + 1e-9, 2 * spacing),
        ]
    )


def absorption(spectrum: Spectrum, energy: Array) -> Array:
    """Read a calculated spectrum anywhere, below its first point along the tail of the edge.

    The tail is that of a core-hole Lorentzian's step, which falls as 1 / (e0 - energy); above the
    last point the last value stays.
    """
    inside = np.interp(energy, spectrum.energy, spectrum.mu)
    first = spectrum.energy[0]
    below = max(half_height(spectrum) - first, 1.0)
    tail = spectrum.mu[0] * below / (below + np.maximum(first - energy, 0.0))
    return np.where(energy < first, tail, inside)


def average(spectra: Sequence[Spectrum], shares: Array | None = None) -> Spectrum:
    """Return the mean spectrum of several sites, on the first's points where all are known.

    Parameters
    ----------
    spectra
        Spectra of the sites.
    shares
        (spectra,) what each counts; alike where None.

    Raises
    ------
    ValueError
        If they are of different energies: then they are not of one edge.
    """
    start, end = spectra[0].energy[0], min(s.energy[-1] for s in spectra)
    if end < start:
        raise ValueError(
            f"found spectra of one structure that begin at {start:.1f} eV and end at {end:.1f} eV, "
            "expected those of one edge: remove the wrong rows from the data set"
        )
    energy = spectra[0].energy[spectra[0].energy <= end]
    mu = np.average([absorption(s, energy) for s in spectra], axis=0, weights=shares)
    return replace(spectra[0], energy=energy, mu=mu)


def scan(spectrum: Spectrum, points: Array, *, fwhm: float = 0.0) -> Spectrum:
    """Record the spectrum at ``points`` (eV from the edge) with a Gaussian resolution in eV."""
    edge = half_height(spectrum)
    last = min(points[-1], spectrum.energy[-1] - edge)
    points = points[points <= last]
    fine = np.arange(points[0] - 5.0, last + _FINE, _FINE)
    mu = absorption(spectrum, edge + fine)
    if fwhm > 0:
        mu = gaussian_filter1d(mu, fwhm / _FWHM / _FINE, mode="nearest")
    return replace(spectrum, energy=edge + points, mu=np.interp(points, fine, mu))


def _log_uniform(rng: np.random.Generator, between: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(between))))


def measure(
    spectrum: Spectrum, *, rng: np.random.Generator, instrument: SimulatedInstrument = INSTRUMENT
) -> Spectrum:
    """Measure a calculated spectrum as an instrument drawn from the ranges would.

    Parameters
    ----------
    spectrum
        Calculated, about 1 past the edge.
    rng
        Draws the instrument and its noise.
    """
    points = scan_points(
        start=rng.uniform(*instrument.start),
        end=rng.uniform(*instrument.end),
        spacing=rng.uniform(*instrument.spacing),
    )
    seen = scan(spectrum, points, fwhm=rng.uniform(*instrument.resolution))
    from_edge = seen.energy - seen.energy[0] + points[0]
    base = rng.uniform(*instrument.background) + rng.uniform(*instrument.slope) * from_edge
    counts, step = _log_uniform(rng, instrument.counts), _log_uniform(rng, instrument.step)
    counted = rng.poisson(np.maximum(counts * (seen.mu + base), 0.0)) / counts
    energy = seen.energy + rng.normal(0.0, instrument.offset)
    return replace(seen, energy=energy, mu=counted * step)


def cut(spectrum: Spectrum, *, share: float) -> Spectrum:
    """Keep the first ``share`` of the points, as a scan that still runs shows them."""
    count = max(2, round(share * len(spectrum.energy)))
    return replace(
        spectrum, energy=spectrum.energy[:count], mu=spectrum.mu[:count], complete=share >= 1
    )


#: Most sites whose spectra are averaged.
MOST_AVERAGED = 8
#: The scan whose first points `InputCondition.PARTIAL_40` and the like keep, eV from the edge:
#: evenly spaced, so that 40, 60 and 80 % end 12, 28 and 44 eV past the edge.
RISING_SCAN = np.arange(-20.0, 60.0, 0.4)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One question to a model: a spectrum under a condition, and the sites it came from.

    Attributes
    ----------
    sites
        The true surroundings: one site, or those whose spectra were averaged.
    condition
        How the spectrum came about.
    spectrum
        Normalised by nearedge's own code, or why it was rejected.
    """

    sites: tuple[Site, ...]
    condition: InputCondition
    spectrum: NormalisedSpectrum | Rejected


def _noise(sites: Sequence[Site], condition: InputCondition, seed: int) -> np.random.Generator:
    """Make a generator that depends on the row itself, not on which others are evaluated."""
    name = condition.value + "|" + "|".join(site.id for site in sites)
    return np.random.default_rng([seed, crc32(name.encode())])


def _apply(
    sites: Sequence[Site], condition: InputCondition, seed: int, instrument: SimulatedInstrument
) -> Spectrum:
    calculated = average([site.spectrum for site in sites])
    if condition is InputCondition.MEASURED:
        return measure(calculated, rng=_noise(sites, condition, seed), instrument=instrument)
    if condition.share < 1:
        return cut(scan(calculated, RISING_SCAN), share=condition.share)
    return calculated


def companions(sites: Iterable[Site]) -> list[tuple[Site, ...]]:
    """Return the sites of one structure, absorber and edge, in groups of 2 to `MOST_AVERAGED`."""
    together: dict[tuple[str, str, str], list[Site]] = defaultdict(list)
    for site in sites:
        together[site.structure, site.absorber, site.edge].append(site)
    return [tuple(group[:MOST_AVERAGED]) for group in together.values() if len(group) > 1]


def cases(
    sites: Sequence[Site],
    *,
    condition: InputCondition,
    seed: int = 0,
    instrument: SimulatedInstrument = INSTRUMENT,
    normalise: Normaliser = normalise_xanes,
) -> Iterator[Case]:
    """Put the sites under a condition, one at a time.

    Parameters
    ----------
    sites
        The sites whose spectra to put under it; for `InputCondition.MEAN` the groups that
        `companions` makes.
    condition
        How the spectra come about.
    seed
        The seed of the noise; a row's noise does not depend on the other rows.
    instrument
        What `InputCondition.MEASURED` draws from.
    normalise
        What every measurement goes through.
    """
    groups = companions(sites) if condition is InputCondition.MEAN else [(s,) for s in sites]
    for group in groups:
        spectrum = normalise(_apply(group, condition, seed, instrument))
        yield Case(sites=group, condition=condition, spectrum=spectrum)
