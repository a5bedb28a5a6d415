"""Train the network that reads the spectra of all edges; can be stopped and resumed.

Each member learns from the same families in another order. A step draws calculated spectra, makes a
view of each as far from the calculation as measurements are, cuts some short, and leaves out what
is known of the composition for half of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearedge.models.aside import written_aside
from nearedge.models.clusters import geometry
from nearedge.models.composition import elements_in
from nearedge.models.data.dataset import Site
from nearedge.models.data.gap import TheoryGap, Views, broadened_levels, read_views
from nearedge.models.parts.condition import GRID, grid_of
from nearedge.models.parts.encoder import SMOOTHING
from nearedge.models.parts.general import (
    GENERAL_CN_CLASSES,
    RANKS,
    General,
    GeneralSize,
    NetReading,
    hint_of,
    kind_of,
    number_of,
)
from nearedge.models.spectrum import Array

#: Called with the steps done, all steps, and figures.
Progress = Callable[[int, int, dict[str, float]], None]
#: Least spread of a grid point: what never varies must not be blown up.
LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralRecipe:
    """How to train the model of all edges.

    Attributes
    ----------
    seed, steps, batch, rate, decay
        The settings of the optimisation.
    known
        Share of spectra whose composition is known.
    cut, least
        Share of spectra cut short, and where at the earliest, eV.
    gap
        How far views lie from the calculation.
    least_structures
        An absorber of which there are fewer structures in training is not supported.
    views
        Views of each site at a time.
    every
        Steps between checkpoints, and between new views.
    """

    seed: int = 0
    steps: int = 6000
    batch: int = 128
    rate: float = 1.5e-3
    decay: float = 0.05
    known: float = 0.5
    cut: float = 0.15
    least: float = 25.0
    gap: TheoryGap = field(default_factory=TheoryGap)
    least_structures: int = 8
    views: int = 12
    every: int = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """Sites as tensors, the first axis of all.

    Attributes
    ----------
    levels
        (n, sigmas, fine) spectra in several broadenings.
    absorber, hint
        (n,) and (n, elements + 1): what the network is told.
    cn, kind, bond, cosine, radii
        What it should say; NaN where undefined.
    importance
        (n,) so that rare surroundings count about as the root of their number.
    """

    levels: Tensor
    absorber: Tensor
    hint: Tensor
    cn: Tensor
    kind: Tensor
    bond: Tensor
    cosine: Tensor
    radii: Tensor
    importance: Tensor

    def __len__(self) -> int:
        return len(self.cn)

    def some(self, index: Tensor) -> "Lessons":
        """Return those of these numbers, without their spectra."""
        told = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "levels"}
        return Lessons(levels=self.levels[:0], **told)


def lessons(sites: Sequence[Site]) -> Lessons:
    """Prepare sites."""
    told = [_told(site) for site in sites]
    count = Counter((site.absorber, site.cn) for site in sites)
    importance = np.array([count[site.absorber, site.cn] ** -0.5 for site in sites])
    columns = {name: np.array([one[name] for one in told]) for name in told[0]}
    columns["importance"] = importance / importance.mean()
    whole = ("absorber", "cn", "kind")
    return Lessons(
        levels=torch.tensor(
            np.array([broadened_levels(s.spectrum) for s in sites]), dtype=torch.float32
        ),
        **{
            name: torch.tensor(column, dtype=torch.int64 if name in whole else torch.float32)
            for name, column in columns.items()
        },
    )


def _told(site: Site) -> dict[str, Any]:
    radius = geometry.covalent_radii()[site.absorber]
    cluster = (site.absorber, site.species, site.positions)
    bonded = geometry.first_shell(*cluster)
    cosines = geometry.cosines_between(site.positions[bonded])
    lengths = np.full(RANKS, np.nan)
    nearest = np.sort(geometry.distances(site.positions))[:RANKS]
    lengths[: len(nearest)] = nearest - radius
    kinds = [kind_of(str(symbol)) for symbol in site.species[bonded]]
    return {
        "absorber": number_of(site.absorber),
        "hint": hint_of(elements_in(site.formula) if site.formula else ()),
        "cn": min(int(bonded.sum()), GENERAL_CN_CLASSES - 1),
        "kind": min(kinds, default=0),
        "bond": float(geometry.mean_bond(*cluster)) - radius,
        "cosine": cosines.mean() if len(cosines) else np.nan,
        "radii": lengths,
    }


def loss(found: NetReading, wanted: Lessons) -> Tensor:
    """Return the negative log-likelihood of CN, bond, angles, ligands and radii."""
    cn = functional.cross_entropy(found.cn, wanted.cn, reduction="none", label_smoothing=SMOOTHING)
    return (
        (cn * wanted.importance).mean()
        + 4.0 * likelihood(found.bond, wanted.bond)
        + 0.5 * likelihood(found.cosine, wanted.cosine)
        + 0.3 * functional.cross_entropy(found.kind, wanted.kind)
        + likelihood(found.radii, wanted.radii)
    )


def likelihood(pairs: Tensor, wanted: Tensor) -> Tensor:
    """Return the Gaussian loss, weighted by the detached spread (Seitzer et al., ICLR 2022)."""
    mean, log = pairs[..., 0], pairs[..., 1]
    known = ~wanted.isnan()
    off = (wanted.nan_to_num() - mean) * torch.exp(-log)
    each = (0.5 * off**2 + log) * torch.exp(log).detach()
    return (each * known).sum() / known.sum().clamp(min=1)


def train_member(
    data: Lessons,
    recipe: GeneralRecipe,
    *,
    number: int = 0,
    residuals: Array | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda done, total, figures: None,
) -> General:
    """Train one member, going on from its checkpoint where there is one.

    Parameters
    ----------
    data
        Sites of the training split.
    recipe
        How.
    number
        The number of the member: another seed.
    residuals
        As in `nearedge.models.data.gap.Views`.
    checkpoint
        Where to leave the state every so many steps; None: nowhere.
    progress
        Called with every checkpoint.
    """
    torch.manual_seed(recipe.seed + number)
    generator = torch.Generator().manual_seed(1000 * recipe.seed + number)
    views = Views(recipe.gap, residuals=residuals, generator=generator)
    net = General(GeneralSize(grid=len(grid_of(GRID))))
    clean = read_views(data.levels[:, 2])
    net.get_buffer("centre").copy_(clean.mean(0))
    net.get_buffer("scale").copy_(clean.std(0) + LEAST_SPREAD)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    start = _resume(checkpoint, net, optimiser, generator)
    seen: Tensor | None = None
    for step in range(start, recipe.steps):
        if seen is None or step % recipe.every == 0:
            seen = views_of(data, recipe, views)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.steps)
        value = descend(net, optimiser, calculated_loss(net, data, recipe, seen, generator))
        if (step + 1) % recipe.every == 0 or step + 1 == recipe.steps:
            _keep(checkpoint, net, optimiser, generator, step + 1)
            progress(step + 1, recipe.steps, {"loss": value})
    return net.eval()


def schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a short start, then half a cosine."""
    return min(1.0, (step + 1) / 100) * (0.5 + 0.5 * float(np.cos(np.pi * step / steps)) + 0.01)


def calculated_loss(
    net: General,
    data: Lessons,
    recipe: GeneralRecipe,
    seen: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw a batch of views of calculated spectra, and return the network's loss."""
    index = torch.randint(len(data), (recipe.batch,), generator=generator)
    view = torch.randint(len(seen), (recipe.batch,), generator=generator)
    some, values = data.some(index), seen[view, index]
    mask = cut_short(values, recipe, generator)
    known = torch.rand(recipe.batch, 1, generator=generator) < recipe.known
    return loss(net(values * mask, mask, some.absorber, some.hint * known), some)


def descend(net: General, optimiser: torch.optim.Optimizer, value: Tensor) -> float:
    """Take one step down a loss; return it."""
    optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
    optimiser.step()
    return float(value.detach())


def views_of(data: Lessons, recipe: GeneralRecipe, views: Views) -> Tensor:
    """Return views of all sites on the model's grid, (views, sites, grid)."""
    chunks = torch.split(torch.arange(len(data)), recipe.batch)
    return torch.stack(
        [torch.cat([views.read(data.levels[c]) for c in chunks]) for _ in range(recipe.views)]
    )


def cut_short(values: Tensor, recipe: GeneralRecipe, generator: torch.Generator) -> Tensor:
    """Return masks (batch, grid): some scans end early."""
    grid = torch.tensor(grid_of(GRID), dtype=torch.float32)
    n = len(values)
    short = torch.rand(n, 1, generator=generator) < recipe.cut
    end = recipe.least + (grid[-1] - recipe.least) * torch.rand(n, 1, generator=generator)
    return 1.0 - (short & (grid > end)).float()


def _keep(
    path: Path | None,
    net: General,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
) -> None:
    if path is None:
        return
    state = {"step": step, "net": net.state_dict(), "optimiser": optimiser.state_dict()}
    state |= {"generator": generator.get_state(), "torch": torch.get_rng_state()}
    with written_aside(path) as part:
        torch.save(state, part)


def _resume(
    path: Path | None,
    net: General,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> int:
    if path is None or not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["torch"])
    return int(state["step"])


def supported(sites: Sequence[Site], *, least: int) -> list[str]:
    """Return the absorbers of which there are enough structures, sorted."""
    structures: dict[str, set[str]] = {}
    for site in sites:
        structures.setdefault(site.absorber, set()).add(site.structure)
    return sorted(absorber for absorber, some in structures.items() if len(some) >= least)


def share_of(sites: Sequence[Site], share: float, *, seed: int = 0) -> list[Site]:
    """Return the sites of a share of the families, for a learning curve."""
    families = sorted({site.family for site in sites})
    order: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(families))
    kept = {families[k] for k in order[: max(1, round(share * len(families)))]}
    return [site for site in sites if site.family in kept]
