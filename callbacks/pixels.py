"""Frames that hold a spectrum for each pixel of a map."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from nearedge.callbacks.columns import Point, is_whole
from nearedge.callbacks.instrument import Roles

SIGNALS = ("spectrum", "mu", "it", "i0")
NAMES = ("row", "column")


def pixels_of(points: Sequence[Point], roles: Roles) -> tuple[int, ...]:
    """Return the shape (rows, columns …) of the map that each whole reading holds, else ()."""
    if not is_whole(points, roles):
        return ()
    named = [getattr(roles, role) for role in SIGNALS]
    found = [np.squeeze(p.values[k]).shape[:-1] for p in points for k in named if k in p.values]
    return next((shape for shape in found if len(shape) > 1), ())


def by_pixel(
    points: Sequence[Point], shape: tuple[int, ...]
) -> Iterator[tuple[dict[str, float], list[Point]]]:
    """Yield where each pixel lies, and the readings with its spectra alone."""
    names = NAMES if len(shape) == len(NAMES) else tuple(f"axis_{k}" for k in range(len(shape)))
    for index in np.ndindex(*shape):
        where = dict(zip(names, map(float, index), strict=True))
        yield where, [_of_pixel(point, shape, index) for point in points]


def _of_pixel(point: Point, shape: tuple[int, ...], index: tuple[int, ...]) -> Point:
    size = math.prod(shape)
    maps = {k: v for k, v in point.values.items() if np.squeeze(v).shape[:-1] == shape}
    at = int(np.ravel_multi_index(index, shape))
    one = {key: value.reshape(size, -1)[at] for key, value in maps.items()}
    return replace(point, values={**point.values, **one})
