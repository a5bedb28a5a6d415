import sqlite3
import threading
import time
from collections import Counter

import event_model
import httpx
import numpy as np
import pytest
import stamina

from nearedge.callbacks.open_run import MOST_SHOWN, OpenRun
from nearedge.models import Estimates, Interval, Inversion, Quality, Reason, Samples
from nearedge.streaming.answers.answer import answer_of_row
from nearedge.streaming.answers.summary import summary
from nearedge.streaming.ledger.job import Place, State
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.merging import Merger
from nearedge.streaming.service.method import Method
from nearedge.streaming.service.service import Audience, Service
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.workers.crew import Crew
from nearedge.streaming.workers.worker import WorkerDied, WorkerError, WorkerUnavailable

ENERGY = 1840.0 + np.linspace(-25.0, 60.0, 120)
PROFILE = Profile.model_validate(
    {
        "instrument": {
            "signal": "mu",
            "roles": {"energy": "mono", "mu": "mu"},
            "partial_every_s": 0,
        },
        "worker": {"batch": 4, "attempts": 3, "samples": 2},
    }
)


def scan(
    *, edge: bool = True, scan_id: int = 1, energies: np.ndarray = ENERGY
) -> list[tuple[str, dict]]:
    """Return the documents of one step scan over an edge, or over none."""
    run = event_model.compose_run(metadata={"scan_id": scan_id})
    keys = {name: {"source": "test", "dtype": "number", "shape": []} for name in ("mono", "mu")}
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    x = energies
    step = np.arctan((x - 1845.0) / 0.8) / np.pi + 0.5 + 0.3 * np.exp(-((x - 1847) ** 2))
    mu = 0.2 + (1.5 * step if edge else 1e-3 * np.sin(x * 7))
    docs = [("start", run.start_doc), ("descriptor", stream.descriptor_doc)]
    for e, m in zip(energies, mu, strict=True):
        data = {"mono": float(e), "mu": float(m)}
        event = stream.compose_event(data=data, timestamps=dict.fromkeys(data, time.time()))
        docs.append(("event", event))
    return [*docs, ("stop", run.compose_stop())]


def key_of(docs) -> str:
    return docs[0][1]["uid"].replace("-", "")


class ListSource:
    """Documents from a list; stays open, as a live bus does, until it is stopped or let go."""

    silence = None

    def __init__(self, documents, *, stays: bool = False) -> None:
        self._documents, self._stays = documents, stays
        self._stop = threading.Event()

    def documents(self, on_loss=lambda: None):
        yield from self._documents
        if self._stays:
            self._stop.wait(30)

    def stop(self) -> None:
        self._stop.set()


class ScriptedWorker:
    """A worker whose first answers are the errors of a script."""

    blocks_at_once = 1

    def __init__(self, *script, poison: int | None = None) -> None:
        self.script = list(script)
        self.poison = poison
        self.batches: list[int] = []
        self.closed = threading.Event()

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.closed.set()

    @property
    def problem(self) -> None:
        return None

    def invert(self, spectra, *, seeds, keys=None, quality=None):
        self.batches.append(len(spectra))
        if self.script:
            raise self.script.pop(0)
        if self.poison in seeds:
            raise WorkerDied("the worker died (by signal 11)")
        return [inversion(s, seed) for s, seed in zip(spectra, seeds, strict=True)]


class Catalog:
    """What was put, by key; the first puts fail as a script says."""

    def __init__(self, *script) -> None:
        self.script = list(script)
        self.rows = {}
        self.puts: Counter[str] = Counter()

    def put(self, row) -> None:
        if self.script:
            raise self.script.pop(0)
        self.puts[row.key] += 1
        self.rows[row.key] = row


def inversion(spectrum, seed: int) -> Inversion:
    estimates = Estimates(
        cn_prob=np.array([0, 0, 0, 0, 1.0]),
        cn_mean=4.0,
        cn_map=4,
        cn_set=(4,),
        bond=Interval(mean=1.61, lo=1.60, hi=1.62),
        angle=None,
        bridge=None,
        sample_cn=np.full(2, 4),
        sample_bond=np.full(2, 1.61),
        sample_angle=np.full(2, 109.5),
        rdf_r=np.linspace(0, 5, 3),
        rdf={"O": np.zeros(3)},
    )
    samples = Samples(
        species=np.full((2, 4), "O"),
        positions=np.zeros((2, 4, 3), np.float32),
        weights=np.full(2, 0.5),
    )
    return Inversion(
        absorber=spectrum.absorber,
        edge=spectrum.edge,
        samples=samples,
        estimates=estimates,
        grid=np.arange(3.0),
        condition=np.arange(3.0),
        ood_score=0.1,
        ood_flag=False,
        misfit=None,
        model="digest",
        seed=seed,
        quality=Quality.FAST,
        seconds=0.1,
    )


def unreachable() -> Exception:
    return httpx.ConnectError("connection refused")


def refused(status: int) -> Exception:
    request = httpx.Request("POST", "http://catalog")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.fixture
def build(ledger):
    """Return a function that makes a service of fakes; its rows come in `service.rows`."""

    def build(documents, *, worker=None, catalog=None, supports=lambda a, e: True, **kwargs):
        rows = []
        service = Service(
            profile=PROFILE,
            source=ListSource(documents, stays=kwargs.pop("stays", False)),
            ledger=ledger,
            worker=worker or ScriptedWorker(),
            method=Method(
                instrument=PROFILE.instrument,
                key=lambda measurement: measurement.run.uid.replace("-", ""),
                supports=supports,
            ),
            put=(catalog or Catalog()).put,
            audience=Audience(
                rows=[rows.append, *kwargs.pop("listeners", ())],
                answers=kwargs.pop("answer_listeners", ()),
                partials=kwargs.pop("partial_listeners", ()),
            ),
            **kwargs,
        )
        service.rows = rows
        return service

    return build


def value(service, name: str, /, **labels) -> float:
    return service.metrics.registry.get_sample_value(f"nearedge_{name}", labels or None)


def test_every_scan_gets_its_result(build):
    catalog = Catalog()
    scans = [scan(scan_id=n) for n in range(3)]
    with build([doc for docs in scans for doc in docs], catalog=catalog) as service:
        assert service.drain(20)
    assert catalog.puts == Counter(key_of(docs) for docs in scans)
    assert {row.status for row in service.rows} == {State.COMPLETE}
    row = service.rows[0]
    assert row.inversion.absorber == "Si"
    assert set(row.stages) == {"arrive", "wait", "invert", "write"}
    assert value(service, "documents_total", name="stop") == 3
    assert value(service, "spectra_total", status="complete") == 3


def test_a_run_that_ends_slowly_holds_up_no_other(build, monkeypatch):
    slow = scan(scan_id=1, energies=np.linspace(1815.0, 1900.0, MOST_SHOWN + 1))
    quick = scan(scan_id=2)
    answered, end = threading.Event(), OpenRun.end

    def slowly(run, ending):
        if run.is_long:
            assert answered.wait(20)
        return end(run, ending)

    monkeypatch.setattr(OpenRun, "end", slowly)
    order = []

    def note(row):
        order.append(row.measurement.run.scan_id)
        answered.set()

    with build([*slow, *quick], listeners=[note]) as service:
        assert service.drain(30)
    assert order == [2, 1]
    assert {row.status for row in service.rows} == {State.COMPLETE}


def test_a_long_run_that_cannot_be_ended_is_counted(build, monkeypatch, caplog):
    def fail(run, ending):
        raise ArithmeticError("no")

    monkeypatch.setattr(OpenRun, "end", fail)
    slow = scan(energies=np.linspace(1815.0, 1900.0, MOST_SHOWN + 1))
    with build(slow) as service:
        assert service.drain(30)
    assert value(service, "bad_documents_total", name="stop") == 1
    assert "the end of run" in caplog.text


def test_what_is_known_is_not_done_again(build):
    docs = scan()
    with build(docs) as service:
        assert service.drain(20)
    worker = ScriptedWorker()
    with build(docs, worker=worker) as again:
        assert again.drain(20)
    assert worker.batches == []
    assert again.rows == []
    assert value(again, "known_spectra_total") == 1


def test_a_scan_over_no_edge_is_recorded_as_rejected(build):
    catalog, worker = Catalog(), ScriptedWorker()
    with build(scan(edge=False), catalog=catalog, worker=worker) as service:
        assert service.drain(20)
    (row,) = catalog.rows.values()
    assert row.status is State.REJECTED
    assert row.outcome.reason in Reason
    assert row.inversion is None
    assert worker.batches == []


def test_an_edge_that_the_model_does_not_know_is_rejected(build):
    catalog = Catalog()
    with build(scan(), catalog=catalog, supports=lambda a, e: False) as service:
        assert service.drain(20)
    (row,) = catalog.rows.values()
    assert row.outcome.reason is Reason.UNSUPPORTED
    assert "Si K" in row.outcome.detail


def test_waiting_reads_the_open_keys_alone_and_seldom(build, ledger):
    """Thousands of spectra wait: to look after them must not cost what reading them does."""
    for n in range(50):
        place = Place(run_uid="r", scan_id=n, stream="primary", spectrum=str(n))
        ledger.submit(str(n), place, bytes(100_000))
    service = build([])
    service._open, service._source_ended = {str(n) for n in range(60)}, True  # ten ended elsewhere
    statements: list[str] = []
    ledger._database._connection.set_trace_callback(statements.append)
    assert not service.drain(0)
    assert not service.drain(0)
    assert len(statements) == 1 and statements[0].startswith("SELECT key FROM")
    assert service._open == {str(n) for n in range(50)}


def test_a_document_that_is_nonsense_harms_no_other(build):
    docs = scan()
    docs[3:3] = [("event", {"uid": 1}), ("nonsense", {}), ("stop", {}), ("start", {"uid": []})]
    with build(docs) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.COMPLETE]


def test_a_worker_that_dies_once_costs_nothing(build):
    worker = ScriptedWorker(WorkerDied("the worker died"))
    with build(scan(), worker=worker) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.COMPLETE]
    assert value(service, "retries_total", stage="invert") == 1


def test_a_poison_spectrum_takes_no_batch_mate_with_it(build, ledger):
    from nearedge.streaming.ledger.key import seed_of

    scans = [scan(scan_id=n) for n in range(4)]
    poison = key_of(scans[1])
    worker = ScriptedWorker(poison=seed_of(poison))
    # all four wait before the service starts, so that they come as one batch
    waiting = build([doc for docs in scans for doc in docs], worker=worker)
    waiting._read()
    waiting.start()
    assert waiting.drain(20)
    waiting.stop()
    assert worker.batches[0] == 4
    assert set(worker.batches[1:]) == {1}
    states = {row.key: row.status for row in waiting.rows}
    assert states == {key_of(d): State.COMPLETE for d in scans} | {poison: State.FAILED}
    job = ledger.backlog.get(poison)
    assert job.attempts == PROFILE.worker.attempts
    assert "signal 11" in job.error
    assert all(ledger.backlog.get(key_of(d)).attempts == 0 for d in scans if key_of(d) != poison)


def test_the_workers_of_a_crew_share_the_work(build):
    both = threading.Barrier(2, timeout=20)

    class Meeting(ScriptedWorker):
        def invert(self, spectra, **options):
            if not self.batches:
                both.wait()  # until the other has work too
            return super().invert(spectra, **options)

    crew = Crew([Meeting(), Meeting()])
    scans = [scan(scan_id=n) for n in range(5)]  # more than one batch
    catalog = Catalog()
    with build([doc for docs in scans for doc in docs], worker=crew, catalog=catalog) as service:
        assert service.drain(20)
    assert catalog.puts == Counter(key_of(docs) for docs in scans)
    assert all(member.batches for member in crew.members)
    assert all(member.closed.is_set() for member in crew.members)


def test_a_ledger_that_takes_nothing_is_told_and_tried_until_it_does(build, ledger, monkeypatch):
    submit, full = ledger.submit, [sqlite3.OperationalError("database or disk is full")] * 3
    told = []

    def failing(*arguments, **options):
        if full:
            raise full.pop()
        told.append(service.checks()["ledger"])
        return submit(*arguments, **options)

    monkeypatch.setattr(ledger, "submit", failing)
    stamina.set_testing(True, attempts=10)
    try:
        with build(scan()) as service:
            assert service.drain(20)
    finally:
        stamina.set_testing(False)
    assert "disk is full" in told[0]
    assert service.checks()["ledger"] is None
    assert value(service, "retries_total", stage="submit") == 3
    assert [row.status for row in service.rows] == [State.COMPLETE]


def test_failed_spectra_can_be_brought_back(build, ledger):
    errors = [WorkerError("ValueError: no")] * PROFILE.worker.attempts
    with build(scan(), worker=ScriptedWorker(*errors)) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.FAILED]
    assert ledger.queue.retry() == 1
    done = threading.Event()
    with build([], stays=True, listeners=[lambda row: done.set()]) as again:
        assert done.wait(20)
    assert [row.status for row in again.rows] == [State.COMPLETE]


def test_a_worker_that_does_not_start_costs_no_tries(build, ledger, monkeypatch):
    monkeypatch.setattr("nearedge.streaming.service.dispatch.UNAVAILABLE_S", 0.01)
    worker = ScriptedWorker(*[WorkerUnavailable("no weights")] * 8)
    with build(scan(), worker=worker) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.COMPLETE]
    assert value(service, "errors_total", loop="worker") == 8


@pytest.fixture
def no_waiting(monkeypatch):
    stamina.set_testing(True, attempts=3, cap=True)
    monkeypatch.setattr("nearedge.streaming.service.writing.LONGEST_DELAY_S", 0.01)
    yield
    stamina.set_testing(False)


def test_a_catalog_that_is_down_delays_but_loses_nothing(build, no_waiting):
    catalog = Catalog(*[unreachable() for _ in range(20)])
    with build(scan(), catalog=catalog) as service:
        assert service.drain(20)
    assert list(catalog.puts.values()) == [1]
    assert value(service, "retries_total", stage="write") >= 6


def test_a_hiccup_of_the_catalog_is_bridged_at_once(build, no_waiting):
    with build(scan(), catalog=Catalog(refused(503))) as service:
        assert service.drain(20)
    assert value(service, "retries_total", stage="write") is None


@pytest.mark.parametrize("status", [401, 403, 409, 413, 429, 500, 507])
def test_a_catalog_that_refuses_for_a_while_gets_each_answer_once(build, no_waiting, status):
    catalog = Catalog(*[refused(status) for _ in range(12)])
    with build(scan(), catalog=catalog) as service:
        assert service.drain(20)
    assert list(catalog.puts.values()) == [1]
    assert [row.status for row in service.rows] == [State.COMPLETE]
    assert value(service, "retries_total", stage="write") >= 4


def test_a_catalog_that_refuses_for_good_ends_as_failed(build, no_waiting, ledger):
    catalog = Catalog(*[refused(413)] * 50)
    with build(scan(), catalog=catalog) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.FAILED]
    catalog.script.clear()
    ledger.queue.retry()
    done = threading.Event()
    with build([], catalog=catalog, stays=True, listeners=[lambda row: done.set()]):
        assert done.wait(20)
    assert list(catalog.puts.values()) == [1]


def test_spectra_are_written_side_by_side(build):
    meeting = threading.Barrier(2, timeout=20)

    class Waiting(Catalog):
        def put(self, row):
            meeting.wait()  # one by one, nobody would come to meet it
            super().put(row)

    build([*scan(scan_id=1), *scan(scan_id=2)], supports=lambda a, e: False)._read()
    with build([], catalog=Waiting()) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.REJECTED] * 2


def test_an_answer_that_the_catalog_refuses_holds_up_no_other(build, no_waiting):
    first = scan(scan_id=1)
    bad = first[0][1]["uid"].replace("-", "")

    class Choosy(Catalog):
        def put(self, row):
            if row.key == bad:
                raise refused(413)
            super().put(row)

    catalog = Choosy()
    with build([*first, *scan(scan_id=2), *scan(scan_id=3)], catalog=catalog) as service:
        assert service.drain(20)
    found = {row.key: row.status for row in service.rows}
    assert found.pop(bad) is State.FAILED
    assert list(found.values()) == [State.COMPLETE] * 2


def test_the_backlog_is_visible_while_the_catalog_is_down(build, no_waiting, ledger):
    tried = threading.Event()

    class Down(Catalog):
        def put(self, row):
            tried.set()
            raise unreachable()

    with build(scan(), catalog=Down()) as service:
        assert tried.wait(20)
        assert not service.drain(0.05)
        assert value(service, "ledger", state="writing") == 1
        assert value(service, "oldest_seconds") >= 0
    assert ledger.backlog.counts()[State.WRITING] == 1


def test_stopping_hands_back_what_the_worker_holds(build, ledger):
    busy = threading.Event()

    class Busy(ScriptedWorker):
        def invert(self, spectra, *, seeds, keys=None, quality=None):
            busy.set()
            self.closed.wait(30)
            raise WorkerDied("the worker was closed")

    service = build(scan(), worker=Busy(), stays=True)
    service.start()
    assert busy.wait(20)
    began = time.monotonic()
    service.stop(finish_s=0.2)
    assert time.monotonic() - began < 5
    (job,) = ledger.backlog.rows(State.QUEUED)
    assert job.attempts == 0


def test_a_listener_that_raises_harms_nothing(build, caplog):
    def raises(row):
        raise RuntimeError("no window")

    with build(scan(), listeners=[raises]) as service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.COMPLETE]
    assert "a listener raised" in caplog.text


def test_a_source_that_breaks_still_has_its_spectra_finished(build, caplog):
    docs = scan()

    class Broken(ListSource):
        def documents(self, on_loss=lambda: None):
            yield from docs
            raise OSError("cable")

    service = build([])
    service._source = Broken([])
    with service:
        assert service.drain(20)
    assert [row.status for row in service.rows] == [State.COMPLETE]
    assert "the source of documents broke" in caplog.text


def test_a_dead_services_work_is_taken_up(build, tmp_path, ledger):
    other = Ledger(tmp_path / "ledger.sqlite", owner="99999999.dead")
    waiting = build(scan())
    waiting._read()
    assert len(other.queue.claim(lease_s=1e6)) == 1
    other.close()
    with waiting:
        assert waiting.drain(20)
    assert [row.status for row in waiting.rows] == [State.COMPLETE]


def test_a_scan_that_runs_is_shown_and_never_stored(build, ledger, monkeypatch):
    growing = PROFILE.model_copy(
        update={"instrument": PROFILE.instrument.model_copy(update={"partial_every_s": 1e-9})}
    )
    monkeypatch.setattr(f"{__name__}.PROFILE", growing)
    monkeypatch.setattr("nearedge.callbacks.assemble.PARTIAL_SHARE", 1.0)  # they come in a burst
    catalog, shown, answered = Catalog(), [], threading.Event()

    def show(measurement, outcome, inversion):
        shown.append((measurement, outcome, inversion))
        if inversion is not None:
            answered.set()

    running = scan()[:-1]  # no stop
    service = build(running, catalog=catalog, stays=True, partial_listeners=[show])
    with service:
        assert answered.wait(20)
    assert not any(measurement.final for measurement, _, _ in shown)
    assert sum(ledger.backlog.counts().values()) == 0
    assert catalog.rows == {}
    assert service.rows == []


def test_an_answer_is_shown_before_the_catalog_has_it(build):
    shown = threading.Event()
    rows = []

    def show(row):
        rows.append(row)
        shown.set()

    class Slow(Catalog):
        def put(self, row) -> None:
            assert shown.wait(20)
            super().put(row)

    with build(scan(), catalog=Slow(), answer_listeners=[show]) as service:
        assert service.drain(20)
    (answered,), (written,) = rows, service.rows
    assert (answered.key, answered.status) == (written.key, State.COMPLETE)
    assert answered.inversion.absorber == "Si"
    assert "write" not in answered.stages and "invert" in answered.stages


def test_without_anyone_to_show_it_to_there_are_no_partial_answers(build, ledger):
    worker = ScriptedWorker()
    with build(scan(), worker=worker) as service:
        assert service.drain(20)
    assert worker.batches == [1]


def test_a_merge_of_what_was_answered_is_inverted_and_written(build):
    catalog = Catalog()
    documents = [doc for n in range(2) for doc in scan(scan_id=n)]
    merges, ended = [], threading.Semaphore(0)
    with build(
        documents, catalog=catalog, stays=True, listeners=[lambda row: ended.release()]
    ) as service:
        assert all(ended.acquire(timeout=20) for _ in range(2))
        merger = Merger(service, model="m", config="c", supports=lambda a, e: True)
        answers = [answer_of_row(row) for row in service.rows]
        merges += [merger.merge(answers), merger.merge(answers[::-1])]
        assert ended.acquire(timeout=20)
    (merged, new), (again, known) = merges
    assert (new, known) == (True, False) and again.key == merged.key
    row = catalog.rows[merged.key]
    assert catalog.puts[merged.key] == 1 and row.status is State.COMPLETE
    assert row.inversion.seed == seed_of(merged.key)
    assert [one["scan_id"] for one in row.measurement.merged_from] == [0, 1]
    assert summary(row)["merged"] == list(row.measurement.merged_from)


def test_a_merge_that_failed_is_tried_again_when_it_is_asked_for_again(build, ledger):
    ended = threading.Semaphore(0)
    errors = [WorkerError("ValueError: no")] * PROFILE.worker.attempts
    with build(
        [doc for n in range(2) for doc in scan(scan_id=n)],
        stays=True,
        listeners=[lambda row: ended.release()],
    ) as service:
        assert all(ended.acquire(timeout=20) for _ in range(2))
        answers = [answer_of_row(row) for row in service.rows]
        service.worker.script += errors
        merger = Merger(service, model="m", config="c", supports=lambda a, e: True)
        merged, _ = merger.merge(answers)
        assert ended.acquire(timeout=20)
        assert service.rows[-1].status is State.FAILED
        merger.merge(answers)
        assert ended.acquire(timeout=20)
    assert [row.status for row in service.rows if row.key == merged.key][-1] is State.COMPLETE
