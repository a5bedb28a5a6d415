"""Rotation-invariant numbers of a cluster: pair and triple densities around the absorber.

Neighbours of each species are smeared over shells; the shells' spherical-harmonic moments multiply
to a power spectrum (Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115 (2013), eq. 36). The pairs of
atoms that scatter a photoelectron once, and the triples that scatter it twice, are in it, weighted
down with distance as scattering is. The numbers don't change under rotation, reflection and the
exchange of like atoms.
"""

import torch
from e3nn import o3
from torch import Tensor

#: Shells of pairs, and how far they reach, Å.
PAIR_SHELLS, PAIR_SPAN = 30, (1.2, 6.0)
#: Shells of triples, and how far they reach, Å.
TRIPLE_SHELLS, TRIPLE_SPAN = 10, (1.4, 4.5)
#: Highest degree of the spherical harmonics.
DEGREE = 4
#: A typical bond, Å: scattering falls with the square of distance over this.
BOND = 1.6


def _envelope(r: Tensor, reach: float) -> Tensor:
    """Fall with the square of the distance, and smoothly to 0 at ``reach``."""
    inside = 0.5 * (1 + torch.cos(torch.pi * (r / reach).clamp(max=1)))
    return inside * (BOND / r) ** 2


def _shells(r: Tensor, count: int, span: tuple[float, float], width: float) -> Tensor:
    centres = torch.linspace(*span, count, dtype=r.dtype, device=r.device)
    apart = (r[..., None] - centres) / (width * (centres[1] - centres[0]))
    return torch.exp(-0.5 * apart**2)


def _root(value: Tensor) -> Tensor:
    """Return the signed square root: a product of two densities in the units of one."""
    return value.sign() * value.abs().sqrt()


def invariants(positions: Tensor, kinds: Tensor, *, species: int) -> tuple[Tensor, Tensor]:
    """Describe clusters.

    Parameters
    ----------
    positions
        (n, atoms, 3) Å, the absorber at the origin.
    kinds
        (n, atoms) number of each atom's species.
    species
        How many species there are.

    Returns
    -------
        Pair numbers (n, species * 30), and triple numbers (n, 4 k (k + 1) / 2), k = species * 10.
    """
    r = positions.norm(dim=-1).clamp(min=0.5)
    own = torch.nn.functional.one_hot(kinds, species).to(r.dtype)
    pair = _shells(r, PAIR_SHELLS, PAIR_SPAN, 1.2) * _envelope(r, PAIR_SPAN[1])[..., None]
    near = _shells(r, TRIPLE_SHELLS, TRIPLE_SPAN, 1.0)
    near = near * _envelope(r, TRIPLE_SPAN[1] + 0.5)[..., None]
    y = o3.spherical_harmonics(
        list(range(DEGREE + 1)), positions, normalize=True, normalization="integral"
    )
    moments = torch.einsum("nar,nas,nam->nsrm", near, own, y).flatten(1, 2)
    k = moments.shape[1]
    i, j = torch.triu_indices(k, k)
    powers = []
    for degree in range(1, DEGREE + 1):
        part = moments[..., degree**2 : (degree + 1) ** 2]
        products = torch.einsum("nim,njm->nij", part, part) / (2 * degree + 1) ** 0.5
        powers.append(_root(products[:, i, j]))
    return torch.einsum("nar,nas->nsr", pair, own).flatten(1), torch.cat(powers, 1)
