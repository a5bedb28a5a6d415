from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from nearedge.models import Quality
from nearedge.streaming.ledger.job import Place, Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.service.dispatch import DEGRADED, FEWEST_SAMPLES, Dispatch
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.settings import profile

SETTINGS = profile.WorkerSettings(batch=4, samples=32, degrade_after_s=60)


class Worker:
    """Answers everything, and remembers what it was asked."""

    blocks_at_once = 1

    def __init__(self, make_inversion) -> None:
        self._make = make_inversion
        self.asked: list[tuple[int, int | None, Quality | None]] = []

    def invert(self, spectra, *, seeds, keys=None, samples=None, quality=None):
        self.asked.append((len(spectra), samples, quality))
        return [replace(self._make(), flags=()) for _ in spectra]


class Bench:
    def __init__(self, ledger: Ledger, worker: Worker, payload: bytes) -> None:
        self.ledger, self.worker, self._payload = ledger, worker, payload
        self.partials: list[Any] = []
        self.dispatch = Dispatch(
            ledger=ledger,
            worker=worker,
            settings=SETTINGS,
            metrics=Metrics(),
            on_answer=lambda: None,
            on_failed=lambda job, error: None,
            on_partial=lambda *partial: self.partials.append(partial),
        )

    def queue(self, run_uid: str, priority: Priority = Priority.LIVE) -> None:
        place = Place(run_uid=run_uid, scan_id=1, stream="primary", spectrum="0")
        key = run_uid.encode().hex()
        self.ledger.submit(key, place, self._payload, priority=priority)

    def grow(self, run_uid: str) -> None:
        place = Place(run_uid=run_uid, scan_id=1, stream="primary", spectrum="0")
        self.ledger.partials.put(place, self._payload)

    def written(self) -> list[str]:
        """Note that all answers were written; return their runs."""
        runs = []
        while jobs := self.ledger.queue.claim_write(lease_s=60):
            for job in self.ledger.queue.finish_all(jobs):
                runs.append(job.place.run_uid)
        return runs


@pytest.fixture
def wall() -> list[float]:
    return [1000.0]


@pytest.fixture
def bench(tmp_path, wall, measurement, spectrum, make_inversion) -> Iterator[Bench]:
    ledger = Ledger(tmp_path / "ledger.sqlite", now=lambda: wall[0])
    payload = pack({"measurement": measurement, "outcome": spectrum})
    yield Bench(ledger, Worker(make_inversion), payload)
    ledger.close()


def test_what_waited_too_long_gets_a_quick_answer_and_then_the_full_one(bench, wall):
    bench.queue("k")
    wall[0] += 61
    bench.dispatch.step()
    assert bench.worker.asked == [(1, 8, Quality.FAST)]
    (row,) = bench.ledger.backlog.rows(State.WRITING)
    job = bench.ledger.backlog.get(row.key)
    assert job.outcome is State.DEGRADED
    assert DEGRADED in unpack(job.result).flags
    assert bench.written() == ["k"]
    (job,) = bench.ledger.backlog.rows(State.QUEUED)
    assert (job.priority, job.outcome) == (Priority.AGAIN, State.COMPLETE)
    bench.dispatch.step()
    assert bench.worker.asked[1:] == [(1, None, None)]
    assert bench.written() == ["k"]
    assert bench.ledger.backlog.counts()[State.COMPLETE] == 1


def test_a_quick_answer_has_some_samples_and_never_more_than_the_full_one(bench, wall):
    for samples, quick in ((32, 8), (8, FEWEST_SAMPLES), (2, 2)):
        bench.dispatch._settings = SETTINGS.model_copy(update={"samples": samples})
        bench.queue(f"k{samples}")
        wall[0] += 61
        bench.dispatch.step()
        assert bench.worker.asked[-1][1] == quick
        bench.written()


def test_in_time_every_answer_is_a_full_one(bench, wall):
    bench.queue("k")
    wall[0] += 59
    bench.dispatch.step()
    assert bench.worker.asked == [(1, None, None)]


def test_it_may_be_told_never_to_hurry(bench, wall):
    bench.dispatch._settings = SETTINGS.model_copy(update={"degrade_after_s": None})
    bench.queue("k")
    wall[0] += 1e6
    bench.dispatch.step()
    assert bench.worker.asked == [(1, None, None)]


def test_what_was_missed_is_never_hurried(bench, wall):
    bench.queue("k", Priority.CAUGHT_UP)
    wall[0] += 1e6
    bench.dispatch.step()
    assert bench.worker.asked == [(1, None, None)]


def test_live_spectra_come_first_then_the_growing_one_then_what_was_missed(bench):
    bench.queue("missed", Priority.CAUGHT_UP)
    bench.grow("running")
    bench.queue("live")
    bench.dispatch.step()
    assert [job.place.run_uid for job in bench.ledger.backlog.rows(State.WRITING)] == ["live"]
    assert bench.partials == []
    bench.dispatch.step()
    assert len(bench.partials) == 1
    # in the same step, so that a scan that runs cannot starve what was missed
    assert {job.place.run_uid for job in bench.ledger.backlog.rows(State.WRITING)} == {
        "live",
        "missed",
    }


def test_a_scan_that_runs_starves_nothing(bench):
    for n in range(6):
        bench.queue(f"missed-{n}", Priority.CAUGHT_UP)
    while bench.ledger.backlog.counts()[State.QUEUED]:
        bench.grow("running")
        assert bench.dispatch.step() == 0
    assert len(bench.partials) == 2  # batches of four
