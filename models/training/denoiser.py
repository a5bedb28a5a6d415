"""Train the denoiser on clusters with a spectrum and on many more without one.

A cluster without a spectrum borrows the error that the encoder makes for a like cluster which has
one and whose family the encoder's members never saw. So the denoiser learns, from as many clusters
as wanted, how true clusters scatter around what the encoder expects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import Site
from nearedge.models.data.rattle import RattledCluster, Rattling, draw_cluster, site_weights
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import Diffusion
from nearedge.models.training.descent import Descent
from nearedge.models.training.encoders import Targets
from nearedge.models.training.recipe import DenoiserRecipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Clusters as tensors: (n, atoms, 3 + species), edges (n,), descriptors (n, d), CN (n,)."""

    atoms: Tensor
    edge: Tensor
    described: Tensor
    cn: Tensor


def as_clusters(
    sites: Sequence[Site | RattledCluster],
    *,
    atoms: int,
    vocabulary: Sequence[str],
    edges: Sequence[tuple[str, str]],
) -> Clusters:
    """Cut clusters to their nearest atoms and describe them.

    Raises
    ------
    ValueError
        If a cluster has fewer atoms, or a species that the vocabulary lacks.
    """
    pair = {e: k for k, e in enumerate(edges)}
    for site in sites:
        _check(site, atoms, vocabulary)
    species = np.stack([site.species[:atoms] for site in sites])
    kinds = torch.from_numpy(descriptors.numbers(species, vocabulary))
    positions = torch.from_numpy(np.stack([site.positions[:atoms] for site in sites])).float()
    described = [
        descriptors.describe(s.absorber, s.species, s.positions, vocabulary=vocabulary)
        for s in sites
    ]
    cn = [descriptors.cn_class(s.absorber, s.species, s.positions) for s in sites]
    return Clusters(
        atoms=torch.cat([positions, diffusion.encode_kinds(kinds, len(vocabulary))], -1),
        edge=torch.tensor([pair[s.absorber, s.edge] for s in sites]),
        described=torch.from_numpy(np.array(described)).float(),
        cn=torch.tensor(cn),
    )


def _check(site: Site | RattledCluster, atoms: int, vocabulary: Sequence[str]) -> None:
    if len(site.species) < atoms:
        raise ValueError(
            f"a cluster around {site.absorber} has {len(site.species)} atoms, the model needs "
            f"{atoms}: store more neighbours or lower atoms in the recipe"
        )
    if unknown := {str(s) for s in site.species} - set(vocabulary):
        raise ValueError(
            f"a cluster holds {', '.join(sorted(unknown))}, the recipe's species are "
            f"{', '.join(vocabulary)}: add what is missing"
        )


def draw_pool(
    sites: Sequence[Site],
    count: int,
    *,
    rng: np.random.Generator,
    edges: Sequence[tuple[str, str]],
    rattling: Rattling,
) -> list[RattledCluster]:
    """Draw random clusters around sites whose edge the model knows."""
    known = [s for s in sites if (s.absorber, s.edge) in edges]
    weights = site_weights(known, rattling)
    return [draw_cluster(known, weights, rng, rattling) for _ in range(count)]


def find_donors(pool: Clusters, labelled: Clusters, *, scale: Tensor, donors: int) -> Tensor:
    """Return the most similar labelled clusters of its edge for each of the pool, (n, donors).

    Parameters
    ----------
    pool, labelled
        Without and with spectra.
    scale
        (edges, d) standard deviations of the descriptors.
    donors
        How many.
    """
    out = torch.zeros(len(pool.atoms), donors, dtype=torch.long)
    for k in range(len(scale)):
        own = torch.nonzero(labelled.edge == k)[:, 0]
        members = torch.nonzero(pool.edge == k)[:, 0]
        given = (labelled.described[own] / scale[k]).nan_to_num()
        for part in torch.split(members, 2048):
            wanted = (pool.described[part] / scale[k]).nan_to_num()
            apart = torch.cdist(wanted, given) ** 2 / wanted.shape[1]
            apart += (pool.cn[part, None] != labelled.cn[own]).float()
            out[part] = own[apart.topk(min(donors, len(own)), largest=False).indices]
    return out


def borrow(truth: Tensor, donor: Tensor, expected: Expectation, noise: Tensor) -> Expectation:
    """Give a cluster an expectation that errs as the one of its donor does.

    Parameters
    ----------
    truth, donor
        (batch, d) descriptors of the cluster and of its donor; NaN where undefined.
    expected
        What the encoder expects of the donor.
    noise
        (batch, d) standard normal, for descriptors that the donor has not.
    """
    error = torch.where(donor.isnan(), noise * expected.spread, expected.mean - donor)
    mean = torch.where(truth.isnan(), expected.mean, truth + error)
    return Expectation(mean, expected.spread, expected.cn, expected.edge)


def nothing(edge: Tensor, centre: Tensor, scale: Tensor) -> Expectation:
    """Return what is expected without a spectrum: the mean over the training data."""
    even = torch.full(
        (len(edge), descriptors.EXPECTED_CN_CLASSES),
        -float(np.log(descriptors.EXPECTED_CN_CLASSES)),
    )
    return Expectation(centre[edge], scale[edge], even, edge)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """All that the denoiser learns from.

    Attributes
    ----------
    labelled, pool
        Clusters with and without spectra.
    donors
        (pool, donors) rows of ``labelled``.
    expected
        For each view of the spectra what blind members expect of the labelled clusters.
    """

    labelled: Clusters
    pool: Clusters
    donors: Tensor
    expected: list[Expectation]

    def batch(
        self, rng: np.random.Generator, recipe: DenoiserRecipe, centre: Tensor, scale: Tensor
    ) -> tuple[Tensor, Expectation]:
        """Draw clean clusters and what is expected of them."""
        size = recipe.batch
        real = round(size * recipe.labelled)
        told = size - round(size * recipe.dropped)
        rows = torch.from_numpy(rng.integers(0, len(self.labelled.atoms), real))
        loose = torch.from_numpy(rng.integers(0, len(self.pool.atoms), size - real))
        pick = torch.from_numpy(rng.integers(0, self.donors.shape[1], len(loose)))
        lenders = self.donors[loose, pick]
        views = rng.integers(0, len(self.expected), size)
        noise = torch.from_numpy(rng.standard_normal((size - real, centre.shape[1]))).float()
        own = self._views(views[:real], rows)
        lent = borrow(
            self.pool.described[loose],
            self.labelled.described[lenders],
            self._views(views[real:], lenders),
            noise,
        )
        atoms = torch.cat([self.labelled.atoms[rows], self.pool.atoms[loose]])
        expected = descriptors.join([own, lent])
        order = torch.from_numpy(rng.permutation(size))
        atoms, expected = atoms[order], expected[order]
        blank = nothing(expected.edge[told:], centre, scale)
        return atoms, descriptors.join([expected[:told], blank])

    def _views(self, views: NDArray[np.int64], rows: Tensor) -> Expectation:
        parts = [self.expected[v][r : r + 1] for v, r in zip(views, rows.tolist(), strict=True)]
        return descriptors.join(parts)


def make_lesson(
    sites: Sequence[Site],
    pool: Sequence[RattledCluster],
    expected: list[Expectation],
    known: Targets,
    *,
    atoms: int,
    vocabulary: Sequence[str],
    edges: Sequence[tuple[str, str]],
    scale: Tensor,
    donors: int,
) -> Lesson:
    """Put together what the denoiser learns from; see `Lesson`."""
    labelled = as_clusters(sites, atoms=atoms, vocabulary=vocabulary, edges=edges)
    loose = as_clusters(pool, atoms=atoms, vocabulary=vocabulary, edges=edges)
    return Lesson(
        labelled=labelled,
        pool=loose,
        donors=find_donors(loose, labelled, scale=scale, donors=donors),
        expected=expected,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenoiserExam:
    """Clusters of families that are not learned from, and what is expected of each.

    Attributes
    ----------
    atoms
        (n, atoms, 3 + species).
    expected
        What is expected from one view of each cluster's spectrum.
    """

    atoms: Tensor
    expected: Expectation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenoiserTraining:
    """A training under way: what is learned, and how far the descent has come.

    Every step's randomness follows from the seed and the step's number alone.
    """

    descent: Descent[Diffusion]
    lesson: Lesson
    exam: DenoiserExam
    recipe: DenoiserRecipe
    seed: int
    device: torch.device

    @classmethod
    def start(
        cls,
        model: Diffusion,
        lesson: Lesson,
        *,
        exam: DenoiserExam,
        recipe: DenoiserRecipe,
        seed: int,
        device: torch.device,
    ) -> "DenoiserTraining":
        """Begin at step 0."""
        descent = Descent.start(
            model.to(device),
            rate=recipe.rate,
            decay=recipe.decay,
            ema=recipe.ema,
            schedule=_rate(recipe.steps, recipe.restart),
        )
        return cls(
            descent=descent, lesson=lesson, exam=exam, recipe=recipe, seed=seed, device=device
        )

    def advance(self) -> float:
        """Make one step and return its loss."""
        model = self.descent.model
        rng = np.random.default_rng([self.seed, self.descent.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        centre, scale = model.get_buffer("centre").cpu(), model.get_buffer("scale").cpu()
        atoms, expected = self.lesson.batch(rng, self.recipe, centre, scale)
        model.train()
        return self.descent.descend(self._loss(model, atoms, expected, generator))

    @torch.no_grad()
    def examine(self) -> float:
        """Return the loss of the averaged weights on the exam, with the same noise each time."""
        generator, exam = torch.Generator().manual_seed(self.seed), self.exam
        model = self.descent.average()
        losses = [
            len(rows) * float(self._loss(model, exam.atoms[rows], exam.expected[rows], generator))
            for rows in torch.split(torch.arange(len(exam.atoms)), self.recipe.batch)
        ]
        return sum(losses) / len(exam.atoms)

    def _loss(
        self, model: Diffusion, atoms: Tensor, expected: Expectation, generator: torch.Generator
    ) -> Tensor:
        expected = descriptors.tidy(expected, species=model.size.species)
        return diffusion.loss(
            model,
            atoms.to(self.device),
            expected.to(self.device),
            generator=generator,
            log_mean=self.recipe.log_mean,
            log_spread=self.recipe.log_spread,
        )


def _rate(steps: int, restart: int) -> Callable[[int], float]:
    """Return the linear warm-up over 200 steps, then half a cosine to 2 %.

    Until ``restart`` the cosine is that of a training which ends there (Loshchilov & Hutter, SGDR,
    ICLR 2017).
    """
    return lambda step: (
        min((step + 1) / 200, 1.0) * _cosine(step / (restart if 0 < step <= restart else steps))
    )


def _cosine(share: float) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * min(share, 1.0))))
