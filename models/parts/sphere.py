"""Directions: even grids over the sphere, and the von Mises-Fisher distribution about one."""

import math

import torch
from torch import Tensor
from torch.nn import functional

#: ln of the sphere's surface: a uniform density over directions is exp(-LOG_SPHERE).
LOG_SPHERE = math.log(4 * math.pi)


def even_directions(n: int) -> Tensor:
    """Return directions (n, 3) that lie evenly, on a spiral (Fibonacci lattice)."""
    i = torch.arange(n) + 0.5
    polar, azimuth = torch.arccos(1 - 2 * i / n), math.pi * (1 + 5**0.5) * i
    sine = polar.sin()
    return torch.stack([azimuth.cos() * sine, azimuth.sin() * sine, polar.cos()], -1)


def grid_spacing(n: int) -> float:
    """Return the angle between neighbours of `even_directions`, radians."""
    return math.sqrt(4 * math.pi / n)


def random_rotations(n: int, *, generator: torch.Generator) -> Tensor:
    """Return the random rotations (n, 3, 3), from unit quaternions."""
    w, x, y, z = functional.normalize(torch.randn(n, 4, generator=generator), dim=1).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def scatter(centre: Tensor, width: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """Draw directions about others from von Mises-Fisher distributions.

    Parameters
    ----------
    centre
        (..., 3) unit vectors.
    width
        (...) about the angular standard deviation along each of two axes, radians.
    n
        How many about each.

    Returns
    -------
        (..., n, 3) unit vectors.
    """
    inverse = width.square()[..., None]
    uniform = torch.rand(*width.shape, n, generator=generator)
    # the cosine's distribution function inverts in closed form on the sphere (Ulrich 1984)
    cosine = 1 + inverse * torch.log(uniform + (1 - uniform) * torch.exp(-2 / inverse))
    aside = torch.randn(*width.shape, n, 3, generator=generator)
    return _tilted(centre, cosine, aside)


def in_cap(centre: Tensor, radius: float, uniform: Tensor, aside: Tensor) -> Tensor:
    """Spread directions evenly over a cap about others.

    Parameters
    ----------
    centre
        (..., 3) unit vectors.
    radius
        The radius of the cap, radians.
    uniform, aside
        (..., n) uniform and (..., n, 3) normally distributed random numbers.

    Returns
    -------
        (..., n, 3) unit vectors.
    """
    return _tilted(centre, 1 - uniform * (1 - math.cos(radius)), aside)


def _tilted(centre: Tensor, cosine: Tensor, aside: Tensor) -> Tensor:
    """Tilt ``centre`` (..., 3) by angles of given cosines (..., n) towards (..., n, 3)."""
    centre, cosine = centre[..., None, :], cosine.clamp(-1, 1)
    aside = functional.normalize(aside - (aside * centre).sum(-1, keepdim=True) * centre, dim=-1)
    return cosine[..., None] * centre + (1 - cosine**2).sqrt()[..., None] * aside


def log_scatter(directions: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """Return the logarithm of the density of `scatter`, (..., n), at directions (..., n, 3)."""
    sharpness = 1 / width.square()[..., None]
    cosine = (directions * centre[..., None, :]).sum(-1)
    norm = torch.log(sharpness / (2 * math.pi)) - torch.log1p(-torch.exp(-2 * sharpness))
    return sharpness * (cosine - 1) + norm
