"""Train the density of the next atom's place, on clusters with a spectrum and on many more without.

The density is told of a cluster what the encoder expects of its spectrum, blindly; a cluster
without one borrows the error made for a like cluster. So it learns how true clusters scatter around
what is expected, and where an atom fits although its radius is expected wrongly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nearedge.models.clusters.descriptors import (
    Expectation,
    cn_class,
    describe,
    join,
    numbers,
    tidy,
)
from nearedge.models.data.dataset import Site
from nearedge.models.data.rattle import RattledCluster
from nearedge.models.parts.depth import EXACT, Depth
from nearedge.models.parts.device import brief_products
from nearedge.models.parts.placement import Given, Placement, PlacementSize, angles_between
from nearedge.models.parts.sphere import (
    LOG_SPHERE,
    even_directions,
    log_scatter,
    random_rotations,
    scatter,
)
from nearedge.models.parts.told import given_by, ranks_of
from nearedge.models.training.denoiser import Clusters, borrow, find_donors
from nearedge.models.training.descent import Descent
from nearedge.models.training.recipe import PlacementRecipe
from nearedge.models.training.sites import Sites
from nearedge.models.training.spectra import SpectrumSide

#: Candidates that the density is normalised over in training: even ones, and about the truth.
EVEN, NEAR = 32, 32
#: Share of the blur by which the atoms placed before are off, as they are when they are drawn.
PLACED = 0.5
#: Further away than any atom, Å, and truths further from what is told, in standard deviations, than
#: a step learns from.
BEYOND, FAR_OFF = 50.0, 3.0
#: Atoms of a cluster that may come among the nearest of their species.
MOST = 44
#: Labelled clusters that one without a spectrum borrows an error of.
DONORS = 6
#: Ranks that one step learns, one drawn from each range. Five steps of six learn near atoms alone,
#: which matter most and cost least.
NEAR_RANGES = ((0, 4), (1, 7), (4, 10), (8, 14))
ALL_RANGES = ((0, 5), (5, 12), (10, 18), (16, 24), (22, 30))


def placement_size(recipe: PlacementRecipe, *, atoms: int) -> PlacementSize:
    """Return the sizes that a recipe asks for."""
    return PlacementSize(
        atoms=atoms, **recipe.model_dump(include={"scalars", "vectors", "layers", "filters"})
    )


def exactly(positions: Tensor, kinds: Tensor, absorber: Tensor, bonded: Tensor) -> Given:
    """Tell exactly what is true of clusters (batch, atoms, 3), nearest first."""
    radii = positions.norm(dim=-1)
    cosine, scatter = angles_between(positions, bonded)
    return Given(
        radii=radii,
        kinds=kinds,
        absorber=absorber,
        cosine=cosine,
        scatter=scatter,
        doubt=torch.zeros_like(cosine),
        slack=torch.zeros_like(radii),
        bonded=bonded,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldClusters:
    """Clusters, and what is given of them.

    Attributes
    ----------
    positions
        (batch, atoms, 3) Å, the atoms in the order in which they are given.
    given
        What the generator is told.
    there
        (batch, atoms) whether the cluster has an atom that is as it is given.
    """

    positions: Tensor
    given: Given
    there: Tensor


def told_exactly(
    placement: Placement, positions: Tensor, kinds: Tensor, absorber: Tensor
) -> ToldClusters:
    """Tell exactly what is true of clusters (batch, atoms or more, 3), nearest first."""
    atoms = placement.size.atoms
    positions, kinds = positions[:, :atoms], kinds[:, :atoms]
    bonded = placement.within(positions.norm(dim=-1), kinds, absorber)
    given = exactly(positions, kinds, absorber, bonded)
    return ToldClusters(positions=positions, given=given, there=given.radii < BEYOND)


def told_by(
    placement: Placement,
    expected: Expectation,
    cn: Tensor,
    positions: Tensor,
    kinds: Tensor,
    absorber: Tensor,
) -> ToldClusters:
    """Tell what is expected of clusters, which is not what is true of them.

    The atom of a rank is the cluster's atom of this rank among those of its species.

    Parameters
    ----------
    placement
        The network that has the number of atoms and the longest bonds.
    expected, cn
        The expectation of each cluster, and its coordination class.
    positions, kinds, absorber
        (batch, most, 3) Å, nearest first, `BEYOND` or more where there is none; species numbers.
    """
    cutoffs = placement.get_buffer("cutoffs")
    ranks = ranks_of(expected, cn, absorber=absorber, cutoffs=cutoffs, atoms=placement.size.atoms)
    radii, rows = positions.norm(dim=-1), torch.arange(len(positions))[:, None]
    orders = torch.stack(
        [(radii + 1e4 * (kinds != kind)).argsort(1) for kind in range(len(cutoffs))], 1
    )
    atom = orders[rows, ranks.kinds, ranks.places.clamp(max=orders.shape[2] - 1)]
    at, radius = positions[rows, atom], radii[rows, atom]
    same = (kinds[rows, atom] == ranks.kinds) & (radius < BEYOND)
    at = torch.where(same[..., None], at, at / radius[..., None] * ranks.radii[..., None])
    given = given_by(expected, ranks, absorber=absorber, cutoffs=cutoffs)
    return ToldClusters(positions=at, given=given, there=same)


def as_placed(placement: Placement, told: ToldClusters, *, generator: torch.Generator) -> Tensor:
    """Return the atoms (batch, atoms, 3) a little off, as they are when they are drawn, Å."""
    radii = told.positions.norm(dim=-1)
    unit = told.positions / radii[..., None]
    placed = scatter(unit, PLACED * placement.blur(told.given), 1, generator=generator)[..., 0, :]
    noise = torch.randn(*radii.shape, generator=generator)
    out: Tensor = placed * (radii + PLACED * EXACT * noise)[..., None]
    return out


def surprise(
    placement: Placement,
    told: ToldClusters,
    ranks: Sequence[int],
    *,
    generator: torch.Generator,
    even: int = EVEN,
) -> tuple[Tensor, Tensor]:
    """Return how unlikely the true places are, against even directions and radii as they are told.

    The density is normalised by importance sampling: half of the candidates are even over the
    sphere, half lie about the truth.

    Parameters
    ----------
    told
        The clusters and what is given of them.
    ranks
        Which to judge, counted from 0.
    even
        Even candidates.

    Returns
    -------
        Nats (ranks, batch), and what each counts: 0 where the truth is far from what is told.
    """
    given = told.given
    blur = placement.blur(given)
    radii = told.positions.norm(dim=-1)
    unit = told.positions / radii[..., None]

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    atoms = functional.pad(as_placed(placement, told, generator=generator), (0, 0, 1, 0))
    nodes = placement.start(given)
    last = max(ranks) + 1
    carried = placement.trunk(atoms[:, :last], nodes[:, :last])
    out, counts = [], []
    grid = even_directions(even)
    n = len(radii)
    for rank in ranks:
        asked = placement.ask(atoms, carried, nodes, given, rank)
        depth, width, truth = asked.depth, blur[:, rank], unit[:, rank]
        wide = (2.5 * width).clamp(max=1.0)
        about = scatter(truth, wide, NEAR, generator=generator)
        spread = grid @ random_rotations(n, generator=generator)
        true = radii[:, rank, None]
        near = (depth.spread / 2).clamp(EXACT, 0.1)
        close = Depth(mean=true[:, 0], spread=near, longest=depth.longest, bonded=depth.bonded)
        far = torch.cat([depth.place(noise(n, even)), close.place(noise(n, NEAR))], 1)
        directions = torch.cat([spread, about], 1)
        log = depth.log_density(far) - LOG_SPHERE
        count = even + NEAR
        drawn = torch.logaddexp(
            log + np.log(even / count),
            np.log(NEAR / count) + log_scatter(directions, truth, wide) + close.log_density(far),
        )
        at = depth.fold(true + EXACT * noise(n, 1))
        hit = scatter(truth, width, 1, generator=generator) * at[..., None]
        score = placement.score(asked, torch.cat([hit, directions * far[..., None]], 1))
        norm = torch.logsumexp(score[:, 1:] + log - drawn, 1) - np.log(count)
        out.append(norm - score[:, 0])
        likely = (depth.off(true).abs() < FAR_OFF) & depth.own(true)
        counts.append((told.there[:, rank] & likely[:, 0]).float())
    return torch.stack(out), torch.stack(counts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterTensors:
    """Clusters: (n, most, 3) Å, 99 beyond the last, species numbers, absorbers, CN classes."""

    positions: Tensor
    kinds: Tensor
    absorber: Tensor
    cn: Tensor

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.positions[rows], self.kinds[rows], self.absorber[rows]


def surroundings(
    sites: Sequence[Site | RattledCluster], *, elements: Sequence[str], most: int = MOST
) -> ClusterTensors:
    """Gather clusters as tensors."""
    positions = np.full((len(sites), most, 3), 99.0, np.float32)
    kinds = np.zeros((len(sites), most), np.int64)
    for row, site in enumerate(sites):
        n = min(most, len(site.species))
        positions[row, :n] = site.positions[:n]
        kinds[row, :n] = numbers(site.species[:n], elements)
    cn = [cn_class(s.absorber, s.species, s.positions) for s in sites]
    return ClusterTensors(
        positions=torch.from_numpy(positions),
        kinds=torch.from_numpy(kinds),
        absorber=torch.from_numpy(numbers(np.array([s.absorber for s in sites]), elements)),
        cn=torch.tensor(cn),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacementLesson:
    """All that the density learns from.

    Attributes
    ----------
    labelled, pool
        Clusters with and without spectra.
    described, lenders, donors
        Descriptors of the pool and of the labelled clusters, and for each of the pool the labelled
        ones whose error it borrows (`nearedge.models.training.denoiser.borrow`).
    expected
        For each view what blind members expect of the labelled clusters.
    members
        (views, labelled, most) the sites that each view is the average over, -1 beyond the last.
    """

    labelled: ClusterTensors
    pool: ClusterTensors
    described: Tensor
    lenders: Tensor
    donors: Tensor
    expected: Sequence[Expectation]
    members: Tensor

    def batch(
        self, placement: Placement, recipe: PlacementRecipe, *, rng: np.random.Generator
    ) -> ToldClusters:
        """Draw clusters: some told as spectra tell them, some with borrowed errors, some exactly.

        Of a spectrum that is an average any of its sites is drawn.
        """
        real, exact = round(recipe.batch * recipe.labelled), round(recipe.batch * recipe.exact)
        loose = torch.from_numpy(rng.integers(0, len(self.pool.cn), recipe.batch - real))
        sure, unsure = loose[:exact], loose[exact:]
        own = self._own(placement, rng, real)
        lent = self._lent(placement, rng, unsure)
        return _joined([own, lent, told_exactly(placement, *self.pool[sure])])

    def _views(self, rng: np.random.Generator, rows: Tensor) -> tuple[Expectation, Tensor]:
        views = rng.integers(0, len(self.expected), len(rows))
        found = [self.expected[v][r : r + 1] for v, r in zip(views, rows.tolist(), strict=True)]
        return join(found), torch.from_numpy(views)

    def _own(self, placement: Placement, rng: np.random.Generator, count: int) -> ToldClusters:
        rows = torch.from_numpy(rng.integers(0, len(self.labelled.cn), count))
        expected, views = self._views(rng, rows)
        averaged = self.members[views, rows]
        place = (torch.from_numpy(rng.random(count)) * (averaged >= 0).sum(1)).long()
        site = averaged[torch.arange(count), place]
        return told_by(placement, expected, self.labelled.cn[site], *self.labelled[site])

    def _lent(self, placement: Placement, rng: np.random.Generator, rows: Tensor) -> ToldClusters:
        pick = torch.from_numpy(rng.integers(0, self.donors.shape[1], len(rows)))
        lender = self.donors[rows, pick]
        expected, _ = self._views(rng, lender)
        noise = torch.from_numpy(rng.standard_normal(expected.mean.shape)).float()
        expected = borrow(self.described[rows], self.lenders[lender], expected, noise)
        return told_by(placement, expected, self.pool.cn[rows], *self.pool[rows])


def make_lesson(
    sites: Sites,
    pool: Sequence[RattledCluster],
    read: SpectrumSide,
    *,
    elements: Sequence[str],
    donors: int = DONORS,
) -> PlacementLesson:
    """Put together what the density learns from; see `PlacementLesson`.

    Parameters
    ----------
    sites, read
        Training sites with a spectrum, and what is blindly expected of each.
    pool
        Clusters without a spectrum.
    elements
        Species, in the order of their numbers.
    donors
        Labelled clusters that each of the pool borrows the error of.
    """
    edge_of = dict(sites.edges)
    index = {pair: k for k, pair in enumerate(sites.edges)}
    labelled, loose = (surroundings(own, elements=elements) for own in (sites.train, pool))
    described = [describe(s.absorber, s.species, s.positions, vocabulary=elements) for s in pool]
    known = torch.from_numpy(np.array(described)).float()
    lenders = torch.from_numpy(read.known.described).float()
    edges = torch.tensor([index[s.absorber, edge_of[s.absorber]] for s in pool])
    return PlacementLesson(
        labelled=labelled,
        pool=loose,
        described=known,
        lenders=lenders,
        donors=find_donors(
            Clusters(atoms=loose.positions, edge=edges, described=known, cn=loose.cn),
            Clusters(
                atoms=labelled.positions,
                edge=torch.from_numpy(read.known.edge),
                described=lenders,
                cn=labelled.cn,
            ),
            scale=read.reader.ensemble.get_buffer("scale"),
            donors=donors,
        ),
        expected=[tidy(one, species=len(elements)) for one in read.expected],
        members=torch.from_numpy(read.bank.members),
    )


def _joined(parts: Sequence[ToldClusters]) -> ToldClusters:
    return ToldClusters(
        positions=torch.cat([part.positions for part in parts]),
        given=Given.join([part.given for part in parts]),
        there=torch.cat([part.there for part in parts]),
    )


@dataclass(slots=True, eq=False)
class PlacementTraining:
    """A training under way: what is learned, and how far the descent has come.

    Every step's randomness follows from the seed and the step's number alone.

    Attributes
    ----------
    exam
        Held-out clusters, in as many ways as they are told.
    """

    descent: Descent[Placement]
    lesson: PlacementLesson
    exam: Sequence[ToldClusters]
    recipe: PlacementRecipe
    seed: int

    @classmethod
    def start(
        cls,
        model: Placement,
        lesson: PlacementLesson,
        *,
        exam: Sequence[ToldClusters],
        recipe: PlacementRecipe,
        seed: int,
    ) -> "PlacementTraining":
        """Begin at step 0."""
        descent = Descent.start(
            model,
            rate=recipe.rate,
            decay=recipe.decay,
            ema=recipe.ema,
            schedule=cosine_rate(recipe.steps),
        )
        return cls(descent=descent, lesson=lesson, exam=exam, recipe=recipe, seed=seed)

    def advance(self) -> float:
        """Make one step and return its loss, nats against uniform directions."""
        model, step = self.descent.model, self.descent.step
        rng = np.random.default_rng([self.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        atoms = model.size.atoms
        told = self.lesson.batch(model, self.recipe, rng=rng)
        ranges = NEAR_RANGES if step % 6 else ALL_RANGES
        ranks = sorted({int(rng.integers(a, b)) for a, b in ranges if b <= atoms})
        model.train()
        with brief_products():
            nats, counts = surprise(model, told, ranks, generator=generator)
        return self.descent.descend((nats * counts).sum() / counts.sum().clamp(min=1))

    def examine(self) -> float:
        """Return the mean nats on the last exam, over the ranks that are examined."""
        return float(np.nanmean(self.nats()[-1]))

    @torch.no_grad()
    def nats(self) -> list[list[float]]:
        """Return the nats of the averaged weights on each exam, by rank, with the same noise."""
        return [self._examine(told) for told in self.exam]

    def _examine(self, told: ToldClusters) -> list[float]:
        generator, model = torch.Generator().manual_seed(self.seed), self.descent.average()
        ranks = [rank for rank in EXAMINED if rank < model.size.atoms]
        nats, counts = surprise(model, told, ranks, generator=generator, even=256)
        return ((nats * counts).sum(1) / counts.sum(1)).tolist()


#: Ranks that a training is examined by.
EXAMINED = (0, 1, 2, 3, 5, 8, 12, 15, 20, 25, 29)


def cosine_rate(steps: int) -> Callable[[int], float]:
    """Return the linear warm-up over 100 steps, then half a cosine to 2 %."""

    def rate(step: int) -> float:
        wave = 1 + float(np.cos(np.pi * min(step / steps, 1)))
        return min((step + 1) / 100, 1.0) * (0.02 + 0.49 * wave)

    return rate
