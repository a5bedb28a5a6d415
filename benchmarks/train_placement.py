"""Train the density that places atoms on its own; resumable.

python benchmarks/train_placement.py OUT.pt [--minutes 40] [--pool 14000]
[--from START.safetensors]

At the end, and where it is called again with no time left, the averaged weights are written in half
precision beside the checkpoint, for `benchmarks/refit.py --placement`. `--from` takes these, or a
whole file of weights. Nats against even directions and radii as they are told, on `val`, by rank;
told exactly, and as the released reader expects them from clean spectra:

| steps | told | 0 | 1 | 3 | 5 | 8 | 15 | 25 | 29 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| 0 | exactly | 0.03 | -2.03 | -2.93 | -2.44 | -1.90 | -2.83 | -2.54 | -2.45 |
| 0 | expected | -0.01 | -1.42 | -2.86 | -2.44 | -2.84 | -3.49 | -3.56 | -2.63 |
| 4200 | exactly | 0.01 | -2.05 | -2.90 | -2.53 | -1.97 | -2.91 | -2.66 | -2.52 |
| 4200 | expected | -0.03 | -1.54 | -2.94 | -2.58 | -3.00 | -3.67 | -3.75 | -2.80 |
| 12000 | exactly | 0.02 | -2.15 | -3.01 | -2.54 | -2.05 | -2.95 | -2.84 | -2.68 |
| 12000 | expected | -0.05 | -1.65 | -3.06 | -2.62 | -3.13 | -3.78 | -3.73 | -3.16 |
| 19000 | expected | -0.06 | -1.68 | -3.09 | -2.60 | -2.99 | -3.77 | -3.65 | -3.24 |
| 26600 | exactly | 0.02 | -2.22 | -3.05 | -2.55 | -2.01 | -3.02 | -2.85 | -2.87 |
| 26600 | expected | -0.06 | -1.70 | -3.19 | -2.51 | -2.94 | -3.77 | -3.68 | -3.28 |

The released weights have these 26,600 steps of batch 24 (2,486 CPU-s), on top of 7,400 earlier
ones, which are the row of 0 steps. Clusters drawn from spectra were as sound after 12,000 steps as
without them.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from nearedge.models.answering.card import Card, read_card
from nearedge.models.answering.loading import load_parts
from nearedge.models.answering.reader import Reader
from nearedge.models.clusters import descriptors
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.rattle import Rattling
from nearedge.models.data.views import Bank
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import condition
from nearedge.models.parts.device import CPU
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.spectrum import NormalisedSpectrum
from nearedge.models.training.denoiser import draw_pool
from nearedge.models.training.encoders import Targets
from nearedge.models.training.placement import (
    MOST,
    PlacementLesson,
    PlacementTraining,
    ToldClusters,
    make_lesson,
    surroundings,
    told_by,
    told_exactly,
)
from nearedge.models.training.recipe import PlacementRecipe, Recipe
from nearedge.models.training.release import half
from nearedge.models.training.sites import Sites, load_sites
from nearedge.models.training.spectra import SpectrumSide, read_blindly

DATA = Path(__file__).parent / "data"
#: Crystals with and without spectra, and the random ones.
FILES, RANDOM = (DATA / "siox.parquet", DATA / "clusters.parquet"), DATA / "clusters-random.parquet"
ELEMENTS, ATOMS = ("O", "Si"), 30
KINDS = (("Si", 4), ("Si", 5), ("Si", 6), ("O", 2), ("O", 3))
#: Views of every training spectrum, the clean one included.
VIEWS = 9


def lesson_of(
    sites: Sites,
    reader: Reader,
    recipe: Recipe,
    *,
    pool: int,
    without: frozenset[str] = frozenset(),
) -> PlacementLesson:
    """Put together what the density learns from: all clusters that have enough atoms.

    Of the structures in ``without`` nothing is learned.
    """
    loose = [s for s in [*sites.bare, *read_dataset(RANDOM)] if s.structure not in without]
    bare = [s for s in loose if len(s.species) >= MOST]
    rng = np.random.default_rng(5)
    drawn = draw_pool(bare, pool, rng=rng, edges=sites.edges, rattling=Rattling())
    read = read_blindly(sites, reader, recipe)
    kept = np.array([s.structure not in without for s in sites.train])
    left = replace(sites, train=[s for s, keep in zip(sites.train, kept, strict=True) if keep])
    return make_lesson(left, drawn, some_of(read, kept), elements=ELEMENTS)


def some_of(read: SpectrumSide, kept: NDArray[np.bool_]) -> SpectrumSide:
    """Keep some of the sites; an average that one of the others belongs to is its own site's."""
    number = np.append(kept.cumsum() - 1, -1)
    number[:-1][~kept] = -2
    members = number[read.bank.members[:, kept]]
    alone = np.full_like(members, -1)
    alone[..., 0] = members[..., 0]
    members = np.where((members == -2).any(-1, keepdims=True), alone, members)
    bank, known = read.bank, read.known
    return SpectrumSide(
        reader=read.reader,
        bank=Bank(values=bank.values[:, kept], mask=bank.mask[:, kept], members=members),
        known=Targets(described=known.described[kept], cn=known.cn[kept], edge=known.edge[kept]),
        expected=[one[torch.from_numpy(kept)] for one in read.expected],
    )


def exams(
    model: Placement, reader: Reader, sites: Sequence[Site], span: Sequence[float]
) -> list[ToldClusters]:
    """Tell held-out sites exactly, and as they are expected from their clean spectra."""
    chosen = [s for a, cn in KINDS for s in sites if (s.absorber, s.cn) == (a, cn)][::2]
    clusters, expected = surroundings(chosen, elements=ELEMENTS), []
    for site in chosen:
        seen = normalise_xanes(site.spectrum)
        assert isinstance(seen, NormalisedSpectrum)
        read = condition(seen, span=span)
        values, mask = (torch.from_numpy(a.copy())[None] for a in (read.values, read.mask))
        expected.append(reader(values, mask, ELEMENTS.index(site.absorber)))
    every = clusters[torch.arange(len(chosen))]
    told = descriptors.tidy(descriptors.join(expected), species=len(ELEMENTS))
    return [told_exactly(model, *every), told_by(model, told, clusters.cn, *every)]


def _density(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the density out of a file of weights, or all of its own file."""
    own = {k: v for k, v in tensors.items() if k.startswith("placement.")}
    return {k.removeprefix("placement."): v for k, v in (own or tensors).items()}


def main() -> None:
    """Train until the time is over, with a checkpoint every two hundred steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="CPU time, all calls together")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--pool", type=int, default=14000)
    parser.add_argument("--from", dest="start", type=Path, help="weights to begin with")
    told = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    card = read_card("siox")
    sites = load_sites(FILES, span=card.grid)
    model = Placement(PlacementSize(atoms=ATOMS), elements=ELEMENTS)
    if told.start:
        model.load_state_dict(_density(load_file(told.start)))
    training = begun(model, sites, card, batch=told.batch, pool=told.pool)
    trained(training, told.out, minutes=told.minutes)


def begun(
    model: Placement,
    sites: Sites,
    card: Card,
    *,
    batch: int = 24,
    pool: int,
    without: frozenset[str] = frozenset(),
    kind: type[PlacementTraining] = PlacementTraining,
) -> PlacementTraining:
    """Begin a training of a kind, told what the reader of a card expects of spectra."""
    recipe = Recipe.model_validate(card.recipe | {"views": VIEWS})
    reader = load_parts(card, CPU).reader
    return kind.start(
        model,
        lesson_of(sites, reader, recipe, pool=pool, without=without),
        exam=exams(model, reader, sites.held_out, card.grid),
        recipe=PlacementRecipe(steps=100_000, batch=batch, rate=1.5e-3),
        seed=1,
    )


def trained(training: PlacementTraining, out: Path, *, minutes: float) -> None:
    """Train until so much CPU time is spent, all calls together; write the averaged weights."""
    descent, rate, spent = training.descent, training.recipe.rate, 0.0
    if out.exists():
        state = torch.load(out, weights_only=True)
        spent = state.pop("spent")
        descent.restore(state)
    start, window = time.process_time() - spent, []
    while (share := (time.process_time() - start) / (60 * minutes)) < 1:
        window.append(training.advance())
        part = min(descent.step / 100, 1) * (0.02 + 0.49 * (1 + float(np.cos(np.pi * share))))
        for group in descent.optimiser.param_groups:
            group["lr"] = rate * part
        if descent.step % 200 == 0:
            torch.save(descent.state() | {"spent": time.process_time() - start}, out)
            nats = " | ".join(" ".join(f"{v:.2f}" for v in one) for one in training.nats())
            print(descent.step, f"{np.mean(window[-200:]):.3f}", nats, flush=True)
    save_file(half(descent.average()), out.with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
