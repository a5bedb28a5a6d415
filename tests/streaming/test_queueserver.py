"""A stock bluesky-queueserver runs the plans; the service listens beside it, unknown to it."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import zmq

from nearedge.models.answering.card import shipped
from nearedge.sim.proxy import running_proxy
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.storing import Storing
from nearedge.streaming.commands.opening import serving
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.service import Audience
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.zmq_source import ZmqSource

pytest.importorskip("bluesky_queueserver")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    fakeredis = pytest.importorskip("fakeredis")

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif("siox" not in shipped(), reason="no weights are shipped"),
]

# What a beamline gives its RE manager; nothing in it is of nearedge.
STARTUP = """
import os

import numpy as np
from bluesky import RunEngine
from bluesky.callbacks.zmq import Publisher
from bluesky.plans import list_scan
from ophyd.sim import SynAxis, SynSignal

ENERGIES = 1840.0 + np.concatenate([np.arange(-30, -5, 2.5), np.arange(-5, 15, 0.4),
                                    np.arange(15, 60, 1.5)])
mono = SynAxis(name="mono")

def white_line():
    x = mono.position - 1846.0
    step = np.arctan(x / 0.5) / np.pi + 0.5
    return step + 1.2 * np.exp(-((x - 1.0) / 1.2) ** 2) + 0.1 * step * np.sin(x / 4)

i0 = SynSignal(func=lambda: 1e6, name="i0")
it = SynSignal(func=lambda: 1e6 * np.exp(-0.3 - white_line()), name="it")

def edge_scan(sample: str = "quartz"):
    yield from list_scan([i0, it], mono, list(ENERGIES), md={"sample_name": sample})

RE = RunEngine({})
RE.subscribe(Publisher(os.environ["DOCUMENTS"]))
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def redis_like() -> Iterator[str]:
    """Serve Redis's protocol, which the RE manager keeps its queue with."""
    with fakeredis.TcpFakeServer(("127.0.0.1", 0)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


Ask = Callable[..., dict[str, Any]]


@contextmanager
def manager(folder: Path, *, publish: str) -> Iterator[Ask]:
    """Run an RE manager; yield what sends it a request."""
    (folder / "startup.py").write_text(STARTUP)
    permissions = "profile_collection_sim/user_group_permissions.yaml"
    shutil.copy(str(files("bluesky_queueserver") / permissions), folder)
    address = f"tcp://127.0.0.1:{free_port()}"

    def ask(method: str, **parameters: Any) -> dict[str, Any]:
        with zmq.Context() as context, context.socket(zmq.REQ) as request:
            request.linger = 0
            request.connect(address)
            request.send_json({"method": method, "params": parameters})
            if not request.poll(2000):
                raise TimeoutError(f"the RE manager did not answer {method}")
            return dict(request.recv_json())

    with redis_like() as redis, (folder / "manager.log").open("wb") as log:
        options = {
            "--zmq-control-addr": address,
            "--zmq-info-addr": f"tcp://127.0.0.1:{free_port()}",
            "--redis-addr": redis,
            "--startup-script": str(folder / "startup.py"),
            "--user-group-permissions": str(folder / "user_group_permissions.yaml"),
            "--existing-plans-devices": str(folder / "existing.yaml"),
            "--update-existing-plans-devices": "ALWAYS",
            "--keep-re": None,
        }
        words = [word for pair in options.items() for word in pair if word is not None]
        command = ["start-re-manager", *words]
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, "DOCUMENTS": publish},
            start_new_session=True,
        )
        try:
            yield ask
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(ask: Ask, wanted: Callable[[dict[str, Any]], bool], *, timeout_s: float = 90.0) -> None:
    deadline, status = time.monotonic() + timeout_s, {}
    while time.monotonic() < deadline:
        try:
            status = ask("status")
        except TimeoutError:  # it does not answer yet
            continue
        if wanted(status):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the RE manager came no further than {status}")


def test_plans_of_the_queue_get_results(tiled_client: Any, tmp_path: Path) -> None:
    rows, both = [], threading.Event()

    def listen(row: Any) -> None:
        rows.append(row)
        if len(rows) == 2:
            both.set()

    container, ledger = results_container(tiled_client, "inversions"), Ledger(tmp_path / "ledger")
    with running_proxy() as proxy:
        profile = Profile.model_validate(
            {
                "instrument": {"roles": {"energy": "mono", "i0": "i0", "it": "it"}},
                "source": {"address": proxy.outward},
                "worker": {"samples": 2, "quality": "fast", "threads": 1},
            }
        )
        source = ZmqSource(profile.source)
        put = Storing(lambda: container, config=profile.digest()).put
        with (
            manager(tmp_path, publish=proxy.inward) as ask,
            serving(
                profile,
                source=source,
                ledger=ledger,
                put=put,
                audience=Audience(rows=[listen]),
            ),
        ):
            assert source.ready.wait(30)
            until(ask, lambda status: status["manager_state"] == "idle")
            assert ask("environment_open")["success"]
            until(ask, lambda status: status["worker_environment_exists"])
            user = {"user": "test", "user_group": "primary"}
            for sample in ("quartz", "coesite"):
                item = {"item_type": "plan", "name": "edge_scan", "kwargs": {"sample": sample}}
                answer = ask("queue_item_add", item=item, **user)
                assert answer["success"], answer["msg"]
            assert ask("queue_start")["success"]
            assert both.wait(120), (tmp_path / "manager.log").read_text()[-2000:]
            until(ask, lambda status: status["items_in_history"] == 2)
    ledger.close()
    assert [row.status for row in rows] == [State.COMPLETE] * 2
    assert [row.measurement.run.start["sample_name"] for row in rows] == ["quartz", "coesite"]
