"""Train the part that tells the sites of an average apart, on averages whose sites are known."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation, join
from nearedge.models.data.views import Bank
from nearedge.models.parts.site import SiteHead
from nearedge.models.training.encoders import Targets
from nearedge.models.training.recipe import SiteRecipe


def train_site_head(
    bank: Bank,
    known: Targets,
    expected: Sequence[Expectation],
    *,
    recipe: SiteRecipe,
    centre: Tensor,
    scale: Tensor,
    seed: int,
) -> SiteHead:
    """Train on random sites of random averages.

    Parameters
    ----------
    bank, known
        Views of the training spectra, and what is true of their sites.
    expected
        For each view what members of the ensemble expect that never saw a site's family.
    recipe
        Sizes and steps.
    centre, scale
        (edges, d) mean and standard deviation of the descriptors.
    seed
        Of weights and batches.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    edges, d = centre.shape
    species = descriptors.species_in(d)
    head = SiteHead(species, edges, width=recipe.width, dropout=recipe.dropout)
    head.get_buffer("centre").copy_(centre)
    head.get_buffer("scale").copy_(scale)
    told = join([descriptors.tidy(e, species=species) for e in expected])
    members, shares = (part.reshape(-1, part.shape[-1]) for part in (bank.members, bank.shares))
    described, cn = torch.from_numpy(known.described).float(), torch.from_numpy(known.cn)
    optimiser = torch.optim.AdamW(head.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    importance = descriptors.importance(d)
    for _ in range(recipe.steps):
        rows = rng.integers(0, len(members), recipe.batch)
        sites = torch.from_numpy(drawn(members[rows], shares[rows], rng))
        found = head(told[torch.from_numpy(rows)], cn[sites])
        loss = site_loss(found, described[sites], scale, importance)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return head.eval()


def drawn(
    members: NDArray[np.int64], shares: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw one site of each average by its share, (rows,)."""
    ends = shares.cumsum(1)
    place = (ends < rng.random((len(ends), 1)) * ends[:, -1:]).sum(1)
    return np.asarray(members[np.arange(len(members)), place.clip(max=members.shape[1] - 1)])


def site_loss(found: Expectation, truth: Tensor, scale: Tensor, importance: Tensor) -> Tensor:
    """Negative log-likelihood of sites' descriptors (batch, d), as of the encoder's."""
    unit = scale[found.edge]
    off = ((found.mean - truth) / unit).nan_to_num()
    spread = found.spread / unit
    likelihood = (0.5 * (off / spread) ** 2 + spread.log()) * spread.detach()
    weights = ~truth.isnan() * importance
    out: Tensor = (likelihood * weights).sum() / weights.sum()
    return out
