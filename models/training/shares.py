"""Train what reads the shares of coordination numbers, on averages as often as on single sites."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES
from nearedge.models.data.dataset import Site
from nearedge.models.data.gap import TheoryGap, Views, broadened_levels
from nearedge.models.data.instruments import MOST_AVERAGED, average, measure
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import condition
from nearedge.models.parts.shares import Shares, SharesSize
from nearedge.models.spectrum import Array, Rejected, Spectrum
from nearedge.models.training.encoders import LEAST_SPREAD, mean_and_spread
from nearedge.models.training.recipe import SharesRecipe

#: Shares of single sites, and of averages over sites of any kinds; the rest are averages over two
#: coordination numbers.
SINGLE, ANY = 0.4, 0.3
#: Share of spectra that an instrument measured, standard deviation of an extra error of e0 (eV).
MEASURED, JITTER = 0.75, 0.1
#: Most sites of each of two coordination numbers.
EACH = 3
#: Fewest sites of a coordination number that is averaged with another.
FEWEST = 3
#: Noise that training adds: of a tilt, and of every point, in units of the spread.
TILT, GRAIN = 0.1, 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Averages:
    """Spectra (n, grid), their masks, and the shares of coordination classes (n, 11) in them."""

    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    shares: Array


def draw_members(cn: NDArray[np.int64], rng: np.random.Generator) -> tuple[list[int], Array]:
    """Draw which sites are averaged, one or more, and in what shares.

    Parameters
    ----------
    cn
        (sites,) of all that there are. Rare ones are drawn more often than they occur.
    rng
        Source of randomness.
    """
    common = Counter(cn.tolist())
    odds = np.array([common[k] ** -0.5 for k in cn.tolist()])
    odds /= odds.sum()
    kind = rng.random()
    if kind < SINGLE:
        even = rng.random() < 0.5
        return [int(rng.choice(len(cn), p=None if even else odds))], np.ones(1)
    usual = [k for k, count in sorted(common.items()) if count >= FEWEST]
    if kind < SINGLE + ANY or len(usual) < 2:
        count = int(rng.integers(2, MOST_AVERAGED + 1))
        return rng.choice(len(cn), count, p=odds).tolist(), rng.dirichlet(np.ones(count))
    often = np.sqrt([common[k] for k in usual])
    kinds = rng.choice(usual, 2, replace=False, p=often / often.sum())
    return _of_two(cn, [int(k) for k in kinds], rng)


def _of_two(
    cn: NDArray[np.int64], kinds: Sequence[int], rng: np.random.Generator
) -> tuple[list[int], Array]:
    share = rng.random()
    members: list[int] = []
    shares: list[float] = []
    for kind, part in zip(kinds, (share, 1 - share), strict=True):
        count = int(rng.integers(1, EACH + 1))
        members += rng.choice(np.flatnonzero(cn == kind), count).tolist()
        shares += [part / count] * count
    return members, np.array(shares)


def draw_averages(
    sites: Sequence[Site],
    count: int,
    *,
    span: Sequence[float],
    rng: np.random.Generator,
    distant: float = 0.0,
    residuals: Array | None = None,
) -> Averages:
    """Draw spectra of averages and of single sites of one edge, bonded ones.

    Parameters
    ----------
    sites
        Sites with a spectrum.
    count
        How many spectra.
    span
        The model's grid.
    rng
        Source of randomness.
    distant
        Share of spectra that lie as far from the calculation as measurements do.
    residuals
        As of `nearedge.models.data.gap.Views`.
    """
    bonded = [site for site in sites if site.cn]
    cn = np.array([min(site.cn, EXPECTED_CN_CLASSES - 1) for site in bonded])
    far = rng.random(count) < distant
    values: list[NDArray[np.float32]] = []
    masks: list[NDArray[np.float32]] = []
    shares: list[Array] = []
    levels: list[Array] = []
    while len(values) < count:
        members, parts = draw_members(cn, rng)
        mean = average([bonded[k].spectrum for k in members], parts)
        seen = normalise_xanes(_seen(mean, rng))
        if isinstance(seen, Rejected):
            continue
        read = condition(seen, span=span, shift=float(rng.normal(0, JITTER)))
        if far[len(values)]:
            levels.append(broadened_levels(mean))
        values.append(read.values)
        masks.append(read.mask)
        found = np.bincount(cn[members], parts, minlength=EXPECTED_CN_CLASSES)
        shares.append(found.astype(float))
    drawn = Averages(values=np.array(values), mask=np.array(masks), shares=np.array(shares))
    if levels:
        drawn.values[far] = _distant(np.array(levels), residuals, span=span, rng=rng)
        drawn.mask[far] = 1
    return drawn


def _distant(
    levels: Array, residuals: Array | None, *, span: Sequence[float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return distant views of broadened spectra (n, sigmas, fine) on the grid."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    make = Views(TheoryGap(), residuals=residuals, generator=generator)
    seen = make.read(torch.from_numpy(levels).float(), span=span)
    return np.asarray(seen.numpy(), np.float32)


def _seen(spectrum: Spectrum, rng: np.random.Generator) -> Spectrum:
    return measure(spectrum, rng=rng) if rng.random() < MEASURED else spectrum


def train_shares(
    sites: Sequence[Site],
    edges: Sequence[tuple[str, str]],
    *,
    recipe: SharesRecipe,
    span: Sequence[float],
    seed: int,
    residuals: Array | None = None,
) -> Shares:
    """Train the networks of every edge.

    Parameters
    ----------
    sites
        Sites with a usable spectrum.
    edges
        The (absorber, edge) pairs.
    recipe
        Sizes and steps.
    span
        The model's grid.
    seed
        The seed of weights, averages and batches.
    residuals
        As of `draw_averages`.
    """
    drawn = []
    for number, pair in enumerate(edges):
        own = [site for site in sites if (site.absorber, site.edge) == pair]
        rng = np.random.default_rng([seed, 4, number])
        drawn.append(
            draw_averages(
                own,
                recipe.spectra,
                span=span,
                rng=rng,
                distant=recipe.distant or 0.0,
                residuals=residuals,
            )
        )
    torch.manual_seed(seed)
    size = SharesSize(
        grid=drawn[0].values.shape[1],
        edges=len(edges),
        **recipe.model_dump(include={"members", "width", "dropout"}),
    )
    model = Shares(size)
    for edge, averages in enumerate(drawn):
        level, spread = mean_and_spread(averages.values, averages.mask)
        model.get_buffer("level")[edge] = torch.from_numpy(level)
        model.get_buffer("unit")[edge] = torch.from_numpy(np.maximum(spread, LEAST_SPREAD))
        members = model.members[edge]
        assert isinstance(members, nn.ModuleList)  # noqa: S101
        for number, member in enumerate(members):
            generator = torch.Generator().manual_seed(seed + 100 * edge + number)
            _train_member(model, member, averages, edge, recipe=recipe, generator=generator)
    return model.eval()


def _train_member(
    model: Shares,
    member: nn.Module,
    averages: Averages,
    edge: int,
    *,
    recipe: SharesRecipe,
    generator: torch.Generator,
) -> None:
    read = model.channels(torch.from_numpy(averages.values), torch.from_numpy(averages.mask), edge)
    wanted = torch.from_numpy(averages.shares).float()
    optimiser = torch.optim.AdamW(member.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    member.train()
    for _ in range(recipe.steps):
        rows = torch.randint(len(read), (recipe.batch,), generator=generator)
        logits = member(_disturbed(read[rows], generator))
        loss = functional.cross_entropy(logits, wanted[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()


def _disturbed(read: Tensor, generator: torch.Generator) -> Tensor:
    """Tilt what is read (batch, 2 grid), and add noise."""
    level, mask = read.chunk(2, 1)
    tilt = torch.randn(len(read), 1, generator=generator) * torch.linspace(-1, 1, level.shape[1])
    grain = torch.randn(level.shape, generator=generator)
    return torch.cat([level + (TILT * tilt + GRAIN * grain) * mask, mask], 1)
