import functools
import json
import pickle
import threading

import msgpack
import msgpack_numpy
import numpy as np
import orjson
import pytest
import zmq
from bluesky.callbacks.zmq import Publisher
from event_model import NumpyEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.streaming.sources.wire import (
    Limits,
    MessageError,
    TooLargeError,
    UnsafeError,
    WireError,
    decode,
)

EVENT = {
    "uid": "e",
    "descriptor": "d",
    "seq_num": 1,
    "time": 1.5,
    "data": {"i0": np.float64(2.5), "n": np.int32(3), "spectrum": np.arange(6.0).reshape(2, 3)},
    "timestamps": {"i0": 1.0},
    "filled": {},
}


def orjson_dumps(doc: dict) -> bytes:
    return orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY)


SERIALIZERS = {
    "pickle": pickle.dumps,
    "pickle-0": functools.partial(pickle.dumps, protocol=0),
    "pickle-1": functools.partial(pickle.dumps, protocol=1),
    "pickle-5": functools.partial(pickle.dumps, protocol=5),
    "msgpack": functools.partial(msgpack.packb, default=msgpack_numpy.encode),
    "orjson": orjson_dumps,
    "json": lambda doc: json.dumps(doc, cls=NumpyEncoder).encode(),
    "json, indented": lambda doc: json.dumps(doc, cls=NumpyEncoder, indent=1).encode(),
}
KINDS = {name: name.split("-")[0].split(",")[0].replace("orjson", "json") for name in SERIALIZERS}


@pytest.fixture(params=[b"", b"xas"], ids=["no prefix", "prefix"])
def prefix(request: pytest.FixtureRequest) -> bytes:
    return request.param


def publish(doc: dict, name: str, *, prefix: bytes, serializer: object) -> bytes:
    """Return the frame that a stock Publisher sends for one document."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        socket.subscribe(b"")
        publisher = Publisher(f"127.0.0.1:{port}", prefix=prefix, serializer=serializer)
        stop = threading.Event()
        thread = threading.Thread(target=repeat, args=(publisher, name, doc, stop))
        thread.start()
        frame = socket.recv()
        stop.set()
        thread.join()
        publisher.close()
    return frame


def repeat(publisher: Publisher, name: str, doc: dict, stop: threading.Event) -> None:
    # a publisher is not told when a subscription has reached it
    while not stop.wait(0.01):
        publisher(name, doc)


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_what_a_stock_publisher_sends_is_read(serializer: str, prefix: bytes) -> None:
    frame = publish(EVENT, "event", prefix=prefix, serializer=SERIALIZERS[serializer])
    for expected in ("auto", KINDS[serializer]):
        name, doc = decode(frame, prefix=prefix, serializer=expected)
        assert name == "event"
        assert list(doc) == list(EVENT)
        np.testing.assert_array_equal(doc["data"]["spectrum"], EVENT["data"]["spectrum"])
        assert (doc["data"]["i0"], doc["data"]["n"]) == (2.5, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)),
        np.array(5.0),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros(2, [("a", ">f8"), ("b", "i4")]),
        np.array(["a", "bc"]),
        np.array([1 + 2j]),
        np.arange(10)[::2],
    ],
    ids=repr,
)
@pytest.mark.parametrize("serializer", ["pickle", "pickle-5", "msgpack"])
def test_arrays_keep_type_and_shape(array: np.ndarray, serializer: str) -> None:
    _, doc = decode(b" event " + SERIALIZERS[serializer]({"a": array, "c": 1 + 2j}))
    assert (doc["a"].dtype, doc["a"].shape, doc["c"]) == (array.dtype, array.shape, 1 + 2j)
    np.testing.assert_array_equal(doc["a"], array)


def test_nan_in_json_is_read() -> None:
    _, doc = decode(b' event {"a": NaN, "b": -Infinity}')
    assert np.isnan(doc["a"])
    assert doc["b"] == -np.inf


def test_integers_beyond_64_bits_in_json_are_numbers() -> None:
    _, doc = decode(b' event {"a": 1180591620717411303424}')
    assert doc["a"] == 2**70


def test_a_map_with_a_key_nd_of_its_own_is_a_map() -> None:
    doc = {"nd": 3, "complex": "maybe", "inner": {"complex": True}}
    assert decode(b" start " + msgpack.packb(doc))[1] == doc


def test_timestamps_of_msgpack_are_seconds() -> None:
    assert decode(b" start " + msgpack.packb({"a": msgpack.Timestamp(3)}))[1] == {"a": 3.0}


object_array = np.array([{}], object)
BAD = {
    "empty frame": b"",
    "other prefix": b"xas2 start {}",
    "no payload": b"xas start",
    "no name": b"xas  {}",
    "unknown name": b"xas begin {}",
    "name in another case": b"xas START {}",
    "name beyond ASCII": b"xas st\xc3\xa4rt {}",
    "empty payload": b"xas start ",
    "text": b"xas start hello",
    "list": b"xas start [1]",
    "number": b"xas start 5",
    "null": b"xas start null",
    "keys that are no names": b"xas start " + msgpack.packb({1: 2}),
    "pickled list": b"xas start " + pickle.dumps([1]),
    "pickled array": b"xas start " + pickle.dumps(np.ones(2)),
    "broken json": b'xas start {"a": ',
    "broken json with NaN": b'xas start {"a": NaN,,}',
    "json that is deeper than Python": b'xas start {"a": NaN, "b":' + b"[" * 100_000,
    "broken msgpack": b"xas start " + msgpack.packb({"a": [1, 2]})[:-1],
    "msgpack and more": b"xas start " + msgpack.packb({"a": 1}) + b"x",
    "empty map and more": b"xas start \x80x",
    "text that is not UTF-8": b"xas start \x81\xa1a\xa1\xff",
    "deep json": b'xas start {"a":' + b"[" * 500 + b"]" * 500 + b"}",
    "deep msgpack": b"xas start \x81\xa1a" + b"\x91" * 500 + b"\xc0",
    "many items": b'xas start {"a":[' + b"0," * 20_000 + b"0]}",
    "many items in all": b'xas start {"a":[' + b"[0,0,0,0],[0]," * 2_000 + b"0]}",
    "many keys": b"xas start " + json.dumps({str(i): 0 for i in range(600)}).encode(),
    "many keys in data": b"xas event "
    + msgpack.packb({"data": {str(i): 0 for i in range(600)}, "seq_num": 1}),
    "many keys, pickled": b"xas start " + pickle.dumps({"a": [dict.fromkeys(range(600), 0)]}),
    "too long": b'xas start {"a":"' + b"x" * 1_000_000 + b'"}',
    "pickle within msgpack": b"xas start "
    + msgpack.packb({"a": object_array}, default=msgpack_numpy.encode),
    "objects that are not marked": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "|O", b"shape": [1], b"data": b"x" * 8}}),
    "objects in a structure": b"xas start "
    + msgpack.packb(
        {
            "a": {
                b"nd": True,
                b"kind": b"V",
                b"type": [["x", "|O"]],
                b"shape": [1],
                b"data": b"8" * 8,
            }
        }
    ),
    "dtype by words": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "object", b"shape": [1], b"data": b"x" * 8}}),
    "array of nothing": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "<U0", b"shape": [9], b"data": b""}}),
    "array without a type": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"shape": [1], b"data": b"x"}}),
    "array that lies": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "<f8", b"shape": [9], b"data": b"x"}}),
    "array with a vast empty shape": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "<f8", b"shape": [2**60, 0], b"data": b""}}),
    "array of fractional shape": b"xas start "
    + msgpack.packb({"a": {b"nd": True, b"type": "<f8", b"shape": [0.5], b"data": b""}}),
    "complex that is none": b"xas start " + msgpack.packb({"a": {b"complex": True, b"data": "x"}}),
    "extension": b"xas start " + msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
    "code": b"xas start " + b"\x80\x04cos\nsystem\n.",
}
LIMITS = Limits(max_bytes=1_000_000, max_items=10_000, max_depth=20, max_keys=500)


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD)
def test_bad_messages_are_a_wire_error_that_says_what_was_found(frame: bytes) -> None:
    with pytest.raises((MessageError, TooLargeError, UnsafeError)) as caught:
        decode(frame, prefix=b"xas", limits=LIMITS)
    assert isinstance(caught.value, WireError | ValueError)
    assert 10 < len(str(caught.value)) < 400


def test_the_error_names_the_document_and_the_serialiser() -> None:
    with pytest.raises(MessageError, match=r"^start document \(json\): not JSON"):
        decode(BAD["broken json"], prefix=b"xas")


def test_a_serialiser_that_was_set_is_the_only_one() -> None:
    pickled = b"xas start " + pickle.dumps({"uid": "a"})
    for serializer in ("msgpack", "json"):
        with pytest.raises(MessageError):
            decode(pickled, prefix=b"xas", serializer=serializer)


@settings(max_examples=200)
@given(st.data())
def test_mutated_messages_are_documents_or_a_wire_error(data: st.DataObject) -> None:
    dumps = SERIALIZERS[data.draw(st.sampled_from(list(SERIALIZERS)))]
    frame = bytearray(b"xas event " + dumps(EVENT))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame)))
        frame[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        name, doc = decode(bytes(frame), prefix=b"xas", limits=LIMITS)
    except WireError:
        return
    assert isinstance(name, str)
    assert all(isinstance(key, str) for key in doc)
