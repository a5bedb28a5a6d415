"""Train the ensemble that reads spectra, each member blind to a part of the families."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import Site
from nearedge.models.data.views import Bank
from nearedge.models.parts import encoder
from nearedge.models.parts.device import CPU
from nearedge.models.parts.encoder import Encoder, EncoderSize, Ensemble
from nearedge.models.spectrum import Array
from nearedge.models.training.checkpoint import Checkpoint
from nearedge.models.training.recipe import EncoderRecipe

#: Called with the members that are trained, and the figures of the newest.
Progress = Callable[[int, dict[str, float]], None]

#: Least spread of a grid point over the training spectra: what never varies must not be blown up.
LEAST_SPREAD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What the encoder should answer for each site.

    Attributes
    ----------
    described
        (sites, d) descriptors; NaN where undefined.
    cn
        (sites,) coordination class.
    edge
        (sites,) index of the (absorber, edge) pair.
    """

    described: Array
    cn: NDArray[np.int64]
    edge: NDArray[np.int64]


def targets(
    sites: Sequence[Site], *, vocabulary: Sequence[str], edges: Sequence[tuple[str, str]]
) -> Targets:
    """Describe the sites' true clusters."""
    index = {pair: k for k, pair in enumerate(edges)}
    described = [
        descriptors.describe(s.absorber, s.species, s.positions, vocabulary=vocabulary)
        for s in sites
    ]
    top = descriptors.EXPECTED_CN_CLASSES - 1
    return Targets(
        described=np.array(described),
        cn=np.array([min(s.cn, top) for s in sites]),
        edge=np.array([index[s.absorber, s.edge] for s in sites]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderExam:
    """Spectra of families that are not learned from, in several views, and their answers."""

    bank: Bank
    known: Targets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """What the encoder should answer for each view: the mean over the sites that it averages.

    Attributes
    ----------
    mean, variance
        (views, sites, d) of the descriptors; NaN where no site defines one.
    cn
        (views, sites, classes) share of each coordination class.
    """

    mean: Array
    variance: Array
    cn: Array

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean, variance and shares in single precision."""
        mean, variance, cn = (
            torch.from_numpy(part).float() for part in (self.mean, self.variance, self.cn)
        )
        return mean, variance, cn


def mix(known: Targets, members: NDArray[np.int64]) -> Mixed:
    """Mix the targets of the sites that each view averages.

    Parameters
    ----------
    known
        What is known of every site.
    members
        (views, sites, most) as in `nearedge.models.data.views.Bank`.
    """
    views, sites, _ = members.shape
    mean, variance = (np.empty((views, sites, known.described.shape[1])) for _ in range(2))
    cn = np.empty((views, sites, descriptors.EXPECTED_CN_CLASSES))
    classes = np.eye(descriptors.EXPECTED_CN_CLASSES)[known.cn]
    for view, row in enumerate(members):
        there = (row >= 0)[..., None]
        told = np.where(there, known.described[row], np.nan)
        counted = np.where(np.isnan(told).all(1), np.nan, (~np.isnan(told)).sum(1))
        mean[view] = np.nansum(told, 1) / counted
        variance[view] = np.nansum((told - mean[view][:, None]) ** 2, 1) / counted
        cn[view] = (classes[row] * there).sum(1) / there.sum(1)
    return Mixed(mean=mean, variance=variance, cn=cn)


def by_edge(values: Array, edge: NDArray[np.int64], edges: int) -> tuple[Array, Array]:
    """Return mean and spread of the rows of each edge, (edges, columns), without NaN."""
    rows = [values[edge == k] for k in range(edges)]
    return (
        np.array([np.nanmean(part, 0) for part in rows]),
        np.array([np.maximum(np.nanstd(part, 0), 1e-3) for part in rows]),
    )


def partition(sites: Sequence[Site], *, folds: int, rounds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each site's family in each round: (rounds, sites), even over families."""
    families = sorted({s.family for s in sites})
    out = np.empty((rounds, len(sites)), np.int64)
    for row, number in zip(out, range(rounds), strict=True):
        order = np.random.default_rng([seed, number]).permutation(len(families))
        fold = {family: int(order[i] % folds) for i, family in enumerate(families)}
        row[:] = [fold[s.family] for s in sites]
    return out


def blind_weights(folds: NDArray[np.int64], *, parts: int) -> Array:
    """Return weights (sites, members) that admit only members that never saw a site."""
    rounds, sites = folds.shape
    blind = np.zeros((sites, rounds * parts))
    for number, row in enumerate(folds):
        blind[np.arange(sites), number * parts + row] = 1 / rounds
    return blind


def _disturbed(values: Tensor, mask: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    tilt = torch.randn(len(values), 1, generator=generator)
    slope = torch.linspace(-1, 1, values.shape[1])
    grain = torch.randn(values.shape, generator=generator)
    return (values + noise * (tilt * slope + 0.3 * grain)) * mask


def _train_member(
    member: Encoder,
    bank: Bank,
    wanted: Mixed,
    known: Targets,
    rows: NDArray[np.int64],
    *,
    recipe: EncoderRecipe,
    seed: int,
    device: torch.device,
) -> float:
    """Train one member, and return the mean loss over the last tenth of its steps."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    member.to(device).train()
    optimiser = torch.optim.AdamW(member.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    edge = torch.from_numpy(known.edge).to(device)
    mean, variance, cn = (part.to(device) for part in wanted.tensors())
    importance = descriptors.importance(mean.shape[2]).to(device)
    losses = []
    for _ in range(recipe.steps):
        chosen = rng.choice(rows, recipe.batch)
        view = rng.integers(0, len(bank.values), recipe.batch)
        mask = torch.from_numpy(bank.mask[view, chosen])
        values = torch.from_numpy(bank.values[view, chosen])
        values = _disturbed(values, mask, recipe.noise, generator)
        answer = member(values.to(device), mask.to(device), edge[chosen])
        told = mean[view, chosen], variance[view, chosen], cn[view, chosen]
        loss = encoder.loss(answer, told, importance)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
    member.cpu().eval()
    return float(torch.stack(losses[-max(recipe.steps // 10, 1) :]).mean())


def _standardise(ensemble: Ensemble, bank: Bank, known: Targets) -> None:
    """Set the centres and scales of the ensemble and its members."""
    edges = ensemble.size.edges
    centre, scale = by_edge(known.described, known.edge, edges)
    _fill(ensemble, centre, scale)
    level, spread = _masked_by_edge(bank, known.edge, edges)
    for member in ensemble.members:
        _fill(member, level, np.maximum(spread, LEAST_SPREAD))


def _wanted(ensemble: Ensemble, bank: Bank, known: Targets) -> Mixed:
    """Return the standardised targets of the views."""
    centre, scale = (ensemble.get_buffer(name).numpy() for name in ("centre", "scale"))
    standard = (known.described - centre[known.edge]) / scale[known.edge]
    return mix(replace(known, described=standard), bank.members)


@torch.inference_mode()
def _examine(ensemble: Ensemble, exam: EncoderExam, *, trained: int) -> dict[str, float]:
    """Return the newest member's loss on held-out spectra, and how all answer the clean ones.

    That is the share of sites whose most likely CN is right, %, and the mean error of the mean
    bond, Å.
    """
    even = np.zeros((len(exam.known.cn), len(ensemble.members)))
    even[:, :trained] = 1 / trained
    found = expect(ensemble, exam.bank, exam.known.edge, weights=even)[0]
    bond = found.mean.numpy()[:, -descriptors.SHELL] - exam.known.described[:, -descriptors.SHELL]
    return {
        "val_loss": _held_out_loss(ensemble, exam, member=trained - 1),
        "val_cn_accuracy": 100 * float(np.mean(found.cn.numpy().argmax(1) == exam.known.cn)),
        "val_bond_error": float(np.nanmean(np.abs(bond))),
    }


def _held_out_loss(ensemble: Ensemble, exam: EncoderExam, *, member: int) -> float:
    seen = (torch.from_numpy(part).flatten(0, 1) for part in (exam.bank.values, exam.bank.mask))
    edge = torch.from_numpy(exam.known.edge).repeat(len(exam.bank.values))
    wanted = _wanted(ensemble, exam.bank, exam.known)
    mean, variance, cn = (part.flatten(0, 1) for part in wanted.tensors())
    importance = descriptors.importance(mean.shape[1])
    answer = ensemble.members[member](*seen, edge)
    return float(encoder.loss(answer, (mean, variance, cn), importance))


def mean_and_spread(
    values: NDArray[np.floating], mask: NDArray[np.floating]
) -> tuple[Array, Array]:
    """Return mean and standard deviation of what was measured of spectra (n, g), each (g,)."""
    seen, level = mask.astype(float), values.astype(float)
    total = np.maximum(seen.sum(0), 1)
    mean = (level * seen).sum(0) / total
    return mean, np.sqrt((seen * (level - mean) ** 2).sum(0) / total)


def _masked_by_edge(bank: Bank, edge: NDArray[np.int64], edges: int) -> tuple[Array, Array]:
    own = [edge == k for k in range(edges)]
    means, spreads = zip(
        *[mean_and_spread(bank.values[0, one], bank.mask[0, one]) for one in own], strict=True
    )
    return np.array(means), np.array(spreads)


def _fill(module: torch.nn.Module, centre: Array, scale: Array) -> None:
    module.get_buffer("centre").copy_(torch.from_numpy(centre))
    module.get_buffer("scale").copy_(torch.from_numpy(scale))


def train_ensemble(
    sites: Sequence[Site],
    bank: Bank,
    known: Targets,
    *,
    recipe: EncoderRecipe,
    edges: int,
    seed: int,
    device: torch.device = CPU,
    checkpoint: Checkpoint | None = None,
    exam: EncoderExam | None = None,
    progress: Progress = lambda member, figures: None,
) -> tuple[Ensemble, Array]:
    """Train all members.

    Parameters
    ----------
    sites, bank, known
        The training sites, their spectra in several views, and what is to be answered.
    recipe
        Sizes and steps.
    edges
        How many (absorber, edge) pairs there are.
    seed
        The seed of weights, batches and partitions.
    device
        Where the members train; the ensemble comes back to the CPU.
    checkpoint
        Where trained members are found and kept; None keeps none.
    exam
        What the members are examined on as they are done, if on anything.
    progress
        Called as members are done.

    Returns
    -------
        The ensemble in evaluation mode, and for each site the weights (sites, members) under
        which it answers without having seen the site's family.
    """
    torch.manual_seed(seed)
    size = EncoderSize(
        grid=bank.values.shape[2],
        edges=edges,
        descriptors=known.described.shape[1],
        width=recipe.width,
        dropout=recipe.dropout,
        filters=recipe.filters,
    )
    ensemble = Ensemble(size, members=recipe.folds * recipe.rounds)
    _standardise(ensemble, bank, known)
    wanted = _wanted(ensemble, bank, known)
    folds = partition(sites, folds=recipe.folds, rounds=recipe.rounds, seed=seed)
    trained = checkpoint.members if checkpoint else ()
    for number, member in enumerate(ensemble.encoders()):
        if number < len(trained):
            member.eval().load_state_dict(trained[number]["weights"])
            _set_randomness(trained[number]["randomness"], device)
            continue
        rows = np.flatnonzero(folds[number // recipe.folds] != number % recipe.folds)
        loss = _train_member(
            member, bank, wanted, known, rows, recipe=recipe, seed=seed + number, device=device
        )
        held_out = _examine(ensemble, exam, trained=number + 1) if exam else {}
        progress(number + 1, {"loss": loss} | held_out)
        if checkpoint:  # with what the next member's dropout begins with
            randomness = _randomness(device)
            checkpoint.add_member({"weights": member.state_dict(), "randomness": randomness})
    ensemble.eval()
    return ensemble, blind_weights(folds, parts=recipe.folds)


def _randomness(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that dropout draws from."""
    on_device = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state()} | on_device


def _set_randomness(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


@torch.inference_mode()
def expect(
    ensemble: Ensemble, bank: Bank, edge: NDArray[np.int64], *, weights: Array | None = None
) -> list[Expectation]:
    """Give what the ensemble expects of every site, view by view.

    Parameters
    ----------
    ensemble
        Trained.
    bank, edge
        Spectra (views, sites, grid) and (sites,) their edges.
    weights
        (sites, members) what each member counts, as in `Ensemble`: `blind_weights` for sites that
        were trained on.
    """
    w = None if weights is None else torch.from_numpy(weights).float()
    kinds = torch.from_numpy(edge)
    return [
        ensemble(torch.from_numpy(v), torch.from_numpy(m), kinds, weights=w)
        for v, m in zip(bank.values, bank.mask, strict=True)
    ]
