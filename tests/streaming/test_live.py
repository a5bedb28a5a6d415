"""A stock Bluesky session drives the service: every part is the real one, Tiled in-process."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from nearedge.models.answering.card import shipped
from nearedge.sim.proxy import running_proxy
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.results import Results
from nearedge.streaming.catalog.storing import Comparing, Storing
from nearedge.streaming.commands.opening import serving
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.service import Audience
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.jsonl_source import JsonlSource
from nearedge.streaming.sources.zmq_source import ZmqSource

# What a beamline without nearedge has: classic devices, a stock RunEngine and publisher.
SESSION = """
import json, sys, time
import msgpack, msgpack_numpy, numpy as np, orjson, pickle
from bluesky import RunEngine
from bluesky.callbacks.zmq import Publisher
from bluesky.plans import list_scan
from ophyd.sim import SynAxis, SynSignal
from event_model import NumpyEncoder

address, recording = sys.argv[1:]
serializers = {
    "pickle": pickle.dumps,
    "msgpack": lambda doc: msgpack.packb(doc, default=msgpack_numpy.encode),
    "json": lambda doc: orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY),
}
energies = 1840.0 + np.concatenate([np.arange(-30, -5, 2.5), np.arange(-5, 15, 0.4),
                                    np.arange(15, 60, 1.5)])
mono = SynAxis(name="mono")

def white_line():
    x = mono.position - 1846.0
    step = np.arctan(x / 0.5) / np.pi + 0.5
    return step + 1.2 * np.exp(-((x - 1.0) / 1.2) ** 2) + 0.1 * step * np.sin(x / 4)

i0 = SynSignal(func=lambda: 1e6, name="i0")
it = SynSignal(func=lambda: 1e6 * np.exp(-0.3 - white_line()), name="it")
RE = RunEngine({})
lines = open(recording, "w")
RE.subscribe(lambda *pair: lines.write(json.dumps(pair, cls=NumpyEncoder) + "\\n"))
for name, dumps in serializers.items():
    publisher = Publisher(address, serializer=dumps)
    time.sleep(1.0)  # a publisher cannot tell when it is connected
    token = RE.subscribe(publisher)
    RE(list_scan([i0, it], mono, list(energies)), wire=name)
    RE.unsubscribe(token)
    publisher.close()
assert not any(module.startswith("nearedge") for module in sys.modules)
"""


def profile(address: str) -> Profile:
    return Profile.model_validate(
        {
            "instrument": {
                "signal": "transmission",
                "roles": {"energy": "mono", "i0": "i0", "it": "it"},
                "partial_every_s": 0.05,
            },
            "source": {"address": address},
            "worker": {"samples": 4, "quality": "fast", "threads": 1},
        }
    )


class Until:
    """A listener that knows when so many rows have come."""

    def __init__(self, expected: int) -> None:
        self.rows: list = []
        self._expected = expected
        self.enough = threading.Event()

    def __call__(self, row) -> None:
        self.rows.append(row)
        if len(self.rows) >= self._expected:
            self.enough.set()


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.mark.system
@pytest.mark.skipif("siox" not in shipped(), reason="no weights are shipped")
def test_a_stock_session_gets_its_results_live_and_again_in_replay(tiled_client, ledger, tmp_path):
    container = results_container(tiled_client, "inversions")
    recording, seen, partial = tmp_path / "session.jsonl", Until(3), []
    with running_proxy() as proxy:
        settings = profile(proxy.outward)
        source = ZmqSource(settings.source)
        put = Storing(lambda: container, config=settings.digest()).put
        with serving(
            settings,
            source=source,
            ledger=ledger,
            put=put,
            audience=Audience(rows=[seen], partials=[lambda *news: partial.append(news)]),
        ):
            assert source.ready.wait(30)
            command = [sys.executable, "-c", SESSION, proxy.inward, str(recording)]
            subprocess.run(command, check=True, timeout=90)
            assert seen.enough.wait(90)

    assert [row.status for row in seen.rows] == [State.COMPLETE] * 3
    assert {row.measurement.run.start["wire"] for row in seen.rows} == {"pickle", "msgpack", "json"}
    results = list(Results(container).search())
    assert {r.metadata["raw"]["uid"] for r in results} == {
        row.measurement.run.uid for row in seen.rows
    }
    assert results[0].positions.shape[0] == 4
    # the scans were shown while they ran, and nothing of that was stored
    assert all(not measurement.final for measurement, _, _ in partial)
    assert partial
    assert dict(Results(container).finished()).keys() == set(container)

    replayed(settings, recording, ledger, put, expected_known=3)
    comparing = Comparing(container)
    fresh = Ledger(":memory:")
    replayed(settings, recording, fresh, comparing.put, expected_known=0)
    fresh.close()
    assert comparing.counts == {"equal": 3}
    assert len(list(Results(container).search())) == 3


def replayed(settings, recording, ledger, put, *, expected_known: int) -> None:
    source = JsonlSource([recording])
    with serving(settings, source=source, ledger=ledger, put=put, live=False) as service:
        assert service.drain(90)
    assert service.known == expected_known
