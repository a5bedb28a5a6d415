"""Diffusion over atoms: preconditioning, loss and samplers after Karras et al., NeurIPS 2022.

Positions carry Gaussian noise in Å; species are one-hot channels of ±`KIND_SCALE` Å that carry the
same noise (analog bits: Chen, Zhang & Hinton, ICLR 2023). The absorber at the origin carries none.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts.network import Denoiser, NetworkSize

#: Distance of a species channel from 0, Å, so that positions and species drown at like noise.
KIND_SCALE = 1.5
#: Least uncertainty of an expected radius that the network is told, Å.
SPREAD_FLOOR = 0.01

Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise levels: data's own scale, lowest and highest level (Å), and Karras's rho.

    The highest is that of sampling, which starts from grown clusters.
    """

    sigma_data: float = 2.0
    sigma_min: float = 0.02
    sigma_max: float = 0.15
    rho: float = 7.0

    def schedule(self, steps: int) -> list[float]:
        """Return ``steps`` levels from the highest to the lowest, then 0 (eq. 5)."""
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        share = [i / max(steps - 1, 1) for i in range(steps)]
        return [(top + s * (bottom - top)) ** self.rho for s in share] + [0.0]


class Diffusion(nn.Module):
    """The denoiser D(x; sigma) of eq. 7: noisy atoms in, expected clean atoms out.

    Parameters
    ----------
    size
        The size of the network; its ``context`` and ``hints`` follow from species and edges.
    edges
        How many (absorber, edge) pairs there are.
    noise
        Noise levels.
    """

    def __init__(self, size: NetworkSize, *, edges: int, noise: Noise) -> None:
        super().__init__()
        self.size, self.edges, self.noise = size, edges, noise
        d = descriptors.count(size.species)
        self.register_buffer("centre", torch.zeros(edges, d))
        self.register_buffer("scale", torch.ones(edges, d))
        self.net = Denoiser(size)

    def forward(self, atoms: Tensor, sigma: Tensor, expected: Expectation) -> Tensor:
        """Denoise.

        Parameters
        ----------
        atoms
            (batch, atoms, 3 + species) Å, noisy.
        sigma
            (batch,) Å.
        expected
            What the spectrum says of each cluster.
        """
        data = self.noise.sigma_data
        s = sigma[:, None, None]
        norm = torch.sqrt(s**2 + data**2)
        scaled = atoms * (data / norm)
        context = descriptors.context(
            expected,
            centre=self.get_buffer("centre"),
            scale=self.get_buffer("scale"),
            edges=self.edges,
        )
        gap, hints = self._hints(atoms[..., :3], sigma, expected)
        force, kinds = self.net(
            scaled[..., :3],
            scaled[..., 3:] / KIND_SCALE,
            sigma.log() / 4,
            context,
            hints,
            gap,
        )
        raw = torch.cat([force, kinds], -1)
        return atoms * (data / norm) ** 2 + raw * (s * data / norm)

    def _hints(
        self, positions: Tensor, sigma: Tensor, expected: Expectation
    ) -> tuple[Tensor, Tensor]:
        """Return each atom's gap to its expected radius over the noise, and what is expected."""
        radius, spread, kind = descriptors.by_rank(
            expected, species=self.size.species, atoms=self.size.atoms
        )
        spread = spread.clamp(min=SPREAD_FLOOR)
        gap = radius - torch.sqrt((positions**2).sum(-1) + 1e-8)
        noisy = torch.sqrt(sigma[:, None] ** 2 + SPREAD_FLOOR**2)
        told = [torch.tanh(gap / noisy), torch.tanh(gap / spread), radius - 3, spread.log()]
        return (gap / noisy).clamp(-3, 3), torch.cat([torch.stack(told, -1), kind], -1)


#: Columns of the hints before the species.
HINTS = 4


def build(
    *,
    species: int,
    edges: int,
    atoms: int,
    channels: int,
    layers: int,
    radial: int = 12,
    degree: int = 2,
    noise: Noise,
) -> Diffusion:
    """Make the diffusion model for a vocabulary of species and a number of edges."""
    size = NetworkSize(
        atoms=atoms,
        species=species,
        context=descriptors.context_size(species, edges),
        hints=HINTS + species,
        channels=channels,
        layers=layers,
        radial=radial,
        degree=degree,
    )
    return Diffusion(size, edges=edges, noise=noise)


def encode_kinds(index: Tensor, species: int) -> Tensor:
    """Return species (batch, atoms) as channels of ±`KIND_SCALE`, (batch, atoms, species)."""
    return (2 * functional.one_hot(index, species) - 1).float() * KIND_SCALE


def rank_weights(atoms: int) -> Tensor:
    """Weigh near atoms more, for they are what the spectrum fixes: (atoms,), mean 1."""
    weight = 1 / (0.5 + torch.arange(atoms) / 12)
    return weight / weight.mean()


def loss(
    model: Diffusion,
    atoms: Tensor,
    expected: Expectation,
    *,
    generator: torch.Generator,
    log_mean: float = -0.6,
    log_spread: float = 1.4,
) -> Tensor:
    """Return the denoising loss, weighted by 1 / c_out² (eq. 8), for log-normal noise levels.

    Parameters
    ----------
    model
        The denoiser.
    atoms
        (batch, atoms, 3 + species) clean.
    expected
        What the spectrum says of each cluster.
    generator
        Source of noise, on the CPU.
    log_mean, log_spread
        The mean and the spread of ln(sigma), sigma in Å.
    """
    device = atoms.device
    levels = torch.randn(len(atoms), generator=generator) * log_spread + log_mean
    noise = torch.randn(atoms.shape, generator=generator).to(device)
    sigma = levels.exp().to(device)
    denoised = model(atoms + sigma[:, None, None] * noise, sigma, expected)
    data = model.noise.sigma_data
    weight = (sigma**2 + data**2) / (sigma * data) ** 2
    error = ((denoised - atoms) ** 2).mean(-1) * rank_weights(atoms.shape[1]).to(device)
    out: Tensor = (error.mean(1) * weight).mean()
    return out


def draw(
    denoise: Denoise,
    start: Tensor,
    sigmas: Sequence[float],
    *,
    eta: float = 0.0,
    noise: Callable[[], Tensor] | None = None,
) -> Tensor:
    """Draw samples with DPM-Solver++(2M), or its SDE form where ``eta`` is above 0.

    Lu et al., arXiv 2211.01095, in Karras's variables; ``eta`` 1 is the reverse SDE.

    Parameters
    ----------
    denoise
        D(x, sigma), sigma a scalar tensor.
    start
        Noisy atoms: clean ones and noise of the first level.
    sigmas
        Falling noise levels, 0 last.
    eta
        Share of fresh noise at each step.
    noise
        Gives standard normal noise of the same shape; needed where ``eta`` is above 0.
    """
    x, last, last_step = start, None, 0.0
    levels = torch.tensor(sigmas, dtype=torch.float64)
    for now, after in pairwise(levels):
        clean = denoise(x, now.to(x))
        if after == 0:
            return clean
        step = math.log(float(now / after))
        target = clean
        if last is not None:
            target = clean + (clean - last) * (step / (2 * last_step))
        decay = math.exp(-(1 + eta) * step)
        x = decay * x + (1 - decay) * target
        if eta > 0 and noise is not None:
            x = x + float(after) * math.sqrt(-math.expm1(-2 * eta * step)) * noise()
        last, last_step = clean, step
    return x
