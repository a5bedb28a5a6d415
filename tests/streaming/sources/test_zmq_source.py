import errno
import pickle
import threading
import time
from collections.abc import Callable, Iterator

import msgpack
import numpy as np
import orjson
import pytest
import zmq
from bluesky.callbacks.zmq import Publisher

from nearedge.sim.proxy import running_proxy
from nearedge.streaming.settings import profile
from nearedge.streaming.sources.frame_queue import FrameQueue, Interruption, Overflow
from nearedge.streaming.sources.zmq_source import ZmqSource


class Hub:
    """The out side of a proxy: unlike a proxy it knows when it has a subscriber."""

    def __init__(self, context: zmq.Context) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.sndhwm = 0
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"127.0.0.1:{self.port}"

    def wait_for_subscriber(self) -> bytes:
        assert self.socket.poll(10_000)
        return self.socket.recv()

    def send(self, name: str, doc: object, *, prefix: bytes = b"xas") -> None:
        self.socket.send(b" ".join([prefix, name.encode(), msgpack.packb(doc)]))

    def drop_subscribers(self) -> None:
        self.socket.unbind(f"tcp://{self.address}")
        self.socket.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with zmq.Context() as context:
        hub = Hub(context)
        yield hub
        hub.socket.close()


def config(address: str, **settings: object) -> profile.ZmqSourceSettings:
    return profile.ZmqSourceSettings(address=address, prefix="xas", **settings)


def test_documents_come_in_order_with_their_names(hub: Hub) -> None:
    source = ZmqSource(config(hub.address))
    source.start()
    assert hub.wait_for_subscriber() == b"\x01xas "
    sent = [("start", {"uid": "a"}), ("event", {"seq_num": 1}), ("stop", {"run_start": "a"})]
    for name, doc in sent:
        hub.send(name, doc)
    documents = source.documents()
    assert [next(documents) for _ in sent] == sent
    assert source.ready.wait(10)
    source.stop()
    assert list(documents) == []


def test_no_proxy_no_publisher_and_idle_are_told_apart(hub: Hub) -> None:
    now = 100.0
    source = ZmqSource(config(hub.address), clock=lambda: now)
    assert source.silence == f"no proxy answers at {hub.address}"
    source.start()
    hub.wait_for_subscriber()
    assert source.ready.wait(10)
    assert source.silence == f"no publisher heard of at {hub.address} with the prefix 'xas'"
    hub.send("start", {"uid": "a"})
    next(source.documents())
    assert source.silence is None
    now += 60.0
    assert source.silence == "idle: the last document came 60 s ago"
    source.stop()


def test_other_prefixes_are_not_even_sent(hub: Hub) -> None:
    source = ZmqSource(config(hub.address))
    source.start()
    hub.wait_for_subscriber()
    hub.send("start", {"uid": "other"}, prefix=b"xas2")
    hub.send("start", {"uid": "none"}, prefix=b"")
    hub.send("start", {"uid": "mine"})
    assert next(source.documents())[1] == {"uid": "mine"}
    source.stop()
    assert source.received == 1


def test_without_a_prefix_only_messages_without_one_are_taken(hub: Hub) -> None:
    source = ZmqSource(profile.ZmqSourceSettings(address=hub.address))
    source.start()
    assert hub.wait_for_subscriber() == b"\x01 "
    hub.send("start", {"uid": "other"})
    hub.send("start", {"uid": "mine"}, prefix=b"")
    assert next(source.documents())[1] == {"uid": "mine"}
    source.stop()


def test_bad_messages_are_counted_and_told_and_the_rest_goes_on(hub: Hub) -> None:
    told: list[str] = []
    source = ZmqSource(
        config(hub.address, max_message_mb=0.01), on_bad=lambda e: told.append(str(e))
    )
    source.start()
    hub.wait_for_subscriber()
    for payload in (b"begin {}", b"start {", b"event {" + b" " * 20_000 + b"}", b"start [1]"):
        hub.socket.send(b"xas " + payload)
    hub.send("start", {"uid": "a"})
    assert next(source.documents()) == ("start", {"uid": "a"})
    source.stop()
    assert source.bad == len(told) == 4
    assert "20012 bytes" in told[2]


def test_nothing_is_lost_while_nobody_takes_documents(hub: Hub) -> None:
    source = ZmqSource(config(hub.address))
    source.start()
    hub.wait_for_subscriber()
    for i in range(20_000):  # twenty times 0MQ's own high-water mark
        hub.send("event", {"seq_num": i})
    documents = source.documents()
    assert [next(documents)[1]["seq_num"] for _ in range(20_000)] == list(range(20_000))
    source.stop()
    assert (source.received, source.overflowed, source.waiting_bytes) == (20_000, 0, 0)


def bind_once_free(socket: zmq.Socket, address: str) -> None:
    """Take over an address whose socket is being closed by a thread of 0MQ."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.bind(f"tcp://{address}")
        except zmq.ZMQError as e:
            if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def test_a_lost_connection_is_told_between_the_documents_and_mends(hub: Hub) -> None:
    told: list[Interruption] = []
    source = ZmqSource(config(hub.address), on_gap=told.append)
    source.start()
    hub.wait_for_subscriber()
    assert source.ready.wait(10)
    hub.send("start", {"uid": "a"})
    documents = source.documents()
    assert next(documents)[1] == {"uid": "a"}
    hub.drop_subscribers()
    with zmq.Context() as context, context.socket(zmq.XPUB) as again:
        bind_once_free(again, hub.address)
        assert again.poll(10_000)
        again.recv()
        again.send(b'xas stop {"uid": "b"}')
        assert next(documents)[1] == {"uid": "b"}
        assert source.disconnects == 1
        source.stop()
    assert hub.address in told[0].detail


def test_documents_ends_when_another_thread_stops_it(
    hub: Hub, slowness: Callable[[], float]
) -> None:
    source = ZmqSource(config(hub.address))
    got: list = []
    thread = threading.Thread(target=lambda: got.extend(source.documents()))
    thread.start()
    hub.wait_for_subscriber()
    begin = time.monotonic()
    source.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - begin < 0.5 * slowness()
    assert got == []


def test_stopping_without_a_proxy_is_as_quick(hub: Hub, slowness: Callable[[], float]) -> None:
    hub.drop_subscribers()
    source = ZmqSource(config(hub.address))
    source.start()
    begin = time.monotonic()
    source.stop()
    source.stop()
    assert time.monotonic() - begin < 0.5 * slowness()
    assert list(source.documents()) == []


def test_a_source_that_was_stopped_before_it_began_has_nothing(hub: Hub) -> None:
    source = ZmqSource(config(hub.address))
    source.stop()
    assert list(source.documents()) == []


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"'nowhere'.*expected host:port"):
        ZmqSource(profile.ZmqSourceSettings(address="nowhere")).start()


def test_too_many_waiting_documents_are_told_as_an_overflow(hub: Hub) -> None:
    told: list[Overflow] = []
    source = ZmqSource(config(hub.address, queue_mb=0.01), on_overflow=told.append)
    source.start()
    hub.wait_for_subscriber()
    for i in range(20):
        hub.send("event", {"seq_num": i, "data": b"x" * 1000})
    hub.send("stop", {"run_start": "a"})
    while source.received < 21:
        threading.Event().wait(0.01)
    source.stop()
    names = [name for name, _ in source.documents()]
    assert names == ["event"] * 9 + ["stop"]
    assert source.overflowed == told[0].documents["event"] == 11
    assert told[0].size > 11_000


@pytest.mark.system
@pytest.mark.parametrize("serializer", [pickle.dumps, msgpack.dumps, orjson.dumps])
def test_a_stock_publisher_and_proxy_are_heard(serializer: object) -> None:
    with running_proxy() as proxy:
        source = ZmqSource(config(proxy.outward))
        source.start()
        assert source.ready.wait(20)
        publisher = Publisher(proxy.inward, prefix=b"xas", serializer=serializer)
        documents, heard = source.documents(), threading.Event()

        def repeat() -> None:
            while not heard.wait(0.02):  # a publisher is not told when it has subscribers
                publisher("start", {"uid": "a", "time": 1.5})

        thread = threading.Thread(target=repeat)
        thread.start()
        assert next(documents) == ("start", {"uid": "a", "time": 1.5})
        heard.set()
        thread.join()
        source.stop()
        publisher.close()


def name_of(frame: bytes) -> bytes:
    return frame.split(b" ")[1]


def test_a_queue_tells_each_overflow_where_it_happened() -> None:
    queue = FrameQueue(100, name_of=name_of, clock=lambda: 5.0)
    event = b"p event " + b"x" * 32
    queue.put([event, event, event, event])  # 40 bytes each
    queue.get()
    queue.put([event, event])
    queue.close()
    items = [queue.get() for _ in range(4)]
    assert [type(i) for i in items] == [bytes, Overflow, bytes, Overflow]
    assert items[1].documents == {"event": 2}
    assert (items[1].since, items[1].size) == (5.0, 80)
    assert queue.overflowed == 3
    assert queue.get() is None
    assert queue.size == 0


def test_frames_that_end_a_run_find_room_a_little_longer_but_not_for_ever() -> None:
    queue = FrameQueue(1000, name_of=name_of)
    queue.put([b"p event " + b"x" * 990, b"p stop " + b"x" * 50, b"p stop " + b"x" * 90])
    assert queue.overflowed == 1
    assert queue.size == 998 + 57


def test_decoding_waits_for_whoever_takes_the_document(hub: Hub) -> None:
    source = ZmqSource(config(hub.address))
    source.start()
    hub.wait_for_subscriber()
    hub.socket.send(b"xas event " + pickle.dumps({"data": {"x": np.arange(3.0)}}))
    while not source.waiting_bytes:
        threading.Event().wait(0.01)
    _, doc = next(source.documents())
    np.testing.assert_array_equal(doc["data"]["x"], [0.0, 1.0, 2.0])
    source.stop()
