"""Messages of `bluesky.callbacks.zmq.Publisher` (``prefix SP name SP payload``), decoded safely."""

import json
from collections.abc import Callable
from typing import Any, Literal

import msgpack
import numpy as np
import orjson
from event_model import DocumentNames

from nearedge.streaming.sources import unpickle
from nearedge.streaming.sources.buffers import (
    Limits,
    MessageError,
    TooLargeError,
    UnsafeError,
    WireError,
    array_from,
    check_nesting,
    safe_dtype,
    scalar_from,
)

__all__ = [
    "Limits",
    "MessageError",
    "Serializer",
    "TooLargeError",
    "UnsafeError",
    "WireError",
    "decode",
]

Serializer = Literal["auto", "msgpack", "json", "pickle"]
NAMES = frozenset(name.value for name in DocumentNames)


def decode(
    frame: bytes,
    *,
    prefix: bytes = b"",
    serializer: Serializer = "auto",
    limits: Limits | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return name and document of one message.

    Parameters
    ----------
    frame
        The message as it was received.
    prefix
        What the publisher was given as its prefix.
    serializer
        How the publisher writes documents; ``auto`` looks at the first bytes. A pickle goes through
        a restricted unpickler, and so is never a way to run code.
    limits
        The limits on bytes, items, keys and nesting; those of `Limits` by default.

    Raises
    ------
    TooLargeError, UnsafeError, MessageError
        All of them `WireError`, hence `ValueError`.
    """
    limits = limits or Limits()
    if len(frame) > limits.max_bytes:
        raise TooLargeError(f"message of {len(frame)} bytes, {limits.max_bytes} are allowed")
    name, payload = _split(frame, prefix)
    kind = _recognise(payload) if serializer == "auto" else serializer
    try:
        doc = _LOADERS[kind](payload, limits=limits)
    except WireError as e:
        raise type(e)(f"{name} document ({kind}): {e}") from e
    if type(doc) is not dict or not all(type(key) is str for key in doc):
        raise MessageError(f"{name} document ({kind}): expected a map of names, found {_show(doc)}")
    return name, doc


def _split(frame: bytes, prefix: bytes) -> tuple[str, bytes]:
    head = prefix + b" "
    if not frame.startswith(head):
        raise MessageError(f"message {frame[:40]!r} does not begin with the prefix {prefix!r}")
    name, space, payload = frame[len(head) :].partition(b" ")
    if not space:
        raise MessageError(f"message {frame[:40]!r} is not of the form: prefix name document")
    if name.decode("ascii", "replace") not in NAMES:
        raise MessageError(f"unknown document name {name[:40]!r}: expected start, event, stop …")
    return name.decode(), payload


def _recognise(payload: bytes) -> str:
    """Tell the serialisers apart: each writes a map, and each marks one differently."""
    if payload[:1] == b"\x80" and payload[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if payload[:1] in (b"(", b"}"):  # a dict in the pickle protocols 0 and 1
        return "pickle"
    if payload.lstrip()[:1] == b"{":
        return "json"
    if payload and (0x80 <= payload[0] <= 0x8F or payload[0] in (0xDE, 0xDF)):
        return "msgpack"
    raise MessageError(f"payload beginning {payload[:16]!r} is no map in msgpack, JSON or pickle")


def decode_json(payload: bytes, *, limits: Limits) -> Any:
    """Return what JSON text holds; NaN and Infinity are numbers, as for Python's own json.

    Raises
    ------
    TooLargeError, MessageError
        If it is beyond the limits, or no JSON.
    """
    if len(payload) > limits.max_bytes:
        raise TooLargeError(f"JSON of {len(payload)} bytes, {limits.max_bytes} are allowed")
    try:
        tree = orjson.loads(payload)
    except orjson.JSONDecodeError as e:
        tree = _load_lax_json(payload, e)
    _check(tree, limits)
    return tree


def _load_lax_json(payload: bytes, error: Exception) -> Any:
    # Python's own json writes NaN and Infinity, which orjson refuses
    if b"NaN" not in payload and b"Infinity" not in payload:
        raise MessageError(f"not JSON: {error}") from error
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as e:
        raise MessageError(f"not JSON: {e}") from e


def decode_msgpack(payload: bytes, *, limits: Limits) -> Any:
    """Return what msgpack holds; the maps that msgpack_numpy writes become arrays.

    Raises
    ------
    TooLargeError, UnsafeError, MessageError
        If it is beyond the limits, holds Python objects, or is damaged.
    """

    def restore(item: dict) -> Any:
        return _restore_numpy(item, limits)

    try:
        tree = msgpack.unpackb(
            payload,
            object_hook=restore,
            strict_map_key=False,
            ext_hook=_refuse_extension,
            timestamp=1,  # seconds since the epoch, as every time in a document
        )
    except WireError:
        raise
    except Exception as e:  # damaged bytes fail in msgpack, in numpy or in hashing a key
        raise MessageError(f"not msgpack: {type(e).__name__}: {e}") from e
    _check(tree, limits)
    return tree


def _restore_numpy(item: dict, limits: Limits) -> Any:
    """Return what a map of msgpack_numpy stands for, without that library's call of pickle."""
    if type(item.get(b"nd")) is bool:
        return _array(item, limits) if item[b"nd"] else _scalar(item, limits)
    if item.get(b"complex") is True:
        return complex(str(item[b"data"])[:100])
    return item


def _array(item: dict, limits: Limits) -> np.ndarray:
    if item.get(b"kind") == b"O":
        raise UnsafeError("array of Python objects, which msgpack_numpy writes as a pickle")
    return array_from(item[b"data"], safe_dtype(item[b"type"]), item[b"shape"], limits=limits)


def _scalar(item: dict, limits: Limits) -> np.generic:
    return scalar_from(item[b"data"], safe_dtype(item[b"type"]), limits=limits)


def _refuse_extension(code: int, data: bytes) -> Any:
    raise UnsafeError(
        f"msgpack extension type {code}: only plain data and numpy arrays are admitted"
    )


def _check(tree: Any, limits: Limits) -> None:
    if type(tree) in (dict, list):
        check_nesting(tree, limits=limits)


def _show(item: object) -> str:
    return f"{type(item).__name__} {item!r:.60}"


_LOADERS: dict[str, Callable[..., Any]] = {
    "json": decode_json,
    "msgpack": decode_msgpack,
    "pickle": unpickle.loads,
}
