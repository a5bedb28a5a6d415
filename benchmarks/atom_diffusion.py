"""Compare placing atoms by a density over the sphere with diffusing each in from 6 Å.

python -m benchmarks.atom_diffusion OUT.pt [--minutes 20] [--density DENSITY.safetensors]

Trains a denoiser of one atom, given the atoms before it, on the clusters that the density learns
from, told alike (`benchmarks/train_placement.py`). Both share their trunk: rounds of messages, the
knowledge of the bond angles, how atoms before are blurred. The denoiser adds rounds that the noisy
atom receives from those before, and is drawn from in as many steps as it is told. Each takes the
other's place before the same joint diffusion, and the figures are those of
`benchmarks/soundness.py`. `--density` is one that was trained for as long, by `python -m
benchmarks.held_out none DENSITY.pt --minutes 20`; without it the released one stands for it.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.soundness import KINDS, chosen, from_spectrum, from_truth, table
from benchmarks.train_placement import ATOMS, ELEMENTS, FILES, begun, trained
from nearedge.models.answering.card import read_card
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.loading import load_parts
from nearedge.models.data.dataset import read_dataset
from nearedge.models.evaluation.soundness import SoundnessRule
from nearedge.models.parts.device import CPU
from nearedge.models.parts.diffusion import Noise, draw
from nearedge.models.parts.grown import Grown
from nearedge.models.parts.growth import Chance, Started
from nearedge.models.parts.placement import (
    Given,
    Placement,
    PlacementSize,
    _between,
    _Round,
)
from nearedge.models.training.placement import PlacementTraining, ToldClusters, as_placed
from nearedge.models.training.sites import load_sites

#: Noise that an atom comes in from, and at the end, Å.
NOISE = Noise(sigma_max=6.0, sigma_min=0.02)
#: Mean and standard deviation of ln(noise / Å) in training.
LOG_NOISE = (-0.7, 1.4)
#: Noise levels that each atom of a cluster is shown in at a step.
LEVELS = 3
#: Atoms that five steps of six learn: near ones matter most.
NEAR = 14
#: Numbers of how an atom fits what is told of the angles and its radius.
_FIT = 10


class AtomDenoiser(Placement):
    """Where an atom belongs that carries noise, given the atoms before it."""

    def __init__(self, size: PlacementSize, *, elements: Sequence[str]) -> None:
        super().__init__(size, elements=elements)
        c, v = size.scalars, size.vectors
        self.level = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, c))
        self.fits = nn.Linear(_FIT + 2, c)
        self.axes = nn.Linear(3, v, bias=False)
        self.receives = nn.ModuleList(_Round(size) for _ in range(size.layers))
        self.force = nn.Linear(v, 1, bias=False)

    def denoised(
        self,
        noisy: Tensor,
        sigma: Tensor,
        *,
        before: Tensor,
        carried: tuple[Tensor, Tensor],
        node: Tensor,
        given: Given,
        rank: int,
    ) -> Tensor:
        """Return where the atom of a rank is expected to belong, (batch, m, 3) Å.

        Parameters
        ----------
        noisy, sigma
            (batch, m, 3) and (batch, m) Å.
        before, carried
            Absorber and atoms before, (batch, n, 3) Å, and their `trunk`.
        node
            (batch, c) of the atom, from `start`.
        given, rank
            What is told of the clusters, and which atom is asked about.
        """
        # the data's own scale is that of one coordinate of an atom at this distance
        data = (given.radii[:, rank] / math.sqrt(3))[:, None]
        norm = (sigma**2 + data**2).sqrt()
        at = noisy * (data / norm)[..., None]
        shell = self._shell(before[:, 1:], given, rank)
        radius = (at.square().sum(-1) + 1e-6).sqrt()
        unit = at / radius[..., None]
        angular, _ = self._angles(shell, unit)
        astray = self.depth(given, rank).off(radius).clamp(-4, 4)
        scalars = [angular, torch.stack([astray, astray**2 / 4], -1)]
        scalars += [(radius - given.radii[:, rank, None])[..., None], sigma.log()[..., None] / 4]
        s = node[:, None] + self.level(sigma.log()[..., None] / 4)
        s = s + self.fits(torch.cat(scalars, -1))
        on = shell["on"][:, None, None]
        axes = [unit, on * shell["total"][:, None].expand_as(unit), on * (unit @ shell["square"])]
        v = self.axes(torch.stack(axes, -1))
        r, along = _between(at, before)
        pairs, mask = (self.radial(r), along), at.new_ones(at.shape[1], before.shape[1])
        for one in self.receives:
            s, v = one((s, v), carried, pairs, mask)
        raw = self.force(v)[..., 0]
        share = (data / norm)[..., None]
        return noisy * share**2 + raw * sigma[..., None] * share


def loss(
    model: AtomDenoiser, told: ToldClusters, last: int, *, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error over the first atoms, weighted as Karras et al. do."""
    given = told.given
    placed = as_placed(model, told, generator=generator)
    atoms = functional.pad(placed, (0, 0, 1, 0))
    nodes = model.start(given)
    s, v = model.trunk(atoms[:, :last], nodes[:, :last])
    total, count = atoms.new_zeros(()), atoms.new_zeros(())
    n = len(atoms)
    for rank in range(last):
        sigma = torch.exp(LOG_NOISE[0] + LOG_NOISE[1] * torch.randn(n, LEVELS, generator=generator))
        sigma = sigma.clamp(NOISE.sigma_min, NOISE.sigma_max)
        truth = told.positions[:, rank, None]
        noisy = truth + sigma[..., None] * torch.randn(n, LEVELS, 3, generator=generator)
        found = model.denoised(
            noisy,
            sigma,
            before=atoms[:, : rank + 1],
            carried=(s[:, : rank + 1], v[:, : rank + 1]),
            node=nodes[:, rank + 1],
            given=given,
            rank=rank,
        )
        data = (given.radii[:, rank] / math.sqrt(3))[:, None]
        weight = (sigma**2 + data**2) / (sigma * data) ** 2
        there = told.there[:, rank, None].float()
        total = total + (weight * (found - truth).square().sum(-1) * there).sum()
        count = count + there.sum() * LEVELS
    return total / count / 3


@torch.inference_mode()
def diffused(started: Started, *, steps: int, eta: float, generator: torch.Generator) -> Tensor:
    """Draw clusters, each atom by its own diffusion, (batch, atoms, 3) Å."""
    model, given = started.placement, started.given
    assert isinstance(model, AtomDenoiser)
    n, ranks = given.radii.shape
    levels = NOISE.schedule(steps)

    def noise() -> Tensor:
        return torch.randn(n, 1, 3, generator=generator)

    for rank in range(ranks):
        denoise = partial(
            _denoised,
            model,
            before=started.atoms,
            carried=started.carried,
            node=started.nodes[:, rank + 1],
            given=given,
            rank=rank,
        )
        placed = draw(denoise, levels[0] * noise(), levels, eta=eta, noise=noise)
        started.add(placed[:, 0])
    return started.atoms[:, 1:]


def _denoised(model: AtomDenoiser, x: Tensor, sigma: Tensor, **told: Any) -> Tensor:
    """Denoise one atom of each cluster, all at one level."""
    return model.denoised(x, sigma.expand(len(x))[:, None], **told)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diffused(Grown):
    """Clusters whose atoms come in from 6 Å one after the other."""

    steps: int
    eta: float

    def _grow(
        self, asked: Sequence[tuple[Given, Chance]], generators: Sequence[torch.Generator]
    ) -> Tensor:
        how = {"steps": self.steps, "eta": self.eta}
        return torch.cat(
            [
                diffused(Started.start(self.placement, *one), generator=generator, **how)
                for one, generator in zip(asked, generators, strict=True)
            ]
        )


class AtomTraining(PlacementTraining):
    """The denoiser's training: of the density's, but for what a step learns."""

    def advance(self) -> float:
        """Make one step and return its loss."""
        model, step = self.descent.model, self.descent.step
        rng = np.random.default_rng([self.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        told = self.lesson.batch(model, self.recipe, rng=rng)
        model.train()
        last = NEAR if step % 6 else ATOMS
        return self.descent.descend(loss(model, told, last, generator=generator))

    def nats(self) -> list[list[float]]:
        """Return nothing: a denoiser has no likelihood."""
        return []


def train(out: Path, *, minutes: float, pool: int) -> AtomDenoiser:
    """Train until so much CPU time is spent, all calls together."""
    card = read_card("siox")
    sites = load_sites(FILES, span=card.grid)
    model = AtomDenoiser(PlacementSize(atoms=ATOMS), elements=ELEMENTS)
    training = begun(model, sites, card, pool=pool, kind=AtomTraining)
    trained(training, out, minutes=minutes)
    return training.descent.average()


def main() -> None:
    """Train the denoiser, and judge both ways of placing atoms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20, help="CPU time, all calls together")
    parser.add_argument("--density", type=Path, help="weights of a density to compare with")
    parser.add_argument("--pool", type=int, default=14000)
    parser.add_argument("--sites", type=int, default=24, help="of each kind, at most")
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    denoiser = train(options.out, minutes=options.minutes, pool=options.pool)
    card = read_card("siox")
    parts = load_parts(card, CPU)
    if options.density:
        density = {k: t.float() for k, t in load_file(options.density).items()}
        parts.start.placement.load_state_dict(density)
    rule = SoundnessRule.of(read_dataset(FILES, split="train"))
    held_out = read_dataset(FILES[0], split="val")
    asked = {f"{a}, {cn}-fold": chosen(held_out, a, cn, options.sites) for a, cn in KINDS}
    same = {f.name: getattr(parts.start, f.name) for f in fields(Grown)} | {"placement": denoiser}
    ways = {"the density": parts.start}
    for steps, eta in ((16, 0.0), (40, 1.0)):
        name = f"diffusion, {steps} steps, eta {eta:g}"
        ways[name] = Diffused(**same, steps=steps, eta=eta)
    for name, start in ways.items():
        inverter = Inverter(card, replace(parts, start=start), device=CPU)
        table(
            f"By {name}, true descriptors told", from_truth(inverter, options.samples), asked, rule
        )
    best = Inverter(card, replace(parts, start=ways["diffusion, 40 steps, eta 1"]), device=CPU)
    for name, one in (("the density", Inverter(card, parts, device=CPU)), ("diffusion", best)):
        table(f"By {name}, from spectra", from_spectrum(one, options.samples), asked, rule)


if __name__ == "__main__":
    main()
