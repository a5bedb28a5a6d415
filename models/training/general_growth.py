"""Train what draws clusters of any element: which atoms there are, and where each lies.

Both learn from surroundings in crystals, with or without a spectrum, rattled and strained. What a
spectrum would say of them is made up: the truth with errors of the sizes that readings state, and
these sizes beside it. The composition is told for half of them.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nearedge.models.aside import written_aside
from nearedge.models.clusters import geometry
from nearedge.models.composition import elements_in
from nearedge.models.data.dataset import Site
from nearedge.models.data.rattle import displace
from nearedge.models.parts.device import brief_products
from nearedge.models.parts.general import (
    GENERAL_CN_CLASSES,
    RANKS,
    elements,
    hint_of,
    kind_of,
    number_of,
)
from nearedge.models.parts.listing import Listed, Listing, ListingSize, Stated
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.spectrum import Array
from nearedge.models.training.descent import Descent, Net
from nearedge.models.training.placement import (
    ALL_RANGES,
    NEAR_RANGES,
    ToldClusters,
    cosine_rate,
    exactly,
    surprise,
)

#: Root-mean-square displacements of rattled copies, Å, and the spread of their strains.
RATTLES, STRAIN = (0.0, 0.03, 0.06, 0.1), 0.015
#: Sizes of the made-up errors: of the mean cosine, and of the radii, Å (lowest and highest).
COSINE_ERRORS, RADIUS_ERRORS = (0.005, 0.2), (0.02, 0.4)
#: Share of clusters whose composition is told.
KNOWN = 0.5
#: Called with the steps done, all steps, and the mean loss since the last call.
Progress = Callable[[int, int, float], None]
#: By how much the radii that the placing is told are off, Å: a cluster draws one of these.
SLACKS = (0.0, 0.02, 0.06, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthRecipe:
    """How to train what draws clusters of any element.

    Attributes
    ----------
    seed, weights
        The seeds of all that is drawn in training, and of the networks' first weights.
    atoms, copies
        Atoms of a cluster, and rattled copies of each site.
    lists, places
        Steps that the lists and the places learn.
    list_batch, place_batch
        Clusters of a step.
    list_rate, place_rate, list_decay, place_decay, ema
        Highest learning rates, weight decays, and what a step keeps of the averaged weights.
    every
        Steps between checkpoints.
    """

    seed: int = 1
    weights: int = 3
    atoms: int = 24
    copies: int = 7
    lists: int = 6000
    places: int = 9000
    list_batch: int = 64
    place_batch: int = 24
    list_rate: float = 2e-3
    place_rate: float = 1.5e-3
    list_decay: float = 0.02
    place_decay: float = 0.01
    ema: float = 0.998
    every: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrounded:
    """Clusters as tensors, the first axis of all.

    Attributes
    ----------
    positions
        (n, atoms, 3) Å, nearest first.
    kinds, bonded
        (n, atoms) places of the elements, and whether each is bonded.
    absorber, cn, kind
        (n,) place of the absorber, coordination number, kind of the ligands.
    bond, cosine, scatter
        (n,) mean bond, Å, and mean and standard deviation of the cosines of the bond angles.
    hint
        (n, elements + 1) the composition.
    odds
        (n,) how often each is drawn, against the others.
    """

    positions: Tensor
    kinds: Tensor
    bonded: Tensor
    absorber: Tensor
    cn: Tensor
    kind: Tensor
    bond: Tensor
    cosine: Tensor
    scatter: Tensor
    hint: Tensor
    odds: Tensor

    def __len__(self) -> int:
        return len(self.cn)

    def __getitem__(self, index: Tensor) -> "Surrounded":
        return Surrounded(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def usable(site: Site, *, atoms: int) -> bool:
    """Tell whether a site has a first shell, atoms enough, and elements that are known."""
    return (
        len(site.species) >= atoms
        and set(site.species.tolist()) <= set(elements())
        and site.absorber in elements()
        and 0 < site.cn < GENERAL_CN_CLASSES
    )


def surrounded(
    sites: Sequence[Site], *, atoms: int, copies: int, rng: np.random.Generator
) -> Surrounded:
    """Gather sites that are `usable`, each as it is and in rattled copies."""
    count = Counter((site.absorber, site.cn) for site in sites)
    rows = []
    for site in sites:
        odds = count[site.absorber, site.cn] ** -0.5
        for number in range(1 + copies):
            rattle = float(rng.choice(RATTLES)) if number else 0.0
            species, positions = displace(
                site, rng, rattle=rattle, strain=STRAIN if number else 0.0
            )
            row = _row(site.absorber, species[:atoms], positions[:atoms])
            if row["cn"]:
                rows.append(row | {"hint": hint_of(elements_in(site.formula)), "odds": odds})
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    whole = ("kinds", "absorber", "cn", "kind")
    types = dict.fromkeys(whole, torch.int64) | {"bonded": torch.bool}
    return Surrounded(
        **{n: torch.tensor(c, dtype=types.get(n, torch.float32)) for n, c in columns.items()}
    )


def _row(absorber: str, species: np.ndarray, positions: Array) -> dict[str, object]:
    bonded = geometry.first_shell(absorber, species, positions)
    lengths = geometry.distances(positions)[bonded]
    cosines = geometry.cosines_between(positions[bonded])
    kinds = [kind_of(str(symbol)) for symbol in species[bonded]]
    return {
        "positions": positions,
        "kinds": [number_of(str(symbol)) for symbol in species],
        "bonded": bonded,
        "absorber": number_of(absorber),
        "cn": int(bonded.sum()),
        "kind": min(kinds, default=0),
        "bond": float(lengths.mean()) if len(lengths) else 0.0,
        "cosine": float(cosines.mean()) if len(cosines) else 0.0,
        "scatter": float(cosines.std()) if len(cosines) else 0.0,
    }


def stated_of(some: Surrounded, *, generator: torch.Generator) -> Stated:
    """Make up what a spectrum would say of clusters."""
    count = len(some)

    def size(least: float, most: float) -> Tensor:
        share = torch.rand(count, generator=generator)
        return least * (most / least) ** share

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    doubt = size(*COSINE_ERRORS)
    cosine = some.cosine + doubt * noise(count)
    unsure = size(*RADIUS_ERRORS)[:, None] * (1 + torch.arange(RANKS) / RANKS)
    beyond = some.positions[:, :RANKS].norm(dim=-1) - some.bond[:, None]
    common = 0.7 * unsure * noise(count, 1)
    beyond = beyond + common + 0.7 * unsure * noise(count, RANKS)
    known = (torch.rand(count, 1, generator=generator) < KNOWN).float()
    return Stated(
        absorber=some.absorber,
        hint=some.hint * known,
        cn=some.cn,
        kind=some.kind,
        bond=some.bond,
        cosine=torch.stack([cosine, doubt], 1),
        radii=torch.stack([beyond, unsure], 2),
    )


def listed_of(some: Surrounded) -> Listed:
    """Return the true lists of clusters."""
    return Listed(
        kinds=some.kinds,
        radii=some.positions.norm(dim=-1),
        cosine=some.cosine,
        scatter=some.scatter,
    )


def told_of(some: Surrounded, *, generator: torch.Generator) -> ToldClusters:
    """Tell the placing of clusters as a drawn list would: with radii that are a little off."""
    given = exactly(some.positions, some.kinds, some.absorber, some.bonded)
    choice = torch.randint(len(SLACKS), (len(some), 1), generator=generator)
    slack = torch.tensor(SLACKS)[choice] * torch.where(some.bonded, 0.5, 1.0)
    off = slack * torch.randn(given.radii.shape, generator=generator)
    radii, order = (given.radii + off).sort(dim=1)

    def moved(values: Tensor) -> Tensor:
        return values.gather(1, order)

    given = replace(
        given,
        radii=radii,
        kinds=moved(given.kinds),
        slack=moved(slack),
        bonded=moved(given.bonded),
    )
    positions = some.positions.gather(1, order[..., None].expand(-1, -1, 3))
    return ToldClusters(positions=positions, given=given, there=torch.ones_like(given.bonded))


def drawn(data: Surrounded, count: int, *, generator: torch.Generator) -> Surrounded:
    """Draw clusters by their odds."""
    return data[torch.multinomial(data.odds, count, replacement=True, generator=generator)]


def generator_of(seed: int, step: int) -> torch.Generator:
    """Return the random numbers of a step; they follow from seed and step alone."""
    words = np.random.SeedSequence([seed, step]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


def learn_lists(descent: Descent[Listing], data: Surrounded, *, batch: int, seed: int) -> float:
    """Make one step of the lists' density, and return its loss: nats an atom."""
    generator = generator_of(seed, descent.step)
    some = drawn(data, batch, generator=generator)
    descent.model.train()
    return descent.descend(list_loss(descent.model, some, generator=generator))


def list_loss(model: Listing, some: Surrounded, *, generator: torch.Generator) -> Tensor:
    """Return the mean surprise of clusters' lists, nats an atom."""
    angles, kinds, steps = model.surprise(stated_of(some, generator=generator), listed_of(some))
    return kinds.mean() + steps.mean() + angles.mean() / model.size.atoms


def learn_places(descent: Descent[Placement], data: Surrounded, *, batch: int, seed: int) -> float:
    """Make one step of the places' density, and return its loss: nats an atom."""
    generator = generator_of(seed, descent.step)
    some = drawn(data, batch, generator=generator)
    model = descent.model
    ranges = NEAR_RANGES if descent.step % 6 else ALL_RANGES
    ranks = {
        int(torch.randint(first, last, (1,), generator=generator))
        for first, last in ranges
        if last <= model.size.atoms
    }
    model.train()
    told = told_of(some, generator=generator)
    with brief_products():
        nats, counts = surprise(model, told, sorted(ranks), generator=generator)
    return descent.descend((nats * counts).sum() / counts.sum().clamp(min=1))


def train_lists(
    data: Surrounded,
    recipe: GrowthRecipe,
    *,
    checkpoint: Path | None = None,
    progress: Progress = lambda done, total, loss: None,
) -> Listing:
    """Train the density of lists, going on from its checkpoint where there is one.

    Parameters
    ----------
    data
        What it learns from.
    recipe
        How.
    checkpoint
        A file that keeps where it is; None keeps nothing.
    progress
        Told of every so many steps.
    """
    torch.manual_seed(recipe.weights)
    return _descended(
        Listing(ListingSize(atoms=recipe.atoms)),
        lambda net: learn_lists(net, data, batch=recipe.list_batch, seed=recipe.seed),
        recipe,
        steps=recipe.lists,
        rate=recipe.list_rate,
        decay=recipe.list_decay,
        checkpoint=checkpoint,
        progress=progress,
    )


def train_places(
    data: Surrounded,
    recipe: GrowthRecipe,
    *,
    start: Placement | None = None,
    checkpoint: Path | None = None,
    progress: Progress = lambda done, total, loss: None,
) -> Placement:
    """Train the density of places, going on from its checkpoint where there is one.

    Parameters
    ----------
    data, recipe, checkpoint, progress
        As of `train_lists`.
    start
        A density to begin with, for the same number of atoms; None begins with random weights.
    """
    torch.manual_seed(recipe.weights)
    if start is None:
        model = Placement(PlacementSize(atoms=recipe.atoms), elements=elements())
    else:
        model = copy.deepcopy(start).train()
    return _descended(
        model,
        lambda net: learn_places(net, data, batch=recipe.place_batch, seed=recipe.seed),
        recipe,
        steps=recipe.places,
        rate=recipe.place_rate,
        decay=recipe.place_decay,
        checkpoint=checkpoint,
        progress=progress,
    )


def _descended(
    model: Net,
    learn: Callable[[Descent[Net]], float],
    recipe: GrowthRecipe,
    *,
    steps: int,
    rate: float,
    decay: float,
    checkpoint: Path | None,
    progress: Progress,
) -> Net:
    """Go down to the last step, and return the network with averaged weights."""
    descent = Descent.start(
        model, rate=rate, decay=decay, ema=recipe.ema, schedule=cosine_rate(steps)
    )
    if checkpoint and checkpoint.is_file():
        descent.restore(torch.load(checkpoint, weights_only=True))
    losses = []
    while descent.step < steps:
        losses.append(learn(descent))
        if descent.step % recipe.every == 0 or descent.step == steps:
            if checkpoint:
                with written_aside(checkpoint) as part:
                    torch.save(descent.state(), part)
            progress(descent.step, steps, float(np.mean(losses)))
            losses = []
    return descent.average()
