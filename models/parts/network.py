"""The denoiser: an O(3)-equivariant network over an absorber and its numbered neighbours.

Messages are invariant functions of pairs; they weigh the spherical harmonics of the pair's
direction, and the sums meet in e3nn's tensor products at the atoms, not at the pairs (Batatia et
al., MACE, NeurIPS 2022). With some two dozen atoms every pair counts, so everything is a dense
(batch, atoms, atoms) tensor. Atoms are numbered by distance: see docs/decisions/0002-diffusion.md.
"""

from dataclasses import dataclass

import torch
from e3nn import o3
from torch import Tensor, nn
from torch.nn import functional

#: Radial functions reach to this distance in the network's own length unit, Å at small noise.
REACH = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSize:
    """Sizes of the denoiser.

    Attributes
    ----------
    atoms, species
        Neighbours of the absorber, and channels that say what each is.
    context
        Length of the vector that describes the spectrum.
    hints
        Numbers that the context says of each atom.
    channels, layers, radial, degree
        Width, depth, number of radial functions and highest degree of the spherical harmonics.
    """

    atoms: int
    species: int
    context: int
    hints: int
    channels: int = 32
    layers: int = 3
    radial: int = 12
    degree: int = 2


class Radial(nn.Module):
    """Gaussians of a distance, evenly spaced to `REACH`."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, REACH, n), persistent=False)
        self.width = REACH / (n - 1)

    def forward(self, r: Tensor) -> Tensor:
        """Turn distances (...) into features (..., n)."""
        centres: Tensor = self.get_buffer("centres")
        return torch.exp(-0.5 * ((r[..., None] - centres) / self.width) ** 2)


class NoiseEmbedding(nn.Module):
    """Fourier features of ln(sigma) / 4 (Karras et al. 2022)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        frequencies = 2.0 ** torch.linspace(-2, 4, n // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, noise: Tensor) -> Tensor:
        """Turn logarithms (batch,) into features (batch, n)."""
        phase = noise[:, None] * self.get_buffer("frequencies")
        return torch.cat([phase.sin(), phase.cos()], 1)


def _irreps(channels: int, degree: int) -> o3.Irreps:
    """Return channels of each degree with the parity of spherical harmonics, 0e + 1o + 2e."""
    return o3.Irreps([(channels, (degree_, (-1) ** degree_)) for degree_ in range(degree + 1)])


def _product(channels: int, degree: int) -> o3.TensorProduct:
    """Return products, channel by channel, that keep the parity of the spherical harmonics."""
    irreps = _irreps(channels, degree)
    paths: list[tuple[int, int, int, str, bool]] = []
    out: list[tuple[int, tuple[int, int]]] = []
    for a in range(degree + 1):
        for b in range(a, degree + 1):
            for c in range(b - a, min(a + b, degree) + 1):
                if (a + b + c) % 2 == 0 and (a, b) != (0, 0):
                    paths.append((a, b, len(out), "uuu", True))
                    out.append((channels, (c, (-1) ** c)))
    return o3.TensorProduct(irreps, irreps, o3.Irreps(out), paths)


class Modulation(nn.Module):
    """Scale and shift the channels by the context."""

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor, context: Tensor) -> Tensor:
        """Turn scalars (batch, n, channels) and context (batch, context) into scalars."""
        scale, shift = self.linear(context)[:, None].chunk(2, -1)
        out: Tensor = h * (1 + scale) + shift
        return out


class Layer(nn.Module):
    """One round: pairs to spherical sums, products at the atoms, an update of their scalars."""

    def __init__(self, size: NetworkSize, context: int) -> None:
        super().__init__()
        n, degree = size.channels, size.degree
        self.degree = degree
        self.modulation = Modulation(context, n)
        self.receive, self.send = nn.Linear(n, n), nn.Linear(n, n)
        self.radial = nn.Linear(size.radial, n, bias=False)
        self.message = nn.Linear(n, n)
        self.along = nn.Linear(n, 1, bias=False)
        self.mix = o3.Linear(_irreps(n, degree), _irreps(n, degree))
        self.product = _product(n, degree)
        self.gather = o3.Linear(self.product.irreps_out, o3.Irreps([(n, (0, 1)), (n, (1, -1))]))
        self.update = nn.Sequential(nn.Linear(3 * n, n), nn.SiLU(), nn.Linear(n, n))
        self.gate = nn.Linear(n, n)

    def forward(
        self, h: Tensor, pairs: Tensor, harmonics: Tensor, directions: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return new scalars (batch, n, c), vectors (batch, n, c, 3) and steps (batch, n, 3)."""
        x = self.modulation(h, context)
        m = self.receive(x)[:, :, None] + self.send(x)[:, None] + self.radial(pairs)
        m = functional.silu(self.message(functional.silu(m)))
        sums = torch.einsum("bijc,bijm->bimc", m, harmonics) * (m.shape[1] ** -0.5)
        a = self.mix(self._flatten(sums))
        b = self.gather(self.product(a, a))
        n = h.shape[-1]
        h = h + self.update(torch.cat([x, a[..., :n], b[..., :n]], -1))
        vectors = (b[..., n:] + a[..., n : 4 * n]).unflatten(-1, (n, 3))
        steps = (self.along(m) * directions).sum(2)
        return h, vectors * self.gate(h)[..., None], steps

    def _flatten(self, sums: Tensor) -> Tensor:
        """Bring (..., (degree + 1)², c) to e3nn's order: all channels of a degree together."""
        blocks = [
            sums[..., d * d : (d + 1) ** 2, :].transpose(-1, -2).flatten(-2)
            for d in range(self.degree + 1)
        ]
        return torch.cat(blocks, -1)


class Denoiser(nn.Module):
    """The raw network F of Karras et al. 2022, eq. 7: positions and species in and out."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.size = size
        n = size.channels
        self.radial, self.noise = Radial(size.radial), NoiseEmbedding(16)
        width = 2 * n
        self.context = nn.Sequential(
            nn.Linear(size.context + 16, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
            nn.SiLU(),
        )
        self.rank = nn.Parameter(torch.randn(size.atoms + 1, n) * 0.5)
        self.atom = nn.Linear(size.species + size.hints + 2, n)
        self.layers = nn.ModuleList(Layer(size, width) for _ in range(size.layers))
        self.vector = nn.Parameter(torch.randn(size.layers, n) * 0.1 / n**0.5)
        self.outward = nn.Linear(n, 2)
        self.species = nn.Sequential(nn.Linear(n, n), nn.SiLU(), nn.Linear(n, size.species))

    def forward(
        self, x: Tensor, kinds: Tensor, noise: Tensor, context: Tensor, hints: Tensor, gap: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Answer (batch, atoms, 3) and (batch, atoms, species), in units of the raw network.

        Parameters
        ----------
        x
            (batch, atoms, 3) scaled noisy positions, the absorber at the origin.
        kinds
            (batch, atoms, species) scaled noisy species channels.
        noise
            (batch,) ln(sigma) / 4.
        context
            (batch, context) what is known of the spectrum.
        hints
            (batch, atoms, hints) the same, atom by atom.
        gap
            (batch, atoms) expected distance from the absorber less the present one, in units of
            the noise: the network decides how far each atom gives in to it.
        """
        everything = functional.pad(x, (0, 0, 1, 0))
        vectors = everything[:, None] - everything[:, :, None]
        r = torch.sqrt((vectors**2).sum(-1) + 1e-8)
        pairs = self.radial(r)
        harmonics = self._harmonics(vectors, r)
        directions = vectors / (r[..., None] + 1.0)
        state = self.context(torch.cat([context, self.noise(noise)], 1))
        h = self._start(kinds, hints, r[:, 0, 1:])
        force = torch.zeros_like(everything)
        for layer, weight in zip(self.layers, self.vector, strict=True):
            h, v, step = layer(h, pairs, harmonics, directions, state)
            force = force + step + torch.einsum("bicx,c->bix", v, weight)
        outward, pull = self.outward(h[:, 1:]).split(1, -1)
        force = force[:, 1:] + x * outward + pull * gap[..., None] * directions[:, 0, 1:]
        return force, self.species(h[:, 1:])

    def _start(self, kinds: Tensor, hints: Tensor, r: Tensor) -> Tensor:
        known = torch.cat([kinds, hints, r[..., None], 1 / (1 + r[..., None])], -1)
        h: Tensor = self.rank + functional.pad(self.atom(known), (0, 0, 1, 0))
        return h

    def _harmonics(self, vectors: Tensor, r: Tensor) -> Tensor:
        """Return the Y_lm (batch, n, n, (degree + 1)²), damped where a direction has no meaning."""
        degrees = list(range(self.size.degree + 1))
        y = o3.spherical_harmonics(degrees, vectors, normalize=True, normalization="component")
        damped = [
            (r / (r + 0.1)).unsqueeze(-1) ** min(d, 1) for d in degrees for _ in range(2 * d + 1)
        ]
        out: Tensor = y * torch.cat(damped, -1)
        return out
