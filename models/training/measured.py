"""Go on training a network of all edges with measured scans of known compounds.

Calculated spectra differ from measurement by as much as structures differ from each other. A few
measured scans of known compounds show the network how; calculated ones still fill most of every
step, so that it forgets nothing. What is said of a compound that was learned from proves nothing:
`folds_of` parts the compounds so that each can be left out in turn.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nearedge.models.clusters import geometry
from nearedge.models.data.gap import Views
from nearedge.models.parts.condition import GRID, LIMITS, condition, grid_of
from nearedge.models.parts.encoder import SMOOTHING
from nearedge.models.parts.general import (
    GENERAL_CN_CLASSES,
    General,
    NetReading,
    hint_of,
    number_of,
)
from nearedge.models.spectrum import Array, NormalisedSpectrum
from nearedge.models.training.general import (
    GeneralRecipe,
    Lessons,
    calculated_loss,
    descend,
    likelihood,
    schedule,
    views_of,
)

#: Slow waves of which the error of a background is made.
WAVES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRecipe:
    """How to go on with measured scans.

    Attributes
    ----------
    steps, rate
        The steps and the rate of the optimisation.
    share
        The share of every batch that is measured.
    views
        The number of views of each calculated site.
    stretch, shift, scale, noise, bend
        Changes of a measured scan: half the range by which its energy axis is stretched; standard
        deviations of an error of its origin (eV), of its scale, of its noise and of each of six
        slow waves (edge steps).
    """

    steps: int = 600
    rate: float = 5e-4
    share: float = 0.5
    views: int = 4
    stretch: float = 0.03
    shift: float = 0.5
    scale: float = 0.03
    noise: float = 0.004
    bend: float = 0.012


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScan:
    """A measured spectrum of a compound whose structure is known.

    Attributes
    ----------
    compound
        Its name; scans of one compound are left out together.
    spectrum
        Normalised.
    cn, bond
        Coordination number and mean first-shell distance (Å), means over the sites.
    """

    compound: str
    spectrum: NormalisedSpectrum
    cn: float
    bond: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredLessons:
    """Scans as tensors, the first axis of all: what is read and told, and what should be said."""

    values: Tensor
    mask: Tensor
    absorber: Tensor
    hint: Tensor
    cn: Tensor
    bond: Tensor

    def __len__(self) -> int:
        return len(self.cn)

    def some(self, index: Tensor) -> "MeasuredLessons":
        """Return those of these numbers."""
        return MeasuredLessons(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def measured_lessons(scans: Sequence[KnownScan]) -> MeasuredLessons:
    """Prepare scans. A compound with several kinds of site counts as its nearest whole number."""
    read = [condition(scan.spectrum) for scan in scans]
    radii = geometry.covalent_radii()

    def numbers(values: Sequence[Any], kind: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(np.array(values), dtype=kind)

    return MeasuredLessons(
        values=numbers([one.values for one in read]),
        mask=numbers([one.mask for one in read]),
        absorber=numbers([number_of(s.spectrum.absorber) for s in scans], torch.int64),
        hint=numbers([hint_of(s.spectrum.elements) for s in scans]),
        cn=numbers([min(int(s.cn + 0.5), GENERAL_CN_CLASSES - 1) for s in scans], torch.int64),
        bond=numbers([s.bond - radii[s.spectrum.absorber] for s in scans]),
    )


def tuned(
    net: General,
    data: Lessons,
    measured: MeasuredLessons,
    recipe: GeneralRecipe,
    tune: TuneRecipe,
    *,
    number: int = 0,
    residuals: Array | None = None,
) -> General:
    """Return a copy of a trained network that went on with measured scans.

    Parameters
    ----------
    net, data, recipe, residuals
        The network and what it was trained with (`nearedge.models.training.general.train_member`).
    measured
        The scans to learn from.
    tune
        How to go on.
    number
        The number of the member: another seed.
    """
    net = copy.deepcopy(net).train()
    torch.manual_seed(recipe.seed + number)
    generator = torch.Generator().manual_seed(1000 * recipe.seed + number + 500)
    count = round(tune.share * recipe.batch)
    rest = replace(recipe, batch=recipe.batch - count, views=tune.views)
    seen = views_of(data, rest, Views(recipe.gap, residuals=residuals, generator=generator))
    optimiser = torch.optim.AdamW(net.parameters(), lr=tune.rate, weight_decay=recipe.decay)
    for step in range(tune.steps):
        for group in optimiser.param_groups:
            group["lr"] = tune.rate * schedule(step, tune.steps)
        index = torch.randint(len(measured), (count,), generator=generator)
        value = tune.share * _measured_loss(net, measured.some(index), recipe, tune, generator)
        value = value + (1 - tune.share) * calculated_loss(net, data, rest, seen, generator)
        descend(net, optimiser, value)
    return net.eval()


def _measured_loss(
    net: General,
    some: MeasuredLessons,
    recipe: GeneralRecipe,
    tune: TuneRecipe,
    generator: torch.Generator,
) -> Tensor:
    values, mask = varied(some.values, some.mask, tune, generator)
    known = torch.rand(len(some), 1, generator=generator) < recipe.known
    found: NetReading = net(values, mask, some.absorber, some.hint * known)
    cn = functional.cross_entropy(found.cn, some.cn, label_smoothing=SMOOTHING)
    return cn + 4.0 * likelihood(found.bond, some.bond)


def varied(
    values: Tensor, mask: Tensor, tune: TuneRecipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return spectra (batch, grid) as they might have been measured again, and their masks."""
    grid = torch.tensor(grid_of(GRID), dtype=torch.float32)
    n, points = values.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    stretch = 1 + tune.stretch * (2 * torch.rand(n, 1, generator=generator) - 1)
    place = (grid * stretch + tune.shift * normal(n, 1) - grid[0]) / (grid[1] - grid[0])
    left = place.floor().long().clamp(0, points - 2)
    share = (place - left).clamp(0, 1)
    moved = values.gather(1, left) * (1 - share) + values.gather(1, left + 1) * share
    seen = torch.minimum(mask.gather(1, left), mask.gather(1, left + 1))
    waves = torch.cos(2 * torch.pi * torch.arange(WAVES)[:, None] * torch.linspace(0, 1, points))
    moved = moved * (1 + tune.scale * normal(n, 1)) + tune.bend * normal(n, WAVES) @ waves
    moved = moved + tune.noise * normal(n, points)
    return (moved * seen).clamp(*LIMITS), seen


def folds_of(compounds: Sequence[str], count: int, *, seed: int = 0) -> Array:
    """Return for each scan the fold it is left out with; scans of one compound go together."""
    names = sorted(set(compounds))
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[k]: place % count for place, k in enumerate(order)}
    return np.array([fold[name] for name in compounds])
