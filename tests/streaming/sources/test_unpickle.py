import collections
import datetime
import enum
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import types
import uuid
from pathlib import Path, PureWindowsPath
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ophyd_async.core import StrictEnum

from nearedge.streaming.sources.buffers import (
    Limits,
    MessageError,
    TooLargeError,
    UnsafeError,
    WireError,
)
from nearedge.streaming.sources.unpickle import loads

LIMITS = Limits(max_bytes=1_000_000, max_items=10_000, max_depth=20)


def same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


protocols = st.integers(0, pickle.HIGHEST_PROTOCOL)
dtypes = st.sampled_from(
    ["<f8", ">f4", "<i8", "|u1", "?", "<U4", "S3", "<c16", "<M8[25s]", "m8[D]"]
)
structured = st.just(np.dtype([("a", ">f8"), ("b", "i4", (2,))]))
arrays = hnp.arrays(dtypes.map(np.dtype) | structured, hnp.array_shapes(min_dims=0, min_side=0))
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.builds(bytearray, st.binary())
    | st.sets(st.integers())
    | st.frozensets(st.text())
    | arrays
    | arrays.map(np.asfortranarray)
    | st.sampled_from([np.float64(1.5), np.bool_(True), np.str_("é"), np.dtype(">f4")])
)
plain = st.recursive(
    atoms,
    lambda x: (
        st.lists(x, max_size=4)
        | st.lists(x, max_size=4).map(tuple)
        | st.dictionaries(st.text(), x, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=150)
@given(plain, protocols)
def test_plain_data_and_arrays_come_back(value: object, protocol: int) -> None:
    assert same(loads(pickle.dumps(value, protocol), limits=LIMITS), value)


def test_arrays_written_by_numpy_1_are_read() -> None:
    new = pickle.dumps(np.arange(3.0), 2)
    assert b"numpy._core.multiarray" in new
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert same(loads(old, limits=LIMITS), np.arange(3.0))


def test_arrays_are_views_that_nobody_can_write_through() -> None:
    with pytest.raises(ValueError, match="read-only"):
        loads(pickle.dumps(np.ones(3)), limits=LIMITS)[0] = 2.0


def test_ordered_dicts_become_dicts() -> None:
    value = collections.OrderedDict(b=1, a=2)
    assert same(loads(pickle.dumps(value), limits=LIMITS), {"b": 1, "a": 2})


# ---- hostile messages ----


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *args: object, state: object = None) -> None:
        self.parts = (function, args, state) if state is not None else (function, args)

    def __reduce__(self) -> tuple:
        return self.parts


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def named(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


def program(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct")
NDARRAY = named("numpy", "ndarray")
EMPTY = RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87R"  # _reconstruct(ndarray, (0,), b"b")
FLOATS = named("numpy", "dtype") + short("f8") + b"\x85R"
SET = named("builtins", "set")

HOSTILE = {
    "os.system": pickle.dumps(Call(os.system, "touch pwned")),
    "subprocess": pickle.dumps(Call(subprocess.check_output, "id")),
    "eval": pickle.dumps(Call(eval, "1+1")),
    "eval, protocol 0": b"c__builtin__\neval\n(S'1+1'\ntR.",
    "eval by INST": b"(S'1+1'\ni__builtin__\neval\n.",
    "eval by OBJ": b"(c__builtin__\neval\nS'1+1'\no.",
    "getattr chain": program(named("builtins", "getattr") + short("a") + short("upper") + b"\x86R"),
    "dotted name": program(named("numpy", "ndarray.tofile")),
    "dotted builtin": program(named("builtins", "set.__class__.__base__")),
    "numpy.load": pickle.dumps(Call(np.load, "x.npy", None, True)),
    "numpy.f2py": program(named("numpy.f2py.crackfortran", "myeval") + short("1") + b"\x85R"),
    "numpy.fromfile": program(named("numpy", "fromfile") + short("/etc/passwd") + b"\x85R"),
    "numpy.testing": program(named("numpy.testing._private.utils", "runstring")),
    "numpy.memmap": program(RECONSTRUCT + named("numpy", "memmap") + b"K\x00\x85C\x01b\x87R"),
    "many classes": program(b"".join(named("m", f"c{k}") + b"0" for k in range(100)) + b"N"),
    "long name": program(named("m", "n" * 250)),
    "many instances": program(b"](" + named("m", "c") + b"\x94" + (b")\x81h\x00") * 9_000 + b"e"),
    "instance within its list": program(named("m", "c") + b")\x81\x94h\x00a"),
    "state of a class": program(named("m", "c") + b"}" + short("x") + b"Nsb"),
    "item of a class": program(named("m", "c") + b"Na"),
    "getattr of a call": program(
        named("builtins", "getattr") + named("m", "c") + b")R" + short("x") + b"\x86R"
    ),
    "uuid past 128 bits": program(
        named("uuid", "UUID") + b")\x81}" + short("int") + b"\x8a\x11" + b"\xff" * 16 + b"\x01sb"
    ),
    "datetime of 3 bytes": program(named("datetime", "datetime") + b"C\x03abc\x85R"),
    "sub-class of numpy's": program(
        RECONSTRUCT + named("numpy.rec", "recarray") + b"K\x00\x85C\x01b\x87R"
    ),
    "object array": pickle.dumps(np.array([{}, []], object)),
    "object array, protocol 5": pickle.dumps(np.array([{}, []], object), 5),
    "object scalar": program(
        named("numpy._core.multiarray", "scalar")
        + named("numpy", "dtype")
        + short("O8")
        + b"\x85RC\x08aaaaaaaa\x86R"
    ),
    "object field": pickle.dumps(np.zeros(1, [("a", "O"), ("b", "f8")])),
    "void hiding objects": program(
        EMPTY + b"(K\x01K\x01\x85" + FLOATS + b"\x89]" + named("builtins", "set") + b"atb"
    ),
    "lying shape": program(EMPTY + b"(K\x01J\xff\xff\xff\x7f\x85" + FLOATS + b"\x89C\x01xtb"),
    "negative shape": program(EMPTY + b"(K\x01J\xff\xff\xff\xff\x85" + FLOATS + b"\x89C\x01xtb"),
    "endless empty shape": program(
        EMPTY + b"(K\x01J\xff\xff\xff\x7fK\x00\x86" + FLOATS + b"\x89C\x00tb"
    ),
    "array without state": program(EMPTY),
    "ndarray itself": program(NDARRAY),
    "function itself": program(RECONSTRUCT),
    "attributes of a function": program(RECONSTRUCT + b"N}" + short("_function") + b"Ns\x86b"),
    "dictionary of a function": program(SET + b"}" + short("x") + b"Nsb"),
    "attributes of an array": program(EMPTY + b"N}" + short("_state") + b"Ns\x86b"),
    "persistent id": b"Pwherever\n.",
    "binary persistent id": program(short("x") + b"Q"),
    "extension registry": program(b"\x82\x01"),
    "out-of-band buffer": b"\x80\x05\x97.",
    "new object": program(named("builtins", "set") + b")\x81"),
    "codec": program(named("_codecs", "encode") + short("a") + short("rot13") + b"\x86R"),
    "codec zip bomb": program(named("_codecs", "decode") + short("a") + short("zlib") + b"\x86R"),
    "bytes(10**12)": program(named("builtins", "bytes") + b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85R"),
    "bytearray(10**12)": program(
        named("builtins", "bytearray") + b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85R"
    ),
    "BINBYTES8 of 2**40": program(b"\x8e" + struct.pack("<Q", 2**40) + b"x"),
    "BINUNICODE8 of 2**62": program(b"\x8d" + struct.pack("<Q", 2**62) + b"x"),
    "BYTEARRAY8 of 2**40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "BINBYTES of 2**31": program(b"B" + struct.pack("<I", 2**31 - 1) + b"x"),
    "LONG4 of 2**31": program(b"\x8b" + struct.pack("<i", -1)),
    "long of a million digits": b"L" + b"9" * 900_000 + b"L\n.",
    "memo index 2**31": program(b"Nr" + struct.pack("<I", 2**31)),
    "memo index in text": b"Np2147483647\n.",
    "memo bomb": program(b"]" + b"\x94h\x00h\x00h\x00\x87" * 9 + b"0" * 20),
    "billion laughs": program(
        short("ha" * 100)
        + b"\x94"
        + b"".join(b"(" + b"h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"l\x94" for i in range(15))
    ),
    "copies by calls": program(
        b"](" + b"".join(b"M" + struct.pack("<H", i) for i in range(5000)) + b"e\x94"
        b"(" + (SET + b"h\x00\x85R") * 100 + b"l"
    ),
    "list within itself": program(b"]\x94h\x00a"),
    "dict within itself": program(b"}\x94" + short("a") + b"h\x00s"),
    "deep lists": program(b"]" * 5000 + b"a" * 4999),
    "deep tuples": program(b")" + b"\x85" * 9_000),
    "deep tuple as key": b"\x80\x04}" + b")" + b"\x85" * 500_000 + b"Ns.",
    "too many values": program(b"](" + b"N" * 20_000 + b"e"),
    "too long": b"\x80\x04C" + b"x" * 1_000_001,
    "unhashable key": program(b"}]Ns"),
    "stack underflow": program(b"a"),
    "memo underflow": program(b"h\x07"),
    "unknown opcode": program(b"\xff"),
    "future protocol": b"\x80\x63N.",
    "no end": b"\x80\x04N",
    "unended line": b"Vabc",
    "bytes after the end": b"\x80\x04N.N.",
    "empty": b"",
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_a_wire_error(
    message: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UnsafeError, TooLargeError, MessageError)) as caught:
        loads(message, limits=LIMITS)
    assert str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_corpus_would_work_without_the_restriction() -> None:
    assert pickle.loads(HOSTILE["eval"]) == 2
    assert pickle.loads(HOSTILE["eval by INST"]) == 2


def test_a_refused_name_is_told() -> None:
    with pytest.raises(UnsafeError, match=r"builtins\.eval: only data are admitted"):
        loads(HOSTILE["eval"], limits=LIMITS)


# ---- classes that are not here ----


class Mode(enum.StrEnum):
    STEP = "step"


class StrictMode(StrictEnum):
    FAST = "fast"


class Colour(enum.Enum):
    RED = 3


class Text(str):
    pass


class Listed(list):
    pass


class Mapped(dict):
    pass


class Kept:
    def __init__(self) -> None:
        self.secret = 1


class Spectrum(np.ndarray):
    pass


class Guarded(str):
    """Fails the test when it is made again."""

    def __new__(cls, text: str) -> "Guarded":
        if made := getattr(cls, "made", False):
            raise AssertionError(f"a foreign class was called: {made}")
        cls.made = True
        return super().__new__(cls, text)


Point = collections.namedtuple("Point", "x y")
UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
HARMLESS = {
    "enumeration of text": (Mode.STEP, "step"),
    "enumeration": (Colour.RED, 3),
    "ophyd-async": (StrictMode.FAST, "fast"),
    "text": (Text("as it was"), "as it was"),
    "list": (Listed([1, 2]), [1, 2]),
    "map": (Mapped(a=1), {"a": 1}),
    "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "deque": (collections.deque([1, 2], maxlen=5), [1, 2]),
    "empty deque": (collections.deque(), []),
    "defaultdict": (collections.defaultdict(int, {"a": 1}), {"a": 1}),
    "empty defaultdict": (collections.defaultdict(list), {}),
    "named tuple": (Point(1, Mode.STEP), (1, "step")),
    "date": (datetime.date(2026, 11, 28), "2026-11-28"),
    "time": (datetime.time(7, 8, 9, 10), "07:08:09.000010"),
    "datetime": (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    "UTC": (datetime.datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    "offset": (datetime.datetime(2026, 1, 2, tzinfo=EAST), "2026-01-02T00:00:00+05:30"),
    "zone": (datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")), "2026-01-02T00:00:00[UTC]"),
    "namespace": (types.SimpleNamespace(a=1), "<types.SimpleNamespace>"),
    "kind of error": (ValueError, "builtins.ValueError"),
    "ellipsis": (..., "builtins.Ellipsis"),
    "method of a class": (Kept.__init__, f"{__name__}.Kept.__init__"),
    "duration": (datetime.timedelta(minutes=2, microseconds=5), 120.000005),
    "path": (Path("/nsls2/data"), "/nsls2/data"),
    "Windows path": (PureWindowsPath("C:/data"), "C:\\data"),
    "uuid": (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    "slice": (slice(0, 1), "slice(0, 1, None)"),
    "key": ({Mode.STEP: 1}, {"step": 1}),
    "key of many": ({Point(1, 2): 1}, {(1, 2): 1}),
    "members": ({Mode.STEP}, {"step"}),
    "class": ({"made_by": Kept}, {"made_by": f"{__name__}.Kept"}),
    "instance": (Kept(), f"<{__name__}.Kept>"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("value", "read"), HARMLESS.values(), ids=HARMLESS)
def test_a_class_that_is_not_here_leaves_its_content(
    value: object, read: object, protocol: int
) -> None:
    found = loads(pickle.dumps({"x": value}, protocol), limits=LIMITS)["x"]
    assert same(found, read) or found == read


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_what_is_masked_is_not_a_number(protocol: int) -> None:
    def read(array: np.ma.MaskedArray) -> np.ndarray:
        return loads(pickle.dumps(array, protocol), limits=LIMITS)

    hidden = read(np.ma.array([1, 2], mask=[False, True]))
    np.testing.assert_array_equal(hidden, [1.0, np.nan])
    assert same(read(np.ma.array([1, 2])), np.array([1, 2]))
    columns = np.ma.array(np.arange(6.0).reshape(2, 3), order="F", mask=np.eye(2, 3))
    np.testing.assert_array_equal(read(columns), columns.filled(np.nan))


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_of_numpy_s_own_classes_are_arrays() -> None:
    table = np.zeros(2, [("energy", "f8"), ("name", "U3")])
    assert same(loads(pickle.dumps(np.matrix([[1.0, 2.0]])), limits=LIMITS), np.array([[1.0, 2.0]]))
    for made in (table, table.view(np.recarray)):
        assert same(loads(pickle.dumps(made), limits=LIMITS), table)
    assert np.isnan(loads(pickle.dumps(np.ma.masked), limits=LIMITS))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("types", "FunctionType"),
        ("builtins", "SystemExit"),
        ("builtins", "eval"),
        ("numpy", "load"),
    ],
)
def test_of_modules_that_run_programs_little_is_admitted(module: str, name: str) -> None:
    with pytest.raises(UnsafeError, match=f"{module}.{name}"):
        loads(f"c{module}\n{name}\n.".encode(), limits=LIMITS)


def test_an_array_of_a_foreign_class_is_an_array() -> None:
    array = np.arange(3.0).view(Spectrum)
    assert same(loads(pickle.dumps(array), limits=LIMITS), np.arange(3.0))


def test_no_foreign_class_is_imported_or_called(monkeypatch: pytest.MonkeyPatch) -> None:
    message = pickle.dumps([Guarded("a"), Kept()])
    elsewhere = message.replace(__name__.encode(), b"x" * len(__name__))
    for one in (message, elsewhere):
        assert loads(one, limits=LIMITS)[0] == "a"
    assert "x" * len(__name__) not in sys.modules


def test_the_standins_cannot_be_changed_for_the_next_message() -> None:
    for name in ("attributes of a function", "dictionary of a function"):
        with pytest.raises(WireError):
            loads(HOSTILE[name], limits=LIMITS)
    assert same(loads(pickle.dumps([{1}, np.ones(2)]), limits=LIMITS), [{1}, np.ones(2)])


GOOD = [
    pickle.dumps(
        {
            "uid": "a" * 36,
            "seq_num": 3,
            "data": {"i0": np.float64(2.5), "x": np.arange(4.0), "c": 1j, "t": (1, (2,)), "s": {1}},
            "rest": [np.zeros(2, [("a", "f8")]), bytearray(b"xy"), b"", None, True, 2**80],
        },
        protocol,
    )
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
]
OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]


@settings(max_examples=400)
@given(st.data())
def test_mutated_pickles_are_plain_data_or_a_wire_error(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        patch = data.draw(st.sampled_from(OPCODES) | st.binary(max_size=3))
        message[at : at + data.draw(st.integers(0, 3))] = patch
    try:
        value = loads(bytes(message), limits=LIMITS)
    except WireError:
        return
    types = {type(x).__module__ for x in walk(value)}
    assert types <= {"builtins", "numpy", "numpy.dtypes"}


def walk(value: object) -> list:
    if isinstance(value, dict):
        return [value, *(x for kv in value.items() for v in kv for x in walk(v))]
    if isinstance(value, list | tuple | set | frozenset):
        return [value, *(x for v in value for x in walk(v))]
    return [value]


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_random_bytes_are_plain_data_or_a_wire_error(message: bytes) -> None:
    try:
        value = loads(message + b".", limits=LIMITS)
    except WireError:
        return
    pickle.dump(value, io.BytesIO())
