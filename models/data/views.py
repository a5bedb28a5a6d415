"""Training spectra: each calculated spectrum as many instruments, and broken-off scans, show it."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nearedge.models.data.dataset import Site
from nearedge.models.data.instruments import MOST_AVERAGED, RISING_SCAN, average, cut, measure, scan
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import GRID, Condition, condition, grid_of
from nearedge.models.spectrum import Rejected, Spectrum

#: Draws of a view before the clean spectrum stands in: most of the shortest scans are refused.
TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Shares of the kinds of training spectra; what is left of 1 is clean.

    Attributes
    ----------
    measured, partial
        Measured by a random instrument; a scan's first part.
    mean, unlike
        The average over sites of one structure, and over sites of any structures.
    least
        Smallest share of its points that a partial scan keeps; short ones, from which it is hardest
        to tell anything, are drawn more often.
    jitter
        Standard deviation of an extra error of e0, eV, beyond what the edge finder makes itself.
    """

    measured: float = 0.45
    partial: float = 0.25
    mean: float = 0.1
    unlike: float = 0.1
    least: float = 0.3
    jitter: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """Conditions of many training spectra.

    Attributes
    ----------
    values, mask
        (views, sites, grid) each site's spectrum in several views; the first is the clean one.
    members
        (views, sites, 8) numbers of the sites that each view is the average over, its own first;
        -1 beyond the last.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    members: NDArray[np.int64]

    def __add__(self, other: "Bank") -> "Bank":
        """Return the views of both."""
        names = ("values", "mask", "members")
        return Bank(**{n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteGroups:
    """For each site the numbers of all of its edge and structure, and of its edge and cell."""

    structure: Sequence[Sequence[int]]
    cell: Sequence[Sequence[int]]


def _together(labels: Sequence[Hashable]) -> list[list[int]]:
    """Return for each entry the numbers of all that have its label."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        groups[label].append(number)
    return [groups[label] for label in labels]


def grouped(sites: Sequence[Site], cells: NDArray[np.int64]) -> SiteGroups:
    """Tell which sites may be averaged with each; ``cells`` (sites,) are never mixed."""
    return SiteGroups(
        structure=_together([(s.structure, s.absorber, s.edge) for s in sites]),
        cell=_together([(c, s.absorber, s.edge) for c, s in zip(cells, sites, strict=True)]),
    )


def members_of(own: int, groups: SiteGroups, rng: np.random.Generator, mix: Mixture) -> list[int]:
    """Return which sites one random view is the average over."""
    kind = rng.random()
    group: Sequence[int] = ()
    if kind < mix.mean:
        group = groups.structure[own]
    elif kind < mix.mean + mix.unlike:
        group = groups.cell[own]
    others = [number for number in group if number != own]
    if not others:
        return [own]
    count = int(rng.integers(1, min(MOST_AVERAGED - 1, len(others)) + 1))
    return [own, *rng.choice(others, count, replace=False).tolist()]


def _seen(calculated: Spectrum, rng: np.random.Generator, mix: Mixture) -> Spectrum:
    """Return one random view of a spectrum."""
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


def usable(sites: Sequence[Site], *, span: Sequence[float] = GRID) -> list[Site]:
    """Return the sites whose clean spectrum passes normalisation."""
    return [s for s in sites if _shifted(s.spectrum, span=span, by=0.0) is not None]


def _view(
    own: int,
    sites: Sequence[Site],
    groups: SiteGroups,
    rng: np.random.Generator,
    *,
    mix: Mixture,
    span: Sequence[float],
) -> tuple[Condition, list[int]] | None:
    """Return a random view of a site and whose average it is; None if all tries were refused."""
    for _ in range(TRIES):
        members = members_of(own, groups, rng, mix)
        seen = _seen(average([sites[number].spectrum for number in members]), rng, mix)
        drawn = _shifted(seen, span=span, by=rng.normal(0, mix.jitter))
        if drawn is not None:
            return drawn, members
    return None


def make_bank(
    sites: Sequence[Site],
    *,
    views: int,
    seed: int,
    mix: Mixture,
    span: Sequence[float] = GRID,
    cells: NDArray[np.int64] | None = None,
) -> Bank:
    """Make several views of every site; a view that normalisation refuses is drawn again.

    Parameters
    ----------
    sites
        Sites whose clean spectrum is `usable`.
    views
        How many, the clean one included.
    seed
        The seed of the views.
    mix
        Shares of their kinds.
    span
        The model's grid.
    cells
        (sites,) parts of the families; sites of different parts are never averaged. All are one
        part where None.
    """
    size = len(grid_of(span))
    values = np.zeros((views, len(sites), size), np.float32)
    mask = np.zeros_like(values)
    members = np.full((views, len(sites), MOST_AVERAGED), -1)
    groups = grouped(sites, np.zeros(len(sites), np.int64) if cells is None else cells)
    for own, site in enumerate(sites):
        rng = np.random.default_rng([seed, crc32(site.id.encode())])
        clean = _shifted(site.spectrum, span=span, by=0.0)
        if clean is None:
            raise ValueError(f"site {site.id} has no usable spectrum: filter with usable() first")
        for k in range(views):
            found = None if k == 0 else _view(own, sites, groups, rng, mix=mix, span=span)
            drawn, averaged = found or (clean, [own])
            values[k, own], mask[k, own] = drawn.values, drawn.mask
            members[k, own, : len(averaged)] = averaged
    return Bank(values=values, mask=mask, members=members)
