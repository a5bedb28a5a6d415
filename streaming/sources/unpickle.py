"""A restricted unpickler: builtin data, numpy arrays, and of anything else the bare content.

Most beamlines still publish pickle, and a pickle is a program. Here it is scanned before it runs
(`scan`): operations that data never need are refused, and so are lengths and memo indices that
would exhaust memory. When it then runs, no class or function of any module is within its reach:
each name that it may ask for is answered by a stand-in, and the arrays are built at the end from
what the stand-ins recorded. A class that is not known becomes text, numbers and containers
(`nearedge.streaming.sources.foreign`); names of modules that run programs are refused.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn, TypeGuard

import numpy as np

from nearedge.streaming.sources.buffers import (
    Limits,
    MessageError,
    TooLargeError,
    UnsafeError,
    WireError,
    array_from,
    check_keys,
    safe_dtype,
    scalar_from,
)
from nearedge.streaming.sources.foreign import (
    LONGEST_NAME,
    Foreign,
    content,
    foreign_type,
    is_admitted,
    name_of,
)


def loads(data: bytes, *, limits: Limits) -> Any:
    """Return the plain data that a pickle holds; arrays are read-only views of their bytes.

    Raises
    ------
    UnsafeError
        If it asks for anything of a module that runs programs, or for more of numpy than arrays,
        scalars and dtypes.
    TooLargeError
        If it is, or would unfold to, more than the limits allow.
    MessageError
        If it is damaged.
    """
    try:
        scan(data, limits=limits)
        return _Restricted(data, limits).load()
    except WireError:
        raise
    except MemoryError as e:
        raise TooLargeError(
            f"pickle of {len(data)} bytes asks for more memory than there is"
        ) from e
    except Exception as e:  # a damaged pickle raises whatever its operations raise
        raise MessageError(f"damaged pickle: {type(e).__name__}: {e}") from e


# ---- the scanner: one pass over the operations, none of them executed ----

_FIXED = {  # operation: bytes of its argument
    **dict.fromkeys(b"(N0120.asbetldu})]", 0),
    **dict.fromkeys(b"\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94R", 0),
    **{ord("J"): 4, ord("K"): 1, ord("M"): 2, ord("G"): 8},
    **{ord("h"): 1, ord("j"): 4, 0x80: 1, 0x95: 8},
}
del _FIXED[ord("2")]  # DUP: no pickler writes it
_PREFIXED = {  # operation: bytes of the length that stands before its argument
    **{ord("U"): 1, ord("T"): 4, ord("C"): 1, ord("B"): 4, 0x8E: 8, 0x96: 8},
    **{0x8C: 1, ord("X"): 4, 0x8D: 8, 0x8A: 1, 0x8B: 4},
}
_LINES = {ord("I"): 1, ord("L"): 1, ord("F"): 1, ord("S"): 1, ord("V"): 1, ord("g"): 1, ord("c"): 2}
_PUTS = {ord("q"): 1, ord("r"): 4}
_PUT, _STOP, _LONG4 = ord("p"), ord("."), 0x8B
_NUMBERS = b"IL"
_TUPLES = b"\x85\x86\x87t"
_MAX_DIGITS = 4000
# hashing a tuple recurses in C without a guard: a hundred thousand nested ones end the process
_MAX_TUPLES = 20_000
_MAX_FOREIGN = 64  # classes that one message may name


def scan(data: bytes, *, limits: Limits) -> None:
    """Raise a `WireError` unless the bytes are a whole pickle made of harmless operations."""
    if len(data) > limits.max_bytes:
        raise TooLargeError(f"pickle of {len(data)} bytes, {limits.max_bytes} are allowed")
    at = operations = tuples = 0
    try:
        while (op := data[at]) != _STOP:
            operations += 1
            tuples += op in _TUPLES
            size = _FIXED.get(op)
            at += 1 + (size if size is not None else _argument(data, at, op, operations))
            if operations > limits.max_items:
                raise TooLargeError(f"pickle of more than {limits.max_items} values")
    except IndexError:
        raise MessageError(f"pickle of {len(data)} bytes has no end") from None
    if tuples > _MAX_TUPLES:
        raise TooLargeError(f"pickle of {tuples} tuples, {_MAX_TUPLES} are allowed")
    if at + 1 != len(data):
        raise MessageError(f"{len(data) - at - 1} bytes after the end of the pickle")


def _argument(data: bytes, at: int, op: int, operations: int) -> int:
    """Return the bytes of the argument of an operation whose argument needs a look."""
    if op in _PREFIXED:
        return _prefixed(data, at, op)
    if op in _LINES:
        return _lines(data, at, op)
    if op in _PUTS:
        size = _PUTS[op]
        _check_memo(int.from_bytes(data[at + 1 : at + 1 + size], "little"), operations)
        return size
    if op == _PUT:
        size = _lines(data, at, op)
        _check_memo(int(data[at + 1 : at + size]), operations)
        return size
    raise UnsafeError(
        f"pickle operation {bytes([op])!r}, which plain data do not need, at byte {at}"
    )


def _prefixed(data: bytes, at: int, op: int) -> int:
    prefix = _PREFIXED[op]
    length = int.from_bytes(data[at + 1 : at + 1 + prefix], "little")
    if at + 1 + prefix + length > len(data):
        raise MessageError(f"pickle of {len(data)} bytes announces {length} more at byte {at}")
    if op == _LONG4 and length > _MAX_DIGITS:
        raise TooLargeError(f"whole number of {length} bytes in a pickle")
    return prefix + length


def _lines(data: bytes, at: int, op: int) -> int:
    end = at
    for _ in range(_LINES.get(op, 1)):
        end = data.find(b"\n", end + 1)
        if end < 0:
            raise MessageError(f"pickle of {len(data)} bytes ends within a line")
    if op in _NUMBERS and end - at > _MAX_DIGITS:
        raise TooLargeError(f"whole number of {end - at} digits in a pickle")
    return end - at


def _check_memo(index: int, operations: int) -> None:
    # the memo is an array: one large index would allocate everything below it
    if index > operations:
        raise TooLargeError(f"pickle stores value {index} after {operations} operations")


# ---- the stand-ins: what the names of a pickle mean here ----


class _Callable:
    """A function that a pickle can call and cannot change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise UnsafeError(f"pickle sets attribute {name!r:.40} of a function")


class _Dtype:
    """Records a dtype: a real one can be brought into states that crash numpy."""

    __slots__ = ("_dtype",)

    def __init__(self, dtype: np.dtype) -> None:
        self._dtype = dtype

    def __setstate__(self, state: tuple) -> None:
        _, order, subarray, names, members, itemsize, *_ = state
        if names is not None:
            self._dtype = np.dtype(_structure(names, members, itemsize))
        elif subarray is not None:
            base, shape = subarray
            self._dtype = np.dtype((base.resolve(), shape))
        elif self._dtype.kind in "Mm":
            unit, number, *_ = state[-1][-1]
            self._dtype = safe_dtype(f"{order}{self._dtype.kind}8[{number}{unit.decode()}]")
        else:
            self._dtype = self._dtype.newbyteorder(order)

    def resolve(self) -> np.dtype:
        return self._dtype


def _structure(names: tuple[str, ...], members: dict[str, tuple], itemsize: int) -> Any:
    return {
        "names": list(names),
        "formats": [members[name][0].resolve() for name in names],
        "offsets": [members[name][1] for name in names],
        "itemsize": itemsize,
    }


class _Array:
    """Records the state of an array, which arrives after the array itself."""

    __slots__ = ("_state",)

    def __setstate__(self, state: tuple) -> None:
        self._state = state

    def resolve(self, *, limits: Limits) -> np.ndarray:
        state = self._state
        if isinstance(state[0], tuple):  # a sub-class puts something of its own beside it
            state = state[0]
        _, shape, dtype, fortran, data = state
        if not isinstance(data, bytes):
            raise UnsafeError(f"array made of a {type(data).__name__}: expected its bytes")
        return array_from(
            data, dtype.resolve(), shape, limits=limits, order="F" if fortran else "C"
        )


class _Masked:
    """Records the state of a masked array."""

    __slots__ = ("_state",)

    def __setstate__(self, state: tuple) -> None:
        self._state = state

    def resolve(self, *, limits: Limits) -> np.ndarray:
        """Return the numbers, NaN where they are masked."""
        _, shape, dtype, fortran, data, mask, *_ = self._state
        order = "F" if fortran else "C"
        values = array_from(data, dtype.resolve(), shape, limits=limits, order=order)
        hidden = array_from(mask, np.dtype(bool), shape, limits=limits, order=order)
        if values.dtype.kind not in "biuf" or not hidden.any():
            return values
        return np.where(hidden, np.nan, values)


_NDARRAY = _Callable(lambda *_: _refuse("a bare numpy.ndarray"))
_MASKED = _Callable(lambda *_: _refuse("a bare numpy.ma.MaskedArray"))


def _refuse(what: str) -> NoReturn:
    raise UnsafeError(
        f"pickle asks for {what}: only data are admitted, of numpy its plain arrays; "
        "publish with msgpack or JSON, or keep such values out of the documents"
    )


class _Restricted(pickle.Unpickler):
    """Answers every name of a pickle with a stand-in, or refuses it."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        super().__init__(io.BytesIO(data))
        self._limits = limits
        self._budget = limits.max_bytes * limits.unfold
        self._names: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "dtype"): self._dtype,
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): self._ordered,
        }
        for core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
            self._names[f"{core}.multiarray", "_reconstruct"] = self._reconstruct
            self._names[f"{core}.multiarray", "scalar"] = self._scalar
            self._names[f"{core}.numeric", "_frombuffer"] = self._frombuffer
        self._names["numpy.ma.core", "_mareconstruct"] = self._mareconstruct
        self._names["copyreg", "_reconstructor"] = self._reconstructor
        self._names["copy_reg", "_reconstructor"] = self._reconstructor
        self._foreign: dict[tuple[str, str], type[Foreign]] = {}
        for builtins in ("builtins", "__builtin__"):  # protocol 3 and up, and below
            self._names[builtins, "set"] = self._set
            self._names[builtins, "frozenset"] = self._frozenset
            self._names[builtins, "complex"] = self._complex
            self._names[builtins, "bytes"] = self._bytes
            self._names[builtins, "bytearray"] = self._bytearray
            self._names[builtins, "getattr"] = self._getattr

    def load(self) -> Any:
        return self._settle(super().load(), 0)

    def find_class(self, module: str, name: str) -> _Callable | type[Foreign]:
        if (module, name) == ("numpy", "ndarray"):
            return _NDARRAY
        if module.startswith("numpy.ma") and name == "MaskedArray":
            return _MASKED
        function = self._names.get((module, name))
        return _Callable(function) if function else self._standin(module, name)

    def _standin(self, module: str, name: str) -> type[Foreign]:
        if len(module) + len(name) > LONGEST_NAME:
            _refuse(f"a name of {len(module) + len(name)} characters")
        if not is_admitted(module, name):
            _refuse(f"{module}.{name}")
        if (module, name) not in self._foreign:
            if len(self._foreign) >= _MAX_FOREIGN:
                raise TooLargeError(f"pickle of more than {_MAX_FOREIGN} classes")
            home = "builtins" if module in ("__builtin__", "exceptions") else module
            self._foreign[module, name] = foreign_type(home, name, spend=self._spend)
        return self._foreign[module, name]

    def persistent_load(self, pid: object) -> NoReturn:
        _refuse("a persistent object")

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            allowed = self._limits.max_bytes * self._limits.unfold
            raise TooLargeError(f"pickle unfolds to more than {allowed} bytes")

    # each of these takes what Python's own pickler writes for that type and no other form

    def _reconstruct(self, kind: object, shape: tuple, code: object) -> _Array:
        if kind is not _NDARRAY and not _is_standin(kind):
            _refuse("a sub-class of numpy.ndarray")
        return _Array()

    def _mareconstruct(self, kind: object, base: object, shape: tuple, code: object) -> _Masked:
        if kind is not _MASKED or base is not _NDARRAY:
            _refuse("a sub-class of numpy.ma.MaskedArray")
        return _Masked()

    def _reconstructor(self, kind: Any, base: object, value: object) -> Any:
        if not _is_standin(kind):
            _refuse("an object of no class")
        return kind() if value is None else kind(value)

    def _getattr(self, owner: Any, name: str) -> type[Foreign]:
        if not _is_standin(owner) or not isinstance(name, str):
            _refuse("builtins.getattr")
        # a member of an enumeration, or a function of a class
        return self._standin(owner.module, f"{owner.qualname}.{name}")

    def _frombuffer(self, data: Any, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
        return array_from(data, dtype.resolve(), shape, limits=self._limits, order=order)

    def _scalar(self, dtype: _Dtype, data: bytes) -> np.generic:
        self._spend(len(data))
        return scalar_from(data, dtype.resolve(), limits=self._limits)

    def _dtype(self, descr: Any, *_: object) -> _Dtype:
        if _is_standin(descr) and descr.qualname == "record":  # of an array of records
            descr = "V1"
        return _Dtype(safe_dtype("V1" if descr == "V0" else descr))

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        self._spend(len(text))
        return text.encode("latin1") if encoding == "latin1" else _refuse(f"codec {encoding!r:.40}")

    def _ordered(self) -> dict:
        return {}

    def _set(self, items: list) -> set:
        self._spend(64 * len(items))
        return set(items)

    def _frozenset(self, items: list) -> frozenset:
        self._spend(64 * len(items))
        return frozenset(items)

    def _complex(self, real: float, imag: float) -> complex:
        return complex(real, imag)

    def _bytes(self) -> bytes:
        return b""

    def _bytearray(self, data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
        self._spend(len(data))
        return bytearray(data.encode("latin-1") if isinstance(data, str) else data)

    # the end: stand-ins become arrays, and everything is of a type that is known

    def _settle(self, item: Any, depth: int) -> Any:
        if depth > self._limits.max_depth:
            raise TooLargeError(f"pickle nested more than {self._limits.max_depth} deep")
        kind = type(item)
        if kind is dict:
            check_keys(item, limits=self._limits)
            self._spend(16 * len(item))
            return {self._key(k, depth): self._inner(v, depth) for k, v in item.items()}
        if kind in _COLLECTIONS:
            self._spend(8 * len(item))
            settle = self._key if kind in _SETS else self._inner
            return kind([settle(x, depth) for x in item])
        if isinstance(item, Foreign):
            return self._settle(content(item), depth + 1)
        return self._leaf(item)

    def _inner(self, item: Any, depth: int) -> Any:
        return item if type(item) in _ATOMS else self._settle(item, depth + 1)

    def _key(self, item: Any, depth: int) -> Any:
        """Settle a key, or a member of a set: what has become a list or a map is named there."""
        settled = self._inner(item, depth)
        unhashable = isinstance(item, Foreign) and type(settled) in (list, dict, set, bytearray)
        return f"<{name_of(type(item))}>" if unhashable else settled

    def _leaf(self, item: Any) -> Any:
        kind = type(item)
        if _is_standin(item):
            return name_of(item)
        if kind is _Array or kind is _Masked:
            item = item.resolve(limits=self._limits)
        elif kind is _Dtype:
            return item.resolve()
        if isinstance(item, np.ndarray | np.generic):
            self._spend(item.nbytes)
        elif kind in _TEXTS:
            self._spend(len(item))
        elif kind not in _ATOMS:
            _refuse(f"a {kind.__name__}")
        return item


_ATOMS = frozenset({float, int, bool, complex, type(None)})
_TEXTS = frozenset({str, bytes, bytearray})
_SETS = frozenset({set, frozenset})
_COLLECTIONS = frozenset({list, tuple}) | _SETS


def _is_standin(item: object) -> TypeGuard[type[Foreign]]:
    return isinstance(item, type) and issubclass(item, Foreign)
