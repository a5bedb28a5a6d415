"""What the service counts, in Prometheus form and in a registry of its own."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.row import Row

SECONDS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0)


class Connection(Protocol):
    """What a live source counts, as in `nearedge.streaming.sources.zmq_source.ZmqSource`."""

    received: int
    received_bytes: int
    bad: int
    disconnects: int
    refused: int

    @property
    def overflowed(self) -> int:
        """Documents discarded since too many were waiting."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes received and not yet decoded."""


class Restarts(Protocol):
    """What counts how often its process or connection was replaced; -1 before the first."""

    @property
    def restarts(self) -> int:
        """So many."""


class Metrics:
    """The counters of one service.

    Attributes
    ----------
    registry
        All of them, for `prometheus_client.generate_latest`.
    documents, bad_documents, discarded, gaps
        Documents by name; those that raised; those not used, by reason; gaps in runs.
    backfills, caught_up, interruptions
        Runs with gaps by what became of them; missed runs that were read from the catalog; times
        that the connection was lost or documents overflowed.
    known, rejected, done
        Spectra that the ledger had already; rejections by reason; ends by state.
    seconds
        Time spent by stage.
    retries, errors
        Tries that failed by stage; errors that a loop survived.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        count = self._counter
        self.documents = count("documents", "documents received", "name")
        self.bad_documents = count("bad_documents", "documents that could not be read", "name")
        self.discarded = count("discarded", "documents that were not used", "reason")
        self.gaps = count("gaps", "gaps found in runs")
        self.backfills = count("backfills", "runs with gaps, by what became of them", "outcome")
        self.caught_up = count("caught_up_runs", "missed runs read from the catalog")
        self.interruptions = count("interruptions", "connections lost, or documents overflowed")
        self.known = count("known_spectra", "spectra that the ledger had already")
        self.rejected = count("rejected", "measurements that were not inverted", "reason")
        self.done = count("spectra", "spectra that came to an end", "status")
        self.retries = count("retries", "tries that failed", "stage")
        self.errors = count("errors", "errors that a loop survived", "loop")
        self.seconds = Histogram(
            "nearedge_stage_seconds",
            "time of a spectrum in each stage",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"nearedge_{name}", text, labels, registry=self.registry)

    def count(self, row: Row) -> None:
        """Count a spectrum that came to an end."""
        self.done.labels(row.status).inc()
        for stage, seconds in row.stages.items():
            self.seconds.labels(stage).observe(seconds)

    def watch(self, ledger: Ledger) -> None:
        """Show the ledger's states among the metrics."""
        self.registry.register(LedgerCollector(ledger))

    def watch_live(self, source: Connection, worker: Restarts) -> None:
        """Show what a live source and a worker count themselves among the metrics."""
        self.registry.register(LiveCollector(source, worker))


class LedgerCollector(Collector):
    """The ledger's states and backlog, read whenever somebody asks."""

    def __init__(self, ledger: Ledger) -> None:
        self._backlog, self._runs = ledger.backlog, ledger.runs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the number of spectra by state and the age of the oldest open one."""
        states = GaugeMetricFamily("nearedge_ledger", "spectra by state", labels=["state"])
        for state, n in self._backlog.counts().items():
            states.add_metric([state], n)
        yield states
        runs = GaugeMetricFamily("nearedge_runs", "runs by state", labels=["state"])
        for name, n in self._runs.counts().items():
            runs.add_metric([name], n)
        yield runs
        age = self._backlog.oldest_age_s() or 0.0
        yield GaugeMetricFamily("nearedge_oldest_seconds", "age of the oldest open one", age)


class LiveCollector(Collector):
    """What is lost or refused before documents are decoded, and the worker's restarts."""

    def __init__(self, source: Connection, worker: Restarts) -> None:
        self._source, self._worker = source, worker

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the counters of the source and of the worker."""
        source = self._source
        for name, text, value in (
            ("messages", "messages received", source.received),
            ("message_bytes", "bytes of the messages received", source.received_bytes),
            ("refused_messages", "messages that are no document", source.bad),
            ("overflowed_documents", "documents discarded for want of room", source.overflowed),
            ("disconnects", "connections lost", source.disconnects),
            ("refused_handshakes", "connections that the proxy refused", source.refused),
            ("worker_restarts", "workers replaced", max(0, self._worker.restarts)),
        ):
            yield CounterMetricFamily(f"nearedge_{name}", text, value)
        waiting = source.waiting_bytes
        yield GaugeMetricFamily("nearedge_waiting_bytes", "bytes that wait to be decoded", waiting)
