"""Training spectra that lie as far from the calculation as measurements do.

What an instrument does to a calculated spectrum (`nearedge.models.data.views`) is less than what
lies between calculation and measurement. A model that never saw such a distance takes it for
structure.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.data.dataset import Site
from nearedge.models.data.gap import FINE, TheoryGap, Views, broadened_levels
from nearedge.models.data.instruments import MOST_AVERAGED, average, half_height
from nearedge.models.data.views import Bank, Mixture, grouped, members_of
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import GRID, grid_of
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected


def make_distant_bank(
    sites: Sequence[Site],
    *,
    views: int,
    seed: int,
    mix: Mixture,
    gap: TheoryGap | None = None,
    residuals: Array | None = None,
    span: Sequence[float] = GRID,
    cells: NDArray[np.int64] | None = None,
) -> Bank:
    """Make several distant views of every site.

    Parameters
    ----------
    sites, seed, span, cells
        As of `nearedge.models.data.views.make_bank`.
    views
        How many.
    mix
        Shares of averages and of parts of scans, and where these end at the earliest.
    gap
        How far views lie from the calculation; None: as far as measurements.
    residuals
        As of `nearedge.models.data.gap.Views`.
    """
    rng = np.random.default_rng([seed, 7])
    make = Views(
        gap or TheoryGap(),
        residuals=residuals,
        generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
    )
    alone = np.array([broadened_levels(site.spectrum) for site in sites], np.float32)
    groups = grouped(sites, np.zeros(len(sites), np.int64) if cells is None else cells)
    grid = grid_of(span)
    values = np.zeros((views, len(sites), len(grid)), np.float32)
    mask, members = np.zeros_like(values), np.full((views, len(sites), MOST_AVERAGED), -1)
    for view in range(views):
        averaged = [members_of(own, groups, rng, mix) for own in range(len(sites))]
        for own, some in enumerate(averaged):
            members[view, own, : len(some)] = some
        levels = torch.from_numpy(_levels(sites, averaged, alone))
        seen = make.read(levels, span=span)
        mask[view] = _ends(len(sites), grid, rng, mix)
        values[view] = _numbers(seen) * mask[view]
    return Bank(values=values, mask=mask, members=members)


def distant_spectra(
    sites: Sequence[Site], *, seed: int, residuals: Array | None = None
) -> list[NormalisedSpectrum | Rejected]:
    """Return one distant view of each site's whole spectrum, normalised as a measurement is.

    Parameters
    ----------
    sites, seed, residuals
        As of `make_distant_bank`.
    """
    generator = torch.Generator().manual_seed(seed)
    make = Views(TheoryGap(), residuals=residuals, generator=generator)
    levels = np.array([broadened_levels(site.spectrum) for site in sites], np.float32)
    seen = make(torch.from_numpy(levels)).double().numpy()
    return [
        normalise_xanes(replace(site.spectrum, energy=FINE + half_height(site.spectrum), mu=mu))
        for site, mu in zip(sites, seen, strict=True)
    ]


def _numbers(seen: Tensor) -> NDArray[np.float32]:
    return np.asarray(seen.numpy(), np.float32)


def _levels(
    sites: Sequence[Site], averaged: Sequence[Sequence[int]], alone: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the broadened spectra of averages; those of single sites are known."""
    found = alone.copy()
    for own, some in enumerate(averaged):
        if len(some) > 1:
            found[own] = broadened_levels(average([sites[number].spectrum for number in some]))
    return found


def _ends(count: int, grid: Array, rng: np.random.Generator, mix: Mixture) -> NDArray[np.float32]:
    """Return masks (count, grid): parts of scans end early, short ones more often."""
    partial = rng.random(count) < mix.partial
    share = mix.least + (1 - mix.least) * rng.random(count) ** 2
    # a scan begins 20 eV before the edge; as in `nearedge.models.data.instruments.RISING_SCAN`
    end = np.where(partial, share * (grid[-1] + 20) - 20, np.inf)
    return np.asarray(grid <= end[:, None], np.float32)
