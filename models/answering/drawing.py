"""Draw the clusters of a spectrum: which sites there are, and where their atoms lie.

A spectrum is an average over sites. So the coordination number of each sample is drawn first, then
it is told apart what a site of it looks like (`nearedge.models.parts.site`). Known surroundings
that agree with that are blurred, and the diffusion model takes the noise out of all atoms together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.answering.card import Card
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import Noise
from nearedge.models.parts.library import Library
from nearedge.models.parts.site import SiteHead

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
        (samples, atoms, 3 + species), those that were denoised first.
    cn
        (samples,) coordination numbers that they were drawn for, ascending.
    expected
        (samples, …) what was expected of each.
    """

    atoms: Tensor
    cn: Tensor
    expected: Expectation


def draw_classes(log: Tensor, samples: int, *, generator: torch.Generator) -> Tensor:
    """Draw coordination classes (samples,), ascending, by logarithms of their odds (classes,).

    Systematic resampling: a class that is due k times is drawn k times or once more or less.
    """
    odds = log.double().softmax(0)
    shares = torch.where(odds < LEAST_SHARE, 0, odds).cumsum(0)
    steps = torch.arange(samples) + torch.rand(1, generator=generator, dtype=torch.float64)
    found = torch.searchsorted(shares, steps / samples * shares[-1])
    return found.clamp(max=len(odds) - 1)


class _Sites:
    """Samples of one spectrum before they are denoised, and their own randomness.

    It is drawn on the CPU, alike on every device.
    """

    def __init__(
        self,
        expected: Expectation,
        seed: int,
        *,
        samples: int,
        atoms: int,
        site: SiteHead,
        library: Library,
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed % 2**63)
        self.cn = draw_classes(expected.cn[0], samples, generator=self._generator)
        kinds, counts = self.cn.unique(return_counts=True)
        told = site(expected.expand(len(kinds)), kinds)
        told = descriptors.tidy(told, species=site.species)
        self.expected = descriptors.join(
            [told[k : k + 1].expand(count) for k, count in enumerate(counts.tolist())]
        )
        drawn = [
            library.draw(told[k : k + 1], count, atoms=atoms, generator=self._generator)
            for k, count in enumerate(counts.tolist())
        ]
        common = min(far.shape[1] for _, far in drawn)
        self.near = torch.cat([near for near, _ in drawn])
        self.far = torch.cat([far[:, :common] for _, far in drawn])

    def noise(self) -> Tensor:
        """Draw standard normal noise of the shape of ``near``."""
        return torch.randn(self.near.shape, generator=self._generator)


class Drawing:
    """Draws clusters with the parts of a model.

    Parameters
    ----------
    card
        Of the weights.
    site, library
        Parts that stay on the CPU.
    denoise, noise
        The diffusion model and its noise levels.
    device
        Where it is.
    """

    def __init__(
        self,
        card: Card,
        *,
        site: SiteHead,
        library: Library,
        denoise: Callable[[Tensor, Tensor, Expectation], Tensor],
        noise: Noise,
        device: torch.device,
    ) -> None:
        self._card, self._device = card, device
        self._site, self._library = site, library
        self._denoise, self._noise = denoise, noise

    @torch.inference_mode()
    def __call__(
        self, expected: Sequence[Expectation], seeds: Sequence[int], *, samples: int, effort: Effort
    ) -> list[Drawn]:
        """Draw clusters for what is expected of each spectrum (a batch of one each)."""
        sites = [
            _Sites(
                one,
                seed,
                samples=samples,
                atoms=self._card.atoms,
                site=self._site,
                library=self._library,
            )
            for one, seed in zip(expected, seeds, strict=True)
        ]
        told = descriptors.join([one.expected for one in sites]).to(self._device)

        def noise() -> Tensor:
            return torch.cat([one.noise() for one in sites]).to(self._device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self._denoise(x, sigma.expand(len(x)), told)

        levels = self._noise.schedule(effort.steps)
        start = torch.cat([one.near for one in sites]).to(self._device) + levels[0] * noise()
        moved = diffusion.draw(denoise, start, levels, eta=effort.eta, noise=noise).cpu()
        return [
            Drawn(atoms=torch.cat([near, one.far], 1), cn=one.cn, expected=one.expected)
            for near, one in zip(moved.split(samples), sites, strict=True)
        ]
