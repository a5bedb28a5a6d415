"""Numpy arrays out of untrusted bytes, and the limits that documents from the network keep."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Bytes: TypeAlias = bytes | bytearray | memoryview
MEGABYTE = 1_000_000
_ADMITTED = "only numbers, booleans, times and text are admitted"
_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iuf]\d+|c\d+|[SUV][1-9]\d*|[Mm]8(\[\d*\w+\])?)")


class WireError(ValueError):
    """A message that is no document: its text says what was found."""


class TooLargeError(WireError):
    """A message beyond the limits on bytes, items or nesting."""


class UnsafeError(WireError):
    """A message that asks for more than plain data and numpy arrays."""


class MessageError(WireError):
    """A message that is damaged, or is no document at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one message may hold.

    Attributes
    ----------
    max_bytes
        Length of the frame; what it unfolds to may be `unfold` times that.
    max_items
        Values in all its lists and maps.
    max_depth
        Nesting of lists and maps.
    max_keys
        Entries of any one map: of a document, or of its data.
    unfold
        Bytes in memory for each byte of ``max_bytes``: a pickle may name one value many times.
    """

    max_bytes: int = 64 * MEGABYTE
    max_items: int = 4_000_000
    max_depth: int = 64
    max_keys: int = 50_000
    unfold: int = 8


def safe_dtype(descr: Any) -> np.dtype:
    """Return the dtype that a string or a list of fields describes; objects are refused.

    Parameters
    ----------
    descr
        As in `numpy.dtype.str`, or a list ``(name, descr[, shape])`` for a structured type.

    Raises
    ------
    UnsafeError
        If it is anything else, in particular a type that holds Python objects.
    """
    if isinstance(descr, bytes):
        descr = descr.decode("ascii", "replace")
    if isinstance(descr, str) and _PLAIN_DTYPE.fullmatch(descr):
        return np.dtype(descr)
    if isinstance(descr, list | tuple):
        return np.dtype([_field(f) for f in descr])
    raise UnsafeError(f"array of type {descr!r:.80}: {_ADMITTED}")


def _field(field: Any) -> tuple:
    name, descr, *shape = field
    name = name.decode() if isinstance(name, bytes) else name
    return (name, safe_dtype(descr), *(tuple(s) for s in shape))


def array_from(
    data: Bytes, dtype: np.dtype, shape: Iterable[int], *, limits: Limits, order: Any = "C"
) -> np.ndarray:
    """Return a view of the bytes as an array, if they are exactly that array's.

    Parameters
    ----------
    data
        The elements.
    shape, order
        As in `numpy.ndarray`.

    Raises
    ------
    UnsafeError
        If the type holds Python objects.
    MessageError
        If shape and length don't agree.
    TooLargeError
        If the shape alone is beyond the limits, as (10**18, 0) is.
    """
    shape = tuple(shape)
    if dtype.hasobject:
        raise UnsafeError(f"array of Python objects: {_ADMITTED}")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise MessageError(f"array shape {shape!r:.80}: expected whole numbers from 0")
    if math.prod(max(n, 1) for n in shape) > limits.max_bytes:
        raise TooLargeError(f"array shape {shape!r:.80} is beyond {limits.max_bytes} elements")
    given, needed = memoryview(data).nbytes, math.prod(shape) * dtype.itemsize
    if given != needed or not dtype.itemsize:
        raise MessageError(f"array of {dtype} {shape} needs {needed} bytes and has {given}")
    return np.ndarray(shape, dtype, data if needed else None, order=order)


def scalar_from(data: Bytes, dtype: np.dtype, *, limits: Limits) -> np.generic:
    """Return the numpy scalar that the bytes hold; errors as in `array_from`."""
    return array_from(data, dtype, (1,), limits=limits)[0]


def check_keys(node: dict, *, limits: Limits) -> None:
    """Raise `TooLargeError` for a map of more entries than the limits allow."""
    if len(node) > limits.max_keys:
        raise TooLargeError(f"map of {len(node)} keys, {limits.max_keys} are allowed")


def check_nesting(tree: Any, *, limits: Limits) -> None:
    """Raise `TooLargeError` for a tree of lists and maps beyond the limits on nesting and counts.

    Level by level rather than by recursion, so that no tree can exhaust the stack.
    """
    level, items = [tree], 0
    for _ in range(limits.max_depth):
        inner: list[Any] = []
        for node in level:
            items += len(node)
            if type(node) is dict:
                check_keys(node, limits=limits)
            inner += [
                x
                for x in (node.values() if type(node) is dict else node)
                if type(x) is list or type(x) is dict
            ]
        if items > limits.max_items:
            raise TooLargeError(
                f"{items} values or more in one document, {limits.max_items} are allowed"
            )
        if not inner:
            return
        level = inner
    raise TooLargeError(f"lists and maps nested more than {limits.max_depth} deep")
