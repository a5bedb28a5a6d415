import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from nearedge.sim.beamline import RawStore, check_listener, run_beamline, serializer
from nearedge.sim.proxy import loopback, running_proxy
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.wire import decode


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_missing_proxy_is_told_with_what_to_do(free_address: str) -> None:
    with pytest.raises(ConnectionError, match=f"nothing listens at {free_address}.*bluesky-0MQ"):
        check_listener(free_address)


@pytest.mark.parametrize("bound", [5577, "tcp://127.0.0.1:5577", "127.0.0.1:5577"])
def test_proxy_address_is_read_in_every_form(bound: int | str) -> None:
    assert loopback(bound) == "127.0.0.1:5577"


@pytest.mark.parametrize("name", ["msgpack", "json", "pickle"])
def test_service_reads_what_each_serializer_writes(name: str) -> None:
    doc = {"uid": "1", "data": {"camera-spectrum": np.arange(4.0)}, "seq_num": 1}
    written, read = decode(b" event " + serializer(name)(doc))
    assert written == "event"
    assert np.asarray(read["data"]["camera-spectrum"]).tolist() == [0, 1, 2, 3]


def test_documents_cross_a_real_proxy() -> None:
    published: list[str] = []
    received: list[tuple[str, dict[str, Any]]] = []
    with running_proxy() as proxy, zmq.Context() as context:
        with context.socket(zmq.SUB) as subscriber:
            subscriber.setsockopt(zmq.RCVTIMEO, 10_000)
            subscriber.connect(f"tcp://{proxy.outward}")
            subscriber.subscribe(b"")
            profile = Profile.model_validate(
                {
                    "simulator": {
                        "publish": proxy.inward,
                        "scans": 2,
                        "points": 20,
                        "dwell_s": 0.0,
                        "pause_s": 0.0,
                    }
                }
            )
            uids = run_beamline(profile, watch=lambda name, doc: published.append(name))
            while len(received) < len(published):
                received.append(decode(subscriber.recv()))
    assert Counter(name for name, _ in received) == Counter(published)
    starts = [doc["uid"] for name, doc in received if name == "start"]
    assert starts[1:] == uids  # the first is the dark
    currents = [
        doc["data"]["ring-current"] for _, doc in received if "ring-current" in doc.get("data", {})
    ]
    assert len(currents) == 2 * len(starts)  # the baseline, before each run and after it
    assert 400.0 >= currents[0] > currents[-1] > 390.0


class Broken:
    """A writer that fails on stop documents."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.seen: list[str] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.seen.append(name)
        if name == "stop":
            raise OSError("the disk is full")


def test_failing_store_is_counted_and_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bluesky_tiled_plugins.TiledWriter", Broken)
    store = RawStore(None, backup=tmp_path)
    for name, doc in (("start", {"uid": "u"}), ("stop", {"uid": "v", "run_start": "u"})):
        store(name, doc)
    store.close()
    assert store.failures == 1
    assert "a stop document of u was not stored" in caplog.text
