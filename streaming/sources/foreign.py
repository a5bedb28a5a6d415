"""Stand-ins for the classes of a pickle that are not plain data: nothing of them is imported.

Session metadata and the enumerations of ophyd-async name classes that this program does not have
and must not call. Each name becomes an empty class of ours that records with what it was called;
at the end its `content` takes the record's place: text, numbers and containers, or the name.
"""

import datetime
import math
import re
import uuid
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

LONGEST_NAME = 200
RECORD_BYTES = 256
"""About what one stand-in costs in memory."""

PROGRAMS = frozenset(
    "builtins __builtin__ os posix nt subprocess sys numpy codecs _codecs pickle _pickle copyreg "
    "importlib runpy ctypes shutil socket pty code marshal types".split()
)
"""Top-level modules of which no data need any name but those that are admitted singly."""
PLAIN_TYPES = frozenset(
    "int float bool str bytes list tuple dict object slice range long unicode xrange".split()
)
"""Builtin types that data may name, such as the factory of a ``defaultdict``.

Protocols below 3 write some as in Python 2.
"""
ADMITTED = frozenset(
    {
        ("types", "SimpleNamespace"),
        *((module, "matrix") for module in ("numpy", "numpy.matrixlib.defmatrix")),
        *(("numpy", name) for name in ("recarray", "record", "memmap")),
        *(
            (f"numpy.{core}", name)
            for core in ("rec", "core.records")
            for name in ("recarray", "record")
        ),
        *((f"numpy.{module}", "MaskedConstant") for module in ("ma", "ma.core")),
    }
)
"""Harmless classes of modules that run programs."""
_BUILTIN = re.compile(r"[A-Z]\w*(Error|Exception|Warning|Iteration)|Ellipsis|NotImplemented")


def is_admitted(module: str, name: str) -> bool:
    """Tell whether data may name this of a module, whatever else there is in it."""
    if module in ("builtins", "__builtin__", "exceptions"):
        return name in PLAIN_TYPES or bool(_BUILTIN.fullmatch(name))
    return (module, name) in ADMITTED or module.partition(".")[0] not in PROGRAMS


class Foreign:
    """An instance of a class that is not here: how it was made and what was put into it."""

    __slots__ = ("args", "called", "entries", "items", "state")
    module = qualname = ""
    spend: Callable[[int], None]
    args: tuple[Any, ...]
    called: bool
    entries: dict[Any, Any]
    items: list[Any]
    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> "Foreign":
        """Record the arguments."""
        cls.spend(RECORD_BYTES)
        made = object.__new__(cls)
        made.args, made.called, made.state = args, False, None
        made.items, made.entries = [], {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.called = True  # as a function is; NEWOBJ makes an instance without this

    def __setstate__(self, state: Any) -> None:
        """Record the state."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Record an entry, as into a map."""
        self.entries[key] = value

    def append(self, item: Any) -> None:
        """Record an item, as into a list."""
        self.items.append(item)


def foreign_type(module: str, qualname: str, *, spend: Callable[[int], None]) -> type[Foreign]:
    """Return a new stand-in for a class.

    Parameters
    ----------
    module, qualname
        Its name.
    spend
        Called with the bytes that each instance costs; raises when they are too many.
    """

    class Standin(Foreign):
        __slots__ = ()

    Standin.module, Standin.qualname, Standin.spend = module, qualname, staticmethod(spend)
    return Standin


def name_of(kind: type[Foreign]) -> str:
    """Return the full name of what a stand-in stands for."""
    return f"{kind.module}.{kind.qualname}"


def content(item: Foreign) -> Any:
    """Return what takes the place of a stand-in: its text, value or contents, else its name.

    The contents may be stand-ins themselves.
    """
    kind = type(item)
    known = _KNOWN.get((kind.module.partition(".")[0], kind.qualname))
    if known is not None:
        return known(item)
    if item.entries:
        return item.entries
    if item.items:
        return item.items
    if len(item.args) == 1 and item.state is None:  # an Enum, or a sub-class of str, set, dict …
        return item.args[0]
    if item.args and item.state is None and not item.called:  # a named tuple
        return item.args
    return f"<{name_of(kind)}>"


def _ordered(item: Foreign) -> Any:
    return item.items


def _mapped(item: Foreign) -> Any:
    return item.entries


def _called(item: Foreign) -> str:
    return f"{type(item).qualname}({', '.join(map(str, item.args))})"


def _posix(item: Foreign) -> str:
    return str(PurePosixPath(*_texts(item)))


def _windows(item: Foreign) -> str:
    return str(PureWindowsPath(*_texts(item)))


def _texts(item: Foreign) -> list[str]:
    return [str(part) for part in item.args]


def _uuid(item: Foreign) -> str:
    return str(uuid.UUID(int=item.state["int"]))


def _octets(value: Any, length: int) -> bytes:
    octets = value.encode("latin1") if isinstance(value, str) else bytes(value)
    if len(octets) != length:
        raise ValueError(f"found {len(octets)} bytes, expected {length}")
    return octets


def _date(item: Foreign) -> str:
    high, low, month, day = _octets(item.args[0], 4)
    return datetime.date(high * 256 + low, month, day).isoformat()


def _time(item: Foreign) -> str:
    hour, minute, second, *micro = _octets(item.args[0], 6)
    at = datetime.time(hour & 0x7F, minute, second, int.from_bytes(micro))  # the top bit: fold
    return at.isoformat() + _zone(item)


def _datetime(item: Foreign) -> str:
    high, low, month, day, hour, minute, second, *micro = _octets(item.args[0], 10)
    fields = (high * 256 + low, month & 0x7F, day, hour, minute, second, int.from_bytes(micro))
    return datetime.datetime(*fields).isoformat() + _zone(item)


def _zone(item: Foreign) -> str:
    """Return the offset from UTC as ISO 8601 writes it; the name of a zone that has none here."""
    if len(item.args) < 2:
        return ""
    zone = item.args[1]
    if isinstance(zone, Foreign) and type(zone).qualname == "timezone":
        minutes = round(_seconds(zone.args[0]) / 60)
        sign, minutes = ("-" if minutes < 0 else "+"), abs(minutes)
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    inner = content(zone) if isinstance(zone, Foreign) else zone
    return f"[{inner}]" if isinstance(inner, str) else "[zone]"


def _seconds(item: Foreign) -> float:
    days, seconds, micro = item.args
    total = float(86400 * days + seconds + 1e-6 * micro)
    if not math.isfinite(total):
        raise ValueError("found an endless time")
    return total


_KNOWN: dict[tuple[str, str], Callable[[Foreign], Any]] = {
    ("collections", "deque"): _ordered,
    ("collections", "defaultdict"): _mapped,
    ("collections", "OrderedDict"): _mapped,
    ("builtins", "slice"): _called,
    ("builtins", "range"): _called,
    ("numpy", "MaskedConstant"): lambda _: math.nan,
    ("zoneinfo", "ZoneInfo._unpickle"): lambda item: str(item.args[0]),
    ("uuid", "UUID"): _uuid,
    ("datetime", "date"): _date,
    ("datetime", "time"): _time,
    ("datetime", "datetime"): _datetime,
    ("datetime", "timedelta"): _seconds,
    ("pathlib", "PosixPath"): _posix,
    ("pathlib", "PurePosixPath"): _posix,
    ("pathlib", "Path"): _posix,
    ("pathlib", "WindowsPath"): _windows,
    ("pathlib", "PureWindowsPath"): _windows,
}
