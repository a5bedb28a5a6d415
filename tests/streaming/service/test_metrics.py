from prometheus_client import generate_latest

from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.profile import WorkerSettings
from nearedge.streaming.sources.zmq_source import ZmqSource
from nearedge.streaming.workers.worker import Worker


def test_what_a_source_loses_and_what_a_worker_restarts_are_counted():
    source, worker = ZmqSource(profile.ZmqSourceSettings()), Worker(WorkerSettings())
    metrics = Metrics()
    metrics.watch_live(source, worker)
    source.bad, source.disconnects, worker.restarts = 3, 2, 1
    source._queue.overflowed, source._queue.size = 5, 1000
    text = generate_latest(metrics.registry).decode()
    for line in (
        "nearedge_refused_messages_total 3.0",
        "nearedge_disconnects_total 2.0",
        "nearedge_overflowed_documents_total 5.0",
        "nearedge_worker_restarts_total 1.0",
        "nearedge_waiting_bytes 1000.0",
    ):
        assert line in text.splitlines()


def test_a_worker_that_never_started_was_never_replaced():
    metrics = Metrics()
    metrics.watch_live(ZmqSource(profile.ZmqSourceSettings()), Worker(WorkerSettings()))
    assert metrics.registry.get_sample_value("nearedge_worker_restarts_total") == 0
