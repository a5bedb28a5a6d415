"""Rectangles that cover pixels of a map, each to be written by one request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 4096
"""Pixels of a chunk, at most, unless another number is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Box:
    """A rectangle.

    Attributes
    ----------
    offset, size
        Where it begins and how large it is along each axis.
    rows
        Numbers of the pixels that fill it, the last axis running fastest.
    """

    offset: tuple[int, ...]
    size: tuple[int, ...]
    rows: NDArray[np.intp]


def boxes(places: NDArray[np.int64], shape: Sequence[int]) -> Iterator[Box]:
    """Yield the rectangles that cover some pixels, few where these are neighbours.

    Parameters
    ----------
    places
        (p,) where the pixels lie, counted through, in any order.
    shape
        Of the map.
    """
    order = np.argsort(places, kind="stable")
    cuts = np.flatnonzero(np.diff(places[order]) != 1) + 1
    for rows in np.split(order, cuts):
        at = 0
        for offset, size in _cover(int(places[rows[0]]), int(places[rows[-1]]) + 1, tuple(shape)):
            count = int(np.prod(size))
            yield Box(offset=offset, size=size, rows=rows[at : at + count])
            at += count


def _cover(
    start: int, stop: int, shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield offset and size of the rectangles of a run of pixels, in their order."""
    if len(shape) == 1:
        yield (start,), (stop - start,)
        return
    inner = int(np.prod(shape[1:]))
    if start % inner == 0 and stop - start >= inner:
        lines = (stop - start) // inner
        yield (start // inner, *(0,) * (len(shape) - 1)), (lines, *shape[1:])
        start += lines * inner
    while start < stop:
        line = start // inner
        end = min((line + 1) * inner, stop)
        for offset, size in _cover(start - line * inner, end - line * inner, shape[1:]):
            yield (line, *offset), (1, *size)
        start = end
        if stop - start >= inner:
            yield from _cover(start, stop, shape)
            return


def chunks_of(shape: Sequence[int], *, most: int = MOST) -> tuple[int, ...]:
    """Return the size of a chunk along each axis: it divides the axis, as Tiled's storage wants."""
    found, count = [], 1
    for size in reversed(shape):
        room = max(1, most // count)
        part = max(k for k in range(1, min(size, room) + 1) if size % k == 0)
        found.append(part)
        count = count * part if part == size else most
    return tuple(reversed(found))
