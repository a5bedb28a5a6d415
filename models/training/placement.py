"""Train the density of the next atom's direction: on clusters alone, which cost nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nearedge.models.clusters.descriptors import numbers
from nearedge.models.data.dataset import Site
from nearedge.models.data.rattle import Rattling, site_weights
from nearedge.models.parts.placement import Given, Placement
from nearedge.models.parts.sphere import (
    LOG_SPHERE,
    even_directions,
    log_scatter,
    random_rotations,
    scatter,
)
from nearedge.models.training.recipe import PlacementRecipe

#: Candidates that the density is normalised over in training: even ones, and about the truth.
EVEN, NEAR = 32, 32
#: Share of the blur by which the atoms placed before are off, as they are when they are drawn.
PLACED = 0.5
#: Ranks that one step learns, one drawn from each range. Five steps of six learn near atoms alone,
#: which matter most and cost least.
NEAR_RANGES = ((1, 4), (1, 7), (4, 10), (8, 14))
ALL_RANGES = ((1, 5), (5, 12), (10, 18), (16, 24), (22, 30))


def shell_of(placement: Placement, positions: Tensor, given: Given) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the cosines of the bond angles, (batch,) each; 0 without."""
    bonded = placement.bonded(given).float()
    unit = functional.normalize(positions, dim=-1) * bonded[..., None]
    n = bonded.sum(1)
    pairs = (n * (n - 1) / 2).clamp(min=1)
    mean = (unit.sum(1).square().sum(-1) - n) / 2 / pairs
    square = ((unit.transpose(1, 2) @ unit).square().sum((1, 2)) - n) / 2 / pairs
    return mean, (square - mean**2).clamp(min=0).sqrt()


def exactly(placement: Placement, positions: Tensor, kinds: Tensor, absorber: Tensor) -> Given:
    """What is given where everything is known, of clusters (batch, atoms, 3), nearest first."""
    radii = positions.norm(dim=-1)
    nothing = torch.zeros(len(radii))
    given = Given(
        radii=radii,
        kinds=kinds,
        absorber=absorber,
        cosine=nothing,
        scatter=nothing,
        doubt=nothing,
        slack=torch.zeros_like(radii),
    )
    cosine, spread = shell_of(placement, positions, given)
    return replace(given, cosine=cosine, scatter=spread)


def told(
    placement: Placement,
    positions: Tensor,
    kinds: Tensor,
    absorber: Tensor,
    *,
    generator: torch.Generator,
    share: float = 0.6,
) -> tuple[Tensor, Given]:
    """Tell radii and angles with a stated error; the directions stay true.

    Parameters
    ----------
    share
        Of the clusters that are told with an error; the others are told exactly.

    Returns
    -------
        The clusters (batch, atoms, 3) at the radii that are told, nearest first, and what is given.
    """
    n = len(positions)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    on = (torch.rand(n, generator=generator) < share).float()
    slack = 0.2 * torch.rand(n, generator=generator) ** 2 * on
    doubt = 0.25 * torch.rand(n, generator=generator) ** 2 * on
    radii = positions.norm(dim=-1)
    together = 0.4 * noise(n, 1) + noise(*radii.shape)
    moved = (radii + slack[:, None] * together * radii / 3).clamp(min=0.7)
    order = moved.argsort(1)
    at = functional.normalize(positions, dim=-1) * moved[..., None]
    at = at.gather(1, order[..., None].expand(-1, -1, 3))
    given = exactly(placement, at, kinds.gather(1, order), absorber)
    return at, replace(
        given,
        cosine=given.cosine + doubt * noise(n),
        scatter=(given.scatter + 0.7 * doubt * noise(n)).clamp(0, 0.9),
        doubt=doubt,
        slack=slack[:, None] * given.radii / 3,
    )


def surprise(
    placement: Placement,
    positions: Tensor,
    given: Given,
    ranks: Sequence[int],
    *,
    generator: torch.Generator,
    even: int = EVEN,
) -> Tensor:
    """How unlikely the true directions are, nats against uniform ones, (ranks, batch).

    The density is normalised by importance sampling: half of the candidates are even over the
    sphere, half lie about the truth.

    Parameters
    ----------
    positions
        (batch, atoms, 3) at the radii of ``given``.
    ranks
        Which to judge, counted from 0.
    even
        Even candidates.
    """
    blur = placement.blur(given)
    unit = functional.normalize(positions, dim=-1)
    placed = scatter(unit, PLACED * blur, 1, generator=generator)[..., 0, :]
    atoms = functional.pad(placed * given.radii[..., None], (0, 0, 1, 0))
    nodes = placement.start(given)
    last = max(ranks) + 1
    carried = placement.trunk(atoms[:, :last], nodes[:, :last])
    out = []
    grid = even_directions(even)
    for rank in ranks:
        asked = placement.ask(atoms, carried, nodes, given, rank)
        width, truth = blur[:, rank], unit[:, rank]
        wide = (2.5 * width).clamp(max=1.0)
        about = scatter(truth, wide, NEAR, generator=generator)
        spread = grid @ random_rotations(len(positions), generator=generator)
        candidates = torch.cat([spread, about], 1)
        count = even + NEAR
        drawn = torch.logaddexp(
            torch.full(candidates.shape[:2], np.log(even / count) - LOG_SPHERE),
            np.log(NEAR / count) + log_scatter(candidates, truth, wide),
        )
        hit = scatter(truth, width, 1, generator=generator)
        score = placement.score(asked, torch.cat([hit, candidates], 1))
        norm = torch.logsumexp(score[:, 1:] - drawn, 1) - np.log(count)
        out.append(norm - score[:, 0] - LOG_SPHERE)
    return torch.stack(out)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """Clusters to rattle: (n, most, 3) Å, 99 beyond the last, element numbers, odds of each."""

    positions: Tensor
    kinds: Tensor
    absorber: Tensor
    odds: Tensor

    def draw(
        self, count: int, *, atoms: int, rattling: Rattling, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw clusters, strained and rattled: positions (n, atoms, 3), kinds, absorbers.

        As `nearedge.models.data.rattle.displace`, for many at once. Clusters with an atom closer
        than the shortest of ``rattling`` are left out, so that fewer may come.
        """
        rows = torch.multinomial(self.odds, count, replacement=True, generator=generator)
        places, kinds = self.positions[rows], self.kinds[rows]
        which = torch.multinomial(torch.tensor(rattling.odds), count, True, generator=generator)
        step = torch.tensor(rattling.rattles)[which]
        tensor = torch.randn(count, 3, 3, generator=generator) * rattling.strain
        even = torch.randn(count, 1, 1, generator=generator) * rattling.strain * torch.eye(3)
        strain = ((tensor + tensor.transpose(1, 2)) / 2 + even) * (step > 0)[:, None, None]
        noise = torch.randn(count, places.shape[1] + 1, 3, generator=generator)
        noise = noise * (step / 3**0.5)[:, None, None]
        places = places + places @ strain + noise[:, 1:] - noise[:, :1]
        order = places.norm(dim=-1).argsort(1)[:, :atoms]
        places = places.gather(1, order[..., None].expand(-1, -1, 3))
        kept = places[:, 0].norm(dim=-1) > rattling.nearest
        return places[kept], kinds.gather(1, order)[kept], self.absorber[rows][kept]


#: Neighbours of a cluster that may come among the nearest when it is rattled.
MOST = 44


def surroundings(
    sites: Sequence[Site], *, elements: Sequence[str], rattling: Rattling, most: int = MOST
) -> Surroundings:
    """Gather clusters as tensors, with the odds of `site_weights`."""
    positions = np.full((len(sites), most, 3), 99.0, np.float32)
    kinds = np.zeros((len(sites), most), np.int64)
    for row, site in enumerate(sites):
        n = min(most, len(site.species))
        positions[row, :n] = site.positions[:n]
        kinds[row, :n] = numbers(site.species[:n], elements)
    usual = dict(rattling.usual)
    rare = [1.0 if usual.get(s.absorber) != s.cn else rattling.usual_share for s in sites]
    return Surroundings(
        positions=torch.from_numpy(positions),
        kinds=torch.from_numpy(kinds),
        absorber=torch.from_numpy(numbers(np.array([s.absorber for s in sites]), elements)),
        odds=torch.from_numpy(site_weights(sites, rattling) * np.array(rare)),
    )


@dataclass(slots=True, eq=False)
class PlacementTraining:
    """A training under way: it steps, and its state can be saved and taken up again.

    Every step's randomness follows from the seed and the step's number alone.
    """

    model: Placement
    lesson: Surroundings
    exam: tuple[Tensor, Tensor, Tensor]
    recipe: PlacementRecipe
    seed: int

    averaged: AveragedModel
    optimiser: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.LambdaLR
    step: int = 0

    @classmethod
    def start(
        cls,
        model: Placement,
        lesson: Surroundings,
        *,
        exam: tuple[Tensor, Tensor, Tensor],
        recipe: PlacementRecipe,
        seed: int,
    ) -> "PlacementTraining":
        """Begin at step 0."""
        optimiser = torch.optim.AdamW(
            model.parameters(), recipe.rate, weight_decay=recipe.decay, betas=(0.9, 0.98)
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, cosine_rate(recipe.steps))
        average = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(model, multi_avg_fn=average)
        return cls(model, lesson, exam, recipe, seed, averaged, optimiser, schedule)

    def advance(self) -> float:
        """Make one step and return its loss, nats against uniform directions."""
        rng = np.random.default_rng([self.seed, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        atoms = self.model.size.atoms
        drawn = self.lesson.draw(
            self.recipe.batch, atoms=atoms, rattling=Rattling(), generator=generator
        )
        positions, given = told(self.model, *drawn, generator=generator)
        ranges = NEAR_RANGES if self.step % 6 else ALL_RANGES
        ranks = sorted({int(rng.integers(a, b)) for a, b in ranges if b <= atoms})
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = surprise(self.model, positions, given, ranks, generator=generator).mean()
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.averaged.update_parameters(self.model)
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def examine(self) -> dict[str, float]:
        """Nats of the averaged weights on held-out clusters told exactly, by rank, same noise."""
        generator, model = torch.Generator().manual_seed(self.seed), self.average()
        given = exactly(model, *self.exam)
        found = surprise(
            model, self.exam[0], given, EXAMINED, generator=generator, even=256
        ).mean(1)
        return {f"val_rank_{rank}": float(v) for rank, v in zip(EXAMINED, found, strict=True)}

    def average(self) -> Placement:
        """Return the model with averaged weights, in evaluation mode."""
        module = self.averaged.module
        assert isinstance(module, Placement)  # noqa: S101
        return module.eval()

    def state(self) -> dict[str, object]:
        """Everything that `restore` needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Go on where `state` was taken."""
        self.step = int(state["step"])  # type: ignore[call-overload]
        for name in ("model", "averaged", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(state[name])


#: Ranks that a training is examined by.
EXAMINED = (1, 2, 3, 5, 8, 12, 15, 20, 25, 29)


def cosine_rate(steps: int) -> Callable[[int], float]:
    """Linear warm-up over 100 steps, then half a cosine to 2 %."""
    return lambda step: (
        min((step + 1) / 100, 1.0) * (0.02 + 0.49 * (1 + float(np.cos(np.pi * min(step / steps, 1)))))
    )
