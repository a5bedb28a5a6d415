"""Draw the clusters of a spectrum: which sites there are, where their atoms lie, and how they relax.

The coordination number of each sample is drawn first, then told apart what a site of it looks like
(`nearedge.models.parts.site`); atoms grow around it one by one (`nearedge.models.parts.growth`);
noise blurs the cluster a little, and the diffusion model takes it out of all atoms together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.answering.card import Card
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import Noise, encode_kinds
from nearedge.models.parts.growth import grow, take_chances, together
from nearedge.models.parts.site import SiteHead, given_by
from nearedge.models.parts.placement import Placement

#: Coordination numbers that are less likely than this are not drawn.
LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a quality costs: denoising steps, and the share of fresh noise at each."""

    steps: int
    eta: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Clusters of one spectrum, as they were drawn.

    Attributes
    ----------
    atoms
        (samples, atoms, 3 + species) on the CPU.
    cn
        (samples,) coordination numbers that they were drawn for, ascending.
    expected
        (samples, …) what was expected of each.
    """

    atoms: Tensor
    cn: Tensor
    expected: Expectation


class _Source:
    """Randomness of one spectrum, from its own seed and drawn on the CPU: alike on every device."""

    def __init__(self, seed: int, samples: int, card: Card) -> None:
        self.generator = torch.Generator().manual_seed(seed % 2**63)
        self._shape = samples, card.atoms, 3 + len(card.species)

    def noise(self) -> Tensor:
        """Draw standard normal noise of the samples' shape."""
        return torch.randn(self._shape, generator=self.generator)


def drawn_classes(log: Tensor, samples: int, *, generator: torch.Generator) -> Tensor:
    """Draw coordination classes (samples,), ascending, by logarithms of their odds (classes,).

    Systematic resampling: a class that is due k times is drawn k times or once more or less.
    """
    odds = log.double().softmax(0)
    shares = torch.where(odds < LEAST_SHARE, 0, odds).cumsum(0)
    steps = torch.arange(samples) + torch.rand(1, generator=generator, dtype=torch.float64)
    found = torch.searchsorted(shares, steps / samples * shares[-1])
    return found.clamp(max=len(odds) - 1)


class Drawing:
    """Draws clusters with the parts of a model.

    Parameters
    ----------
    card
        Of the weights.
    site, placement, denoise, noise
        The parts; the first stays on the CPU.
    device
        Where the others are.
    """

    def __init__(
        self,
        card: Card,
        *,
        site: SiteHead,
        placement: Placement,
        denoise: Callable[[Tensor, Tensor, Expectation], Tensor],
        noise: Noise,
        device: torch.device,
    ) -> None:
        self._card, self._device = card, device
        self._site, self._placement = site, placement
        self._denoise, self._noise = denoise, noise

    @torch.inference_mode()
    def __call__(
        self, expected: Sequence[Expectation], seeds: Sequence[int], *, samples: int, effort: Effort
    ) -> list[Drawn]:
        """Draw clusters for what is expected of each spectrum (a batch of one each)."""
        sources = [_Source(seed, samples, self._card) for seed in seeds]
        sites = [
            self._sites(one, samples, source)
            for one, source in zip(expected, sources, strict=True)
        ]
        told = descriptors.join([site for _, site in sites]).to(self._device)
        cn = torch.cat([classes for classes, _ in sites]).to(self._device)
        start = self._grown(told, cn, sources, samples)

        def noise() -> Tensor:
            return torch.cat([source.noise() for source in sources]).to(self._device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self._denoise(x, sigma.expand(len(x)), told)

        levels = self._noise.schedule(effort.steps)
        start = start + levels[0] * noise()
        moved = diffusion.draw(denoise, start, levels, eta=effort.eta, noise=noise).cpu()
        return [
            Drawn(atoms=atoms, cn=classes, expected=site)
            for atoms, (classes, site) in zip(moved.split(samples), sites, strict=True)
        ]

    def _sites(
        self, expected: Expectation, samples: int, source: _Source
    ) -> tuple[Tensor, Expectation]:
        """Draw coordination classes, and tell what a site of each is expected to be."""
        cn = drawn_classes(expected.cn[0], samples, generator=source.generator)
        kinds, which = cn.unique(return_inverse=True)
        site = self._site(expected.expand(len(kinds)), kinds)
        return cn, descriptors.tidy(site, species=len(self._card.species))[which]

    def _grown(
        self, told: Expectation, cn: Tensor, sources: Sequence[_Source], samples: int
    ) -> Tensor:
        """Grow clusters, (batch, atoms, 3 + species)."""
        card = self._card
        place = torch.tensor([card.species.index(a) for a, _ in card.edges], device=self._device)
        given = given_by(
            told,
            cn,
            absorber=place[told.edge],
            cutoffs=self._placement.get_buffer("cutoffs"),
            atoms=card.atoms,
        )
        chance = together(
            [take_chances(samples, card.atoms, generator=s.generator) for s in sources]
        ).to(self._device)
        positions = grow(
            self._placement, given, chance, temperature=float(card.placement["temperature"])
        )
        return torch.cat([positions, encode_kinds(given.kinds, len(card.species))], -1)
