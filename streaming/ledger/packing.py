"""The central values as bytes and back: what the ledger stores and processes pass on. No pickle."""

from collections.abc import Callable
from dataclasses import fields
from enum import Enum, IntEnum
from typing import Any

import msgpack
import numpy as np

from nearedge.callbacks.block import Block, MapEnd, MapLayout
from nearedge.callbacks.measurement import Gap, Measurement, Run
from nearedge.callbacks.recognise import Dark
from nearedge.models import (
    Estimates,
    Interval,
    Inversion,
    NormalisedSpectrum,
    Quality,
    Reason,
    Rejected,
    Samples,
    Spectrum,
    Technique,
)
from nearedge.models.answering.pixels import PixelAnswers
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.findings import MapFindings
from nearedge.models.maps.groups import Groups
from nearedge.models.maps.image import ScanAxis
from nearedge.models.maps.representative import Representative

VERSION = 1
VALUES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        *(Run, Measurement, Gap, Dark),
        *(Spectrum, NormalisedSpectrum, Rejected),
        *(Interval, Samples, Estimates, Inversion),
        *(Technique, Reason, Quality),
        *(
            Block,
            MapEnd,
            MapLayout,
            ScanAxis,
            Spectra,
            PixelAnswers,
            Groups,
            Representative,
            MapFindings,
        ),
    )
}


class PackError(ValueError):
    """A value that has no packed form, or bytes that hold none."""


class Code(IntEnum):
    """Extension types of msgpack, one for each type that msgpack itself does not tell apart."""

    VALUE = 1
    MEMBER = 2
    ARRAY = 3
    OBJECTS = 4
    SCALAR = 5
    TUPLE = 6
    SET = 7
    FROZENSET = 8
    BIGINT = 9
    COMPLEX = 10
    BYTEARRAY = 11


def pack(value: object) -> bytes:
    """Return the bytes from which `unpack` makes the same value again.

    Parameters
    ----------
    value
        A central value (`Measurement`, `NormalisedSpectrum`, `Rejected`, `Inversion` …) or plain
        data: builtins, numpy arrays and scalars, nested in any way.

    Raises
    ------
    PackError
        If part of it is of another type.
    """
    return _dump([VERSION, value])


def unpack(data: bytes) -> Any:
    """Return the value that was packed; its arrays own their memory.

    Raises
    ------
    PackError
        If the bytes are damaged, or were written by a later version.
    """
    try:
        version, value = _load(data)
    except PackError:
        raise
    except Exception as e:  # damaged bytes fail in msgpack, numpy or a constructor alike
        raise PackError(f"these {len(data)} bytes are no packed value: {e}") from e
    if version != VERSION:
        raise PackError(
            f"packed by version {version!r} of this format, this program reads {VERSION}: "
            "use the version of nearedge that wrote it"
        )
    return value


def _dump(item: object) -> bytes:
    try:
        return msgpack.packb(
            item, default=_encode, strict_types=True, unicode_errors="surrogatepass"
        )
    except ValueError as e:  # nested too deep, or too large
        raise PackError(str(e)) from e


def _load(data: bytes) -> Any:
    return msgpack.unpackb(
        data, ext_hook=_decode, strict_map_key=False, unicode_errors="surrogatepass"
    )


def _encode(item: Any) -> Any:
    if VALUES.get(type(item).__name__) is type(item):
        return _encode_value(item)
    if type(item) in _ENCODERS:
        code, content = _ENCODERS[type(item)]
        return msgpack.ExtType(code, _dump(content(item)))
    if isinstance(item, np.generic):
        return msgpack.ExtType(Code.SCALAR, _dump([_descr(item.dtype), item.tobytes()]))
    if isinstance(item, np.ndarray):
        return _encode_array(item)
    return _as_builtin(item)


def _as_builtin(item: Any) -> Any:
    for kind in _BUILTINS:  # a foreign sub-class, such as a client's kind of dict
        if isinstance(item, kind):
            return kind(item)
    raise PackError(f"cannot pack {type(item).__qualname__}: only nearedge's values and plain data")


def _encode_value(item: Any) -> msgpack.ExtType:
    name = type(item).__name__
    if isinstance(item, Enum):
        return msgpack.ExtType(Code.MEMBER, _dump([name, item.value]))
    content = {f.name: getattr(item, f.name) for f in fields(item)}
    return msgpack.ExtType(Code.VALUE, _dump([name, content]))


def _encode_array(array: np.ndarray) -> msgpack.ExtType:
    if array.dtype == object:
        return msgpack.ExtType(Code.OBJECTS, _dump([array.shape, list(array.flat)]))
    if array.dtype.hasobject:
        raise PackError(f"cannot pack an array of {array.dtype}: it holds objects in a structure")
    return msgpack.ExtType(Code.ARRAY, _dump([_descr(array.dtype), array.shape, array.tobytes()]))


def _descr(dtype: np.dtype) -> Any:
    return np.lib.format.dtype_to_descr(dtype)


def _decode(code: int, data: bytes) -> Any:
    return _DECODERS[Code(code)](_load(data))


def _value(content: list) -> Any:
    name, attributes = content
    return VALUES[name](**attributes)


def _member(content: list) -> Any:
    name, value = content
    return VALUES[name](value)


def _array(content: list) -> np.ndarray:
    descr, shape, data = content
    dtype = np.lib.format.descr_to_dtype(descr)
    return np.ndarray(shape, dtype, bytearray(data))


def _objects(content: list) -> np.ndarray:
    shape, items = content
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _scalar(content: list) -> np.generic:
    descr, data = content
    return np.frombuffer(data, np.lib.format.descr_to_dtype(descr))[0]


_BUILTINS: tuple[type[Any], ...] = (dict, list, tuple, str, bytes, int, float)
_ENCODERS: dict[type, tuple[Code, Callable[[Any], Any]]] = {
    tuple: (Code.TUPLE, list),
    set: (Code.SET, list),
    frozenset: (Code.FROZENSET, list),
    int: (Code.BIGINT, str),  # only those that msgpack finds too large come here
    complex: (Code.COMPLEX, lambda x: [x.real, x.imag]),
    bytearray: (Code.BYTEARRAY, bytes),
}
_DECODERS: dict[Code, Callable[[Any], Any]] = {
    Code.VALUE: _value,
    Code.MEMBER: _member,
    Code.ARRAY: _array,
    Code.OBJECTS: _objects,
    Code.SCALAR: _scalar,
    Code.TUPLE: tuple,
    Code.SET: set,
    Code.FROZENSET: frozenset,
    Code.BIGINT: int,
    Code.COMPLEX: lambda x: complex(*x),
    Code.BYTEARRAY: bytearray,
}
