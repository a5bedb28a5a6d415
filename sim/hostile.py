"""Messages and runs that no beamline should publish, to be survived: for tests and fault drills.

Three kinds: frames that are no documents (`FRAMES`), runs that are well formed and insane (`RUNS`),
and random changes of documents and of bytes (`mutate`, `mutate_frame`).
"""

import json
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import event_model
import msgpack
import msgpack_numpy
import numpy as np

Document: TypeAlias = tuple[str, dict[str, Any]]
Documents: TypeAlias = list[Document]

ONSET = 1846.0
"""Energy of the edge in the runs of this module, eV (Si K); their data keys are mono and mu."""
MEGABYTE = 1_000_000


def good_run(
    scan_id: int = 1,
    *,
    points: int = 60,
    whole: bool = False,
    time: float = 1e9,
    metadata: dict[str, Any] | None = None,
) -> Documents:
    """Return the documents of one scan over an edge.

    Parameters
    ----------
    scan_id
        The scan id; it also sets the height of the white line, so that no two spectra are alike.
    points
        Energies.
    whole
        One event with arrays, rather than one for each energy.
    time
        The time of the start, seconds since the epoch.
    metadata
        Further entries of the start document.
    """
    energy = np.linspace(ONSET - 30.0, ONSET + 60.0, points)
    mu = absorption(energy, white_line=1.0 + 0.01 * (scan_id % 50))
    return run_of(energy, mu, scan_id=scan_id, whole=whole, time=time, metadata=metadata)


def absorption(energy: np.ndarray, *, white_line: float = 1.0) -> np.ndarray:
    """Return an absorption edge (n,): an arctangent with a white line and a broad resonance."""
    x = energy - ONSET
    step = np.arctan(x / 0.6) / np.pi + 0.5
    resonance = 0.12 * np.exp(-(((x - 20.0) / 8.0) ** 2))
    return np.asarray(0.2 + step + white_line * np.exp(-(((x - 1.0) / 1.2) ** 2)) + resonance)


def run_of(
    energy: Any,
    mu: Any,
    *,
    scan_id: int = 1,
    whole: bool = False,
    time: float = 1e9,
    metadata: dict[str, Any] | None = None,
    exit_status: str = "success",
) -> Documents:
    """Return the documents of a run with any values of two data keys."""
    run = event_model.compose_run(time=time, metadata={"scan_id": scan_id, **(metadata or {})})
    key = {"source": "sim", "dtype": "array" if whole else "number"}
    shape = list(np.shape(energy)) if whole else []
    keys = {name: {**key, "shape": shape} for name in ("mono", "mu")}
    stream = run.compose_descriptor(name="primary", data_keys=keys, time=time)
    docs: Documents = [("start", {**run.start_doc}), ("descriptor", {**stream.descriptor_doc})]
    readings = [(energy, mu)] if whole else zip(energy, mu, strict=True)
    for seq, (e, m) in enumerate(readings, 1):
        data = {"mono": e, "mu": m}
        docs.append(("event", _event(stream.descriptor_doc["uid"], seq, data, time=time + seq)))
    docs.append(("stop", _stop(run.start_doc["uid"], len(docs) - 2, exit_status, time=time + 99)))
    return docs


def _event(descriptor: str, seq: int, data: dict[str, Any], *, time: float) -> dict[str, Any]:
    plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in data.items()}
    return {
        "uid": f"{descriptor}-{seq}",
        "descriptor": descriptor,
        "seq_num": seq,
        "time": time,
        "data": plain,
        "timestamps": dict.fromkeys(plain, time),
        "filled": {},
    }


def _stop(run: str, events: int, exit_status: str, *, time: float) -> dict[str, Any]:
    return {
        "uid": f"{run}-stop",
        "run_start": run,
        "time": time,
        "exit_status": exit_status,
        "num_events": {"primary": events},
    }


# -- runs that are well formed and insane ---------------------------------------------------------

_ENERGY = np.linspace(ONSET - 30.0, ONSET + 60.0, 60)
_MU = absorption(_ENERGY)


def _with(values: np.ndarray, at: Any, value: float) -> np.ndarray:
    changed = values.copy()
    changed[at] = value
    return changed


def _without(*names: str) -> Documents:
    return [(name, doc) for name, doc in good_run() if name not in names]


def _changed(which: str, /, **entries: Any) -> Documents:
    return [(n, {**doc, **entries} if n == which else doc) for n, doc in good_run()]


def _data(**data: Any) -> Documents:
    return [
        (n, {**doc, "data": {**doc["data"], **data}} if n == "event" else doc)
        for n, doc in good_run()
    ]


def _deep(levels: int) -> Any:
    tree: Any = "end"
    for _ in range(levels):
        tree = {"a": tree}
    return tree


RUNS: dict[str, Callable[[], Documents]] = {
    "no start": lambda: _without("start"),
    "no descriptor": lambda: _without("descriptor"),
    "no events": lambda: _without("event"),
    "no stop": lambda: _without("stop"),
    "events only": lambda: _without("start", "descriptor", "stop"),
    "stop only": lambda: _without("start", "descriptor", "event"),
    "backwards": lambda: good_run()[::-1],
    "everything twice": lambda: [doc for doc in good_run() for _ in range(2)],
    "start between events": lambda: [*(docs := good_run())[:20], docs[0], *docs[20:]],
    "NaN in the signal": lambda: run_of(_ENERGY, _with(_MU, slice(10, 14), np.nan)),
    "only NaN": lambda: run_of(_ENERGY, _MU * np.nan),
    "infinite": lambda: run_of(_ENERGY, _with(_MU, 30, np.inf)),
    "near the largest float": lambda: run_of(_ENERGY, _MU * 1e308),
    "subnormal": lambda: run_of(_ENERGY, _MU * 5e-324),
    "NaN energies": lambda: run_of(_with(_ENERGY, 30, np.nan), _MU),
    "keV for eV": lambda: run_of(_ENERGY / 1e3, _MU),
    "meV for eV": lambda: run_of(_ENERGY * 1e3, _MU),
    "negative energies": lambda: run_of(-_ENERGY, _MU),
    "zero energies": lambda: run_of(_ENERGY * 0.0, _MU),
    "descending": lambda: run_of(_ENERGY[::-1], _MU[::-1]),
    "shuffled": lambda: run_of(np.roll(_ENERGY, 20), np.roll(_MU, 20)),
    "every energy twice": lambda: run_of(np.repeat(_ENERGY, 2), np.repeat(_MU, 2)),
    "one energy": lambda: run_of(np.full(60, ONSET), _MU),
    "negative step": lambda: run_of(_ENERGY, 2.0 - _MU),
    "flat": lambda: run_of(_ENERGY, np.ones(60)),
    "all zero": lambda: run_of(_ENERGY, np.zeros(60)),
    "one point": lambda: run_of(_ENERGY[:1], _MU[:1]),
    "two points": lambda: run_of(_ENERGY[:2], _MU[:2]),
    "aborted before the edge": lambda: run_of(_ENERGY[:15], _MU[:15], exit_status="abort"),
    "aborted past the edge": lambda: run_of(_ENERGY[:45], _MU[:45], exit_status="fail"),
    "another edge": lambda: run_of(_ENERGY + 5266.0, _MU),
    "text for numbers": lambda: _data(mu="many"),
    "None for numbers": lambda: _data(mono=None),
    "truth for numbers": lambda: _data(mu=True),
    "lists for numbers": lambda: _data(mu=[[1.0], [2.0, 3.0]]),
    "maps for numbers": lambda: _data(mono={"value": 1.0}),
    "whole numbers past 64 bits": lambda: _data(mu=2**200),
    "bytes for numbers": lambda: _data(mu=b"\x00\x01"),
    "an array among numbers": lambda: _data(mu=np.ones((3, 4, 5))),
    "an array of text": lambda: _data(mu=np.array(["a", "b"])),
    "an array of times": lambda: _data(mu=np.array(["2026-01-01"], "M8[s]")),
    "an array of records": lambda: _data(mu=np.zeros(2, [("a", "f8")])),
    "an empty array": lambda: _data(mu=np.zeros(0)),
    "whole spectra of other lengths": lambda: run_of(_ENERGY, _MU[:-1], whole=True),
    "empty data": lambda: _changed("event", data={}),
    "no sequence": lambda: _changed("event", seq_num=1),
    "sequence from far away": lambda: _changed("event", seq_num=2**62),
    "sequence 0": lambda: _changed("event", seq_num=0),
    "time is NaN": lambda: _changed("event", time=float("nan")),
    "time is text": lambda: _changed("start", time="yesterday"),
    "time before time": lambda: good_run(time=-1e18),
    "time after time": lambda: good_run(time=1e18),
    "scan id is a map": lambda: _changed("start", scan_id={"id": 1}),
    "scan id past 64 bits": lambda: _changed("start", scan_id=2**70),
    "scan id past all floats": lambda: _changed("start", scan_id=10**400),
    "half a character": lambda: good_run(metadata={"sample_name": "SiO\ud800", "\udfff": 1.5}),
    "names that no file can hold": lambda: _changed(
        "start", sample="a\x00b", **{"x\x00y": 1, "/": 2, ".": 3, "..": 4, "": 5}
    ),
    "uid is a number": lambda: _changed("start", uid=5),
    "uid is long": lambda: _changed("start", uid="u" * MEGABYTE),
    "uid is a path": lambda: _renamed("../../etc/passwd"),
    "uid is SQL": lambda: _renamed("'; DROP TABLE spectra; --"),
    "uid is markup": lambda: _renamed("<script>alert(1)</script>"),
    "uid has a null byte": lambda: _renamed("a\x00b"),
    "uid is a lone surrogate": lambda: _renamed("\ud800"),
    "streams without keys": lambda: _changed("descriptor", data_keys={}),
    "data keys are none": lambda: _changed("descriptor", data_keys=None),
    "stream name is a path": lambda: _changed("descriptor", name="../primary"),
    "counts are lies": lambda: _changed("stop", num_events={"primary": 10**15, "x": -4}),
    "counts are text": lambda: _changed("stop", num_events="many"),
    "exit status is a list": lambda: _changed("stop", exit_status=["success"]),
    "a megabyte of metadata": lambda: good_run(metadata={"notes": "x" * MEGABYTE}),
    "many entries of metadata": lambda: good_run(metadata={f"k{i}": i for i in range(10_000)}),
    "deep metadata": lambda: good_run(metadata={"deep": _deep(50)}),
    "metadata of arrays": lambda: good_run(metadata={"a": np.zeros(3), "b": np.float32(1)}),
    "metadata of bytes": lambda: good_run(metadata={"a": b"\xff", "b": {"c": 1j}}),
    "metadata of no numbers": lambda: good_run(metadata={"a": float("nan"), "b": float("inf")}),
}
"""Runs by name; each is made anew, with uids of its own."""


def _renamed(uid: str) -> Documents:
    docs = good_run()
    old = docs[0][1]["uid"]
    return [(name, {k: uid if v == old else v for k, v in doc.items()}) for name, doc in docs]


# -- frames that are no documents -----------------------------------------------------------------


class _Call:
    """Pickles as a call of any function."""

    def __init__(self, function: str, *args: object) -> None:
        self._name, self._args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"{self._name}(*{self._args!r})",)


_STOCK = pickle.dumps({"uid": "a", "time": 1.0})
FRAMES: dict[str, bytes] = {
    "empty": b"",
    "one space": b" ",
    "no name": b"  {}",
    "unknown name": b" begin {}",
    "a name of a megabyte": b" " + b"n" * MEGABYTE + b" {}",
    "no payload": b" event ",
    "text": b" event hello",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "null bytes": b"\x00" * 1000,
    "every byte": bytes(range(256)) * 4,
    "a list": b" event [1, 2]",
    "half of a JSON document": b' event {"uid": "a", "data": {',
    "deep JSON": b' start {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep msgpack": b" start \x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
    "msgpack that announces much": b" start \xdf\xff\xff\xff\xff",
    "msgpack of Python objects": b" start "
    + msgpack.packb({"a": np.array([{}], object)}, default=msgpack_numpy.encode),
    "half of a pickle": b" start " + _STOCK[:-5],
    "a pickle that runs a command": b" start "
    + pickle.dumps({"uid": _Call("__import__('os').system", "touch /tmp/nearedge-was-here")}),
    "a pickle that ends the process": b" start " + pickle.dumps(_Call("__import__('os')._exit", 7)),
    "a pickle that opens a file": b" start " + pickle.dumps(_Call("open", "/etc/passwd")),
    "a pickle of 2**40 bytes": b" start \x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "a pickle with a vast memo": b" start \x80\x04Nr\x00\x00\x00\x80.",
    "a pickle of nested tuples": b" start \x80\x04}" + b")" + b"\x85" * 500_000 + b"Ns.",
    "a pickle within itself": b" start \x80\x04}\x94\x8c\x01ah\x00s.",
}
"""Messages by name, with an empty prefix."""


# -- random changes -------------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 2**200, float("nan"), float("inf"), -0.0, 1e308, 5e-324),
    *(
        "",
        "primary",
        "\x00",
        "é" * 300,
        "../..",
        b"",
        b"\xff",
        [],
        [[]],
        {},
        {"": {}},
        {"a": [None]},
    ),
)


def mutate(docs: Documents, rng: random.Random, *, changes: int = 2) -> Documents:
    """Return a run with some random changes: values, keys, and which documents come when.

    Its uids are renamed throughout first, so that no other run is meant.
    """
    mutated = list(renamed(docs, f"{rng.getrandbits(64):016x}"))
    for _ in range(changes):
        rng.choice((_change_value, _change_value, _drop_key, _swap, _drop, _repeat))(mutated, rng)
    return mutated


def renamed(docs: Documents, suffix: str) -> Iterator[Document]:
    """Yield the documents of a run with other uids."""
    uids = {doc["uid"] for _, doc in docs if isinstance(doc.get("uid"), str)}
    for name, doc in docs:
        yield (
            name,
            {k: f"{v[:8]}-{suffix}" if isinstance(v, str) and v in uids else v
             for k, v in doc.items()},
        )  # fmt: skip


def mutate_frame(frame: bytes, rng: random.Random, *, changes: int = 3) -> bytes:
    """Return a message with some of its bytes changed, removed or put in."""
    mutated = bytearray(frame)
    for _ in range(changes):
        at = rng.randrange(len(mutated) + 1)
        mutated[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
    return bytes(mutated)


def serialise(name: str, doc: dict[str, Any], *, how: str = "pickle") -> bytes:
    """Return the message of a document as stock publishers write it: pickle, msgpack or json.

    What the serialiser cannot write is pickled.
    """
    head = b" " + name.encode() + b" "
    try:
        return head + _SERIALISERS[how](doc)
    except (TypeError, ValueError, OverflowError):
        return head + pickle.dumps(doc)


_SERIALISERS: dict[str, Callable[[Any], bytes]] = {
    "pickle": pickle.dumps,
    "msgpack": lambda doc: bytes(msgpack.packb(doc, default=msgpack_numpy.encode)),
    "json": lambda doc: json.dumps(doc).encode(),
}


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in a tree with each of its keys or indices."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def _pick(docs: Documents, rng: random.Random) -> int:
    # a scan has many events and one of each other: those are as interesting
    names = sorted({name for name, _ in docs})
    wanted = rng.choice(names)
    return rng.choice([i for i, (name, _) in enumerate(docs) if name == wanted])


def _own(docs: Documents, rng: random.Random) -> dict[str, Any]:
    """Return one document that may be changed without changing another."""
    at = _pick(docs, rng)
    name, doc = docs[at]
    docs[at] = (name, pickle.loads(pickle.dumps(doc)))  # noqa: S301 - our own
    return docs[at][1]


def _change_value(docs: Documents, rng: random.Random) -> None:
    if docs and (places := list(_places(_own(docs, rng)))):
        node, key = rng.choice(places)
        node[key] = rng.choice(VALUES)


def _drop_key(docs: Documents, rng: random.Random) -> None:
    if docs and (places := list(_places(_own(docs, rng)))):
        node, key = rng.choice(places)
        del node[key]


def _swap(docs: Documents, rng: random.Random) -> None:
    if docs:
        a, b = _pick(docs, rng), _pick(docs, rng)
        docs[a], docs[b] = docs[b], docs[a]


def _drop(docs: Documents, rng: random.Random) -> None:
    if docs:
        docs.pop(_pick(docs, rng))


def _repeat(docs: Documents, rng: random.Random) -> None:
    if docs:
        docs.insert(rng.randrange(len(docs) + 1), docs[_pick(docs, rng)])
