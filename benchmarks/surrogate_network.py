"""Train an equivariant network that leads back from clusters to spectra, and say how far it errs.

python -m benchmarks.surrogate_network OUT.pt [--epochs 30]

The network (e3nn) passes messages between the absorber and its 60 nearest atoms, and gives the
spectrum as principal components. It learns from all sites of `train`, silicon and oxygen together;
a stopped training goes on from OUT.pt. Then it is asked for the spectra of `val`, whose families it
never saw, and its errors are printed beside those of the Gaussian process that the weights hold
(here of all sites of `train`, with the 30 nearest atoms), of the mean of the two, and of the mean
spectrum: root-mean-square over the grid, edge steps, median over sites.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from e3nn import o3
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.aside import written_aside
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.views import Mixture, make_bank, usable
from nearedge.models.parts.network import Layer, NetworkSize, Radial
from nearedge.models.training.surrogates import as_tensors, fit

DATA = Path(__file__).parent / "data" / "siox.parquet"
ELEMENTS = ("O", "Si")
ATOMS, NEAREST, PROCESS_ATOMS = 60, 12, 30
COMPONENTS = 40
BATCH, RATE, DECAY = 16, 2e-3, 1e-3
#: Messages to the absorber are weighed down with the square of the distance over this, Å.
NEAR = 1.6
#: Kinds of sites with fewer are not printed.
LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Sites and their spectra; the first axis of all is the site.

    Attributes
    ----------
    positions, kinds, absorber
        (n, atoms, 3) Å, (n, atoms) and (n,) places in `ELEMENTS`.
    spectra
        (n, grid) on the model's grid.
    """

    positions: Tensor
    kinds: Tensor
    absorber: Tensor
    spectra: Tensor


def clusters(sites: Sequence[Site]) -> Clusters:
    positions, kinds = as_tensors(sites, atoms=ATOMS, vocabulary=ELEMENTS)
    bank = make_bank(sites, views=1, seed=0, mix=Mixture())
    return Clusters(
        positions=positions.float(),
        kinds=kinds,
        absorber=torch.tensor([ELEMENTS.index(s.absorber) for s in sites]),
        spectra=torch.from_numpy(bank.values[0]),
    )


class Round(Layer):
    """A layer of the denoiser's kind, from some atoms to others."""

    def between(
        self, h: Tensor, near: Tensor, pairs: Tensor, harmonics: Tensor, context: Tensor
    ) -> Tensor:
        """Return new scalars of the first m atoms, (batch, m, c).

        Parameters
        ----------
        h
            (batch, n, c) scalars of all atoms.
        near
            (batch, m, k) whose messages each of the first m receives.
        pairs, harmonics
            (batch, m, k, ...) radial functions and spherical harmonics of their distances.
        context
            (batch, c) what is known of the cluster as a whole.
        """
        x = self.modulation(h, context)
        own = x[:, : near.shape[1]]
        batch = torch.arange(len(h))[:, None, None]
        m = self.receive(own)[:, :, None] + self.send(x)[batch, near] + self.radial(pairs)
        m = functional.silu(self.message(functional.silu(m)))
        sums = torch.einsum("bijc,bijm->bimc", m, harmonics) * (m.shape[2] ** -0.5)
        a = self.mix(self._flatten(sums))
        b = self.gather(self.product(a, a))
        n = h.shape[-1]
        update: Tensor = self.update(torch.cat([own, a[..., :n], b[..., :n]], -1))
        return h[:, : near.shape[1]] + update


class Forward(nn.Module):
    """From a cluster to the principal components of its spectrum."""

    def __init__(self, *, channels: int = 32, radial: int = 16, fine: int = 40) -> None:
        super().__init__()
        size = {"atoms": ATOMS, "species": 2, "context": 0, "hints": 0, "channels": channels}
        self.radial, self.fine = Radial(radial), Radial(fine)
        self.absorber = nn.Embedding(len(ELEMENTS), channels)
        self.kind = nn.Embedding(len(ELEMENTS) + 1, channels)  # the last is the absorber
        self.far = nn.Linear(fine, channels)
        round_ = NetworkSize(**size, radial=radial)
        self.rounds = nn.ModuleList(Round(round_, channels) for _ in range(2))
        self.centre = Round(NetworkSize(**size, radial=fine), channels)
        self.out = nn.Sequential(
            nn.Linear(2 * channels, 128), nn.SiLU(), nn.Linear(128, COMPONENTS)
        )

    def forward(self, positions: Tensor, kinds: Tensor, absorber: Tensor) -> Tensor:
        """Return (batch, `COMPONENTS`), of clusters as in `Clusters`."""
        x = functional.pad(positions, (0, 0, 1, 0))
        context = self.absorber(absorber)
        h = self.kind(functional.pad(kinds, (1, 0), value=len(ELEMENTS)))
        h = h + self.far(self.fine(x.norm(dim=-1)))
        near = torch.cdist(x, x).topk(NEAREST + 1, largest=False).indices[..., 1:]
        vectors = x[torch.arange(len(x))[:, None, None], near] - x[:, :, None]
        pairs, harmonics = self.radial(vectors.norm(dim=-1)), _harmonics(vectors)
        for one in self.rounds:
            h = one.between(h, near, pairs, harmonics, context)
        every = torch.arange(1, x.shape[1]).expand(len(x), 1, -1)
        r = positions.norm(dim=-1)[:, None]
        weighed = _harmonics(positions[:, None]) * (NEAR / r[..., None]) ** 2
        centre = self.centre.between(h, every, self.fine(r), weighed, context)[:, 0]
        found: Tensor = self.out(torch.cat([centre, context], -1))
        return found


def _harmonics(vectors: Tensor) -> Tensor:
    return o3.spherical_harmonics([0, 1, 2], vectors, normalize=True, normalization="component")


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Principal components of the spectra of each absorber.

    Attributes
    ----------
    mean, modes
        (absorbers, grid) and (absorbers, components, grid), the modes scaled by how much they vary.
    """

    mean: Tensor
    modes: Tensor

    @classmethod
    def of(cls, known: Clusters) -> "Components":
        """Find the components of known spectra."""
        means, modes = [], []
        for k in range(len(ELEMENTS)):
            own = known.spectra[known.absorber == k]
            means.append(own.mean(0))
            _, size, vectors = torch.linalg.svd(own - means[-1], full_matrices=False)
            modes.append(vectors[:COMPONENTS] * size[:COMPONENTS, None] / len(own) ** 0.5)
        return cls(mean=torch.stack(means), modes=torch.stack(modes))

    def spectra(self, amounts: Tensor, absorber: Tensor) -> Tensor:
        """Return the spectra (batch, grid) of amounts (batch, components)."""
        return self.mean[absorber] + torch.einsum("bc,bcg->bg", amounts, self.modes[absorber])


def trained(known: Clusters, parts: Components, path: Path, *, epochs: int) -> Forward:
    """Train the network, going on from a file where there is one."""
    torch.manual_seed(0)
    net = Forward()
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    done = 0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["epochs"]
    for epoch in range(done, epochs):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.5 + 0.5 * math.cos(math.pi * epoch / epochs) + 0.01)
        losses = []
        order = torch.randperm(len(known.absorber), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(BATCH):
            absorber = known.absorber[rows]
            amounts = net(known.positions[rows], known.kinds[rows], absorber)
            off = parts.spectra(amounts, absorber) - known.spectra[rows]
            loss = off.square().mean(1).sqrt().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
        print(f"epoch {epoch + 1} of {epochs}: {np.mean(losses):.4f}", flush=True)
        state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "epochs": epoch + 1}
        with written_aside(path) as part:
            torch.save(state, part)
    return net.eval()


@torch.inference_mode()
def by_network(net: Forward, parts: Components, asked: Clusters) -> Tensor:
    rows = torch.arange(len(asked.absorber)).split(BATCH)
    amounts = [net(asked.positions[r], asked.kinds[r], asked.absorber[r]) for r in rows]
    return parts.spectra(torch.cat(amounts), asked.absorber)


def by_process(known: Clusters, asked: Clusters) -> Tensor:
    found = torch.empty_like(asked.spectra)
    for k in range(len(ELEMENTS)):
        own, rows = known.absorber == k, asked.absorber == k
        learned = (known.positions[own, :PROCESS_ATOMS].double(), known.kinds[own, :PROCESS_ATOMS])
        process = fit(*learned, known.spectra[own].numpy(), species=len(ELEMENTS))
        where = (asked.positions[rows, :PROCESS_ATOMS], asked.kinds[rows, :PROCESS_ATOMS])
        found[rows] = process(*where, species=len(ELEMENTS))[0]
    return found


def error(found: Tensor, asked: Clusters) -> np.ndarray:
    """Root-mean-square error of each spectrum, edge steps."""
    return (found - asked.spectra).square().mean(1).sqrt().numpy()


def kinds_of(sites: Sequence[Site]) -> dict[str, np.ndarray]:
    """Part sites by absorber, and by where their crystals come from and their coordination."""
    parts: dict[str, list[int]] = defaultdict(list)
    for k, site in enumerate(sites):
        parts[f"{site.absorber} K"].append(k)
        parts[f"{site.absorber} K, {site.group}, {site.cn}-fold"].append(k)
    return {name: np.array(parts[name]) for name in sorted(parts) if len(parts[name]) >= LEAST}


def main() -> None:
    """Train the network, and print how far spectra of unknown families are off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sites = {
        split: [s for s in usable(read_dataset(DATA, split=split)) if len(s.species) >= ATOMS]
        for split in ("train", "val")
    }
    known, asked = clusters(sites["train"]), clusters(sites["val"])
    parts = Components.of(known)
    net = trained(known, parts, options.out, epochs=options.epochs)
    network, process = by_network(net, parts, asked), by_process(known, asked)
    found = {
        "mean spectrum": parts.mean[asked.absorber],
        "process": process,
        "network": network,
        "mean of both": (network + process) / 2,
    }
    errors = {name: error(one, asked) for name, one in found.items()}
    print("| sites of `val` | " + " | ".join(["number", *errors]) + " |")
    for name, rows in kinds_of(sites["val"]).items():
        medians = " | ".join(f"{np.median(one[rows]):.3f}" for one in errors.values())
        print(f"| {name} | {len(rows)} | {medians} |")


if __name__ == "__main__":
    main()
