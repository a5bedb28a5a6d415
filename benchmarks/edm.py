"""The diffusion model that live inversion is compared with in speed: EDM at its published size.

E(n)-equivariant graph network and ancestral sampler written from Hoogeboom, Garcia Satorras,
Vignac & Welling, "Equivariant Diffusion for Molecule Generation in 3D", ICML 2022 (section 3 and
appendix B): 9 layers of 256 features over all pairs of atoms, 1000 denoising steps, the spectrum
appended to every atom's features as context. Its weights are random: only its cost is measured.
"""

import torch
from torch import Tensor, nn

FEATURES, LAYERS, STEPS = 256, 9, 1000


def _mlp(inputs: int, outputs: int, *, features: int, last: bool) -> nn.Sequential:
    """Two linear maps with SiLU between them, and after them unless they are the last word."""
    layers = [nn.Linear(inputs, features), nn.SiLU(), nn.Linear(features, outputs)]
    return nn.Sequential(*layers, *([] if last else [nn.SiLU()]))


class Layer(nn.Module):
    """One equivariant block: messages between all atoms, then features and places move."""

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        pair = 2 * features + 2
        self.message = _mlp(pair, features, features=features, last=False)
        self.gate = nn.Sequential(nn.Linear(features, 1), nn.Sigmoid())
        self.update = _mlp(2 * features, features, features=features, last=True)
        self.push = nn.Sequential(
            _mlp(pair, features, features=features, last=False), nn.Linear(features, 1)
        )
        nn.init.xavier_uniform_(self.push[1].weight, gain=0.001)  # a small first move

    def forward(self, h: Tensor, x: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Move features (samples, atoms, f) and places (samples, atoms, 3); eqs. 12 and 13."""
        apart = x[:, :, None] - x[:, None]
        squared = apart.square().sum(-1, keepdim=True)
        atoms = h.shape[1]
        a = h[:, :, None].expand(-1, -1, atoms, -1)
        pair = torch.cat([a, a.transpose(1, 2), squared, first], -1)
        other = 1 - torch.eye(atoms)[None, :, :, None]
        message = self.message(pair)
        received = (other * self.gate(message) * message).sum(2)
        h = h + self.update(torch.cat([h, received], -1))
        pair = torch.cat([h[:, :, None].expand_as(a), h[:, None].expand_as(a), squared, first], -1)
        push = other * apart / (squared.sqrt() + 1) * self.push(pair)
        return h, x + push.sum(2)


class Network(nn.Module):
    """The noise that EDM predicts for atoms (samples, atoms, 3 + species) at a time in 0 … 1."""

    def __init__(self, *, species: int, context: int) -> None:
        super().__init__()
        self.enter = nn.Linear(species + 1 + context, FEATURES)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.leave = nn.Linear(FEATURES, species)

    def forward(self, z: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Predict the noise of z."""
        x, kinds = z[..., :3], z[..., 3:]
        told = torch.cat([time.reshape(1), context]).expand(*z.shape[:2], -1)
        h, start = self.enter(torch.cat([kinds, told], -1)), x
        first = (x[:, :, None] - x[:, None]).square().sum(-1, keepdim=True)
        for layer in self.layers:
            h, x = layer(h, x, first)
        moved = x - start
        return torch.cat([moved - moved.mean(1, keepdim=True), self.leave(h)], -1)


def _alpha(time: Tensor) -> Tensor:
    """Signal left at a time: the polynomial schedule of appendix B, clipped."""
    return ((1 - 2e-5) * (1 - time**2) + 1e-5).clamp(1e-5, 1 - 1e-5)


@torch.inference_mode()
def sample(network: Network, *, samples: int, atoms: int, context: Tensor, steps: int) -> Tensor:
    """Take the first so many of the 1000 ancestral steps (algorithm 2)."""
    z = torch.randn(samples, atoms, 3 + network.leave.out_features)
    for step in range(STEPS, STEPS - steps, -1):
        t, s = torch.tensor(step / STEPS), torch.tensor((step - 1) / STEPS)
        ratio = _alpha(t) / _alpha(s)
        variance, earlier = 1 - _alpha(t) ** 2, 1 - _alpha(s) ** 2
        added = variance - ratio**2 * earlier
        noise = network(z, t, context)
        mean = z / ratio - added / (ratio * variance.sqrt()) * noise
        z = mean + (added * earlier / variance).sqrt() * torch.randn_like(z)
    return z
