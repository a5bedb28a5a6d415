"""Training spectra: each calculated spectrum as many instruments, and broken-off scans, show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nearedge.models.condition import GRID, Condition, condition, grid_of
from nearedge.models.conditions import RISING_SCAN, average, companions, cut, measure, scan
from nearedge.models.dataset import Site
from nearedge.models.spectrum import Rejected, Spectrum
from nearedge.models.xanes import normalise_xanes

#: Draws of a view before the clean spectrum stands in: most of the shortest scans are refused.
TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Shares of the kinds of training spectra; what is left of 1 is clean.

    Attributes
    ----------
    measured, partial, mean
        Measured by a random instrument; a scan's first part; the average over sites.
    least
        Smallest share of its points that a partial scan keeps; short ones, from which it is hardest
        to tell anything, are drawn more often.
    jitter
        Standard deviation of an extra error of e0, eV, beyond what the edge finder makes itself.
    """

    measured: float = 0.45
    partial: float = 0.25
    mean: float = 0.1
    least: float = 0.3
    jitter: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """Conditions of many training spectra.

    Attributes
    ----------
    values, mask
        (views, sites, grid) each site's spectrum in several views; the first is the clean one.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.float32]


def _seen(site: Site, group: Sequence[Site], rng: np.random.Generator, mix: Mixture) -> Spectrum:
    """One random view of a site's spectrum."""
    kind = rng.random()
    calculated = site.spectrum
    if kind < mix.mean and len(group) > 1:
        size = int(rng.integers(2, len(group) + 1))
        others = rng.choice(len(group), size - 1, replace=False)
        calculated = average([calculated, *(group[i].spectrum for i in others)])
    measured = rng.random() < mix.measured / (1 - mix.partial)
    if rng.random() < mix.partial:
        whole = measure(calculated, rng=rng) if measured else scan(calculated, RISING_SCAN)
        return cut(whole, share=mix.least + (1 - mix.least) * rng.random() ** 2)
    return measure(calculated, rng=rng) if measured else calculated


def _shifted(spectrum: Spectrum, *, span: Sequence[float], by: float) -> Condition | None:
    normalised = normalise_xanes(spectrum)
    if isinstance(normalised, Rejected):
        return None
    return condition(normalised, span=span, shift=by)


def view(
    site: Site,
    group: Sequence[Site],
    rng: np.random.Generator,
    *,
    mix: Mixture,
    span: Sequence[float] = GRID,
) -> Condition | None:
    """Return one random view of a site's spectrum, or None where normalisation refuses it."""
    return _shifted(_seen(site, group, rng, mix), span=span, by=rng.normal(0, mix.jitter))


def usable(sites: Sequence[Site], *, span: Sequence[float] = GRID) -> list[Site]:
    """Return the sites whose clean spectrum passes normalisation."""
    return [s for s in sites if _shifted(s.spectrum, span=span, by=0.0) is not None]


def make_bank(
    sites: Sequence[Site],
    *,
    views: int,
    seed: int,
    mix: Mixture,
    span: Sequence[float] = GRID,
) -> Bank:
    """Make several views of every site; a view that normalisation refuses is drawn again.

    Parameters
    ----------
    sites
        Whose clean spectrum is `usable`.
    views
        How many, the clean one included.
    seed
        Of the views.
    mix
        Shares of their kinds.
    span
        The model's grid.
    """
    size = len(grid_of(span))
    values = np.zeros((views, len(sites), size), np.float32)
    mask = np.zeros_like(values)
    groups = {site.id: group for group in companions(sites, most=64) for site in group}
    for number, site in enumerate(sites):
        rng = np.random.default_rng([seed, crc32(site.id.encode())])
        clean = _shifted(site.spectrum, span=span, by=0.0)
        if clean is None:
            raise ValueError(f"site {site.id} has no usable spectrum: filter with usable() first")
        for k in range(views):
            tried = (
                view(site, groups.get(site.id, ()), rng, mix=mix, span=span) for _ in range(TRIES)
            )
            drawn = clean if k == 0 else next(filter(None, tried), clean)
            values[k, number], mask[k, number] = drawn.values, drawn.mask
    return Bank(values=values, mask=mask)
