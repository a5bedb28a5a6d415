import sqlite3
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from nearedge.streaming.ledger.database import LedgerError
from nearedge.streaming.ledger.job import Place, Priority, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.owners import owner_is_alive, this_process

LEASE = 30.0
ATTEMPTS = 3


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.time, self.wall = 1000.0, 5e8

    def now(self) -> float:
        return self.wall

    def __call__(self) -> float:
        return self.time


def place(name: str = "0", run: str = "run") -> Place:
    return Place(run_uid=run, scan_id=7, stream="primary", spectrum=name)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock, tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock, now=clock.now)
    yield ledger
    ledger.close()


def test_a_spectrum_goes_from_queued_to_complete(ledger):
    assert ledger.submit("k", place(), b"spectrum", ended=4e8)
    (job,) = ledger.queue.claim(lease_s=LEASE)
    assert (job.state, job.payload, job.ended) == (State.RUNNING, b"spectrum", 4e8)
    assert ledger.queue.store(job, b"answer")
    (job,) = ledger.queue.claim_write(lease_s=LEASE)
    assert (job.state, job.result) == (State.WRITING, b"answer")
    assert ledger.queue.finish(job)
    done = ledger.backlog.get("k")
    assert (done.state, done.payload, done.result) == (State.COMPLETE, None, None)
    assert done.place == place()


def test_a_rejection_goes_straight_to_the_writer(ledger):
    assert ledger.submit("k", place(), b"why", rejected=True)
    assert ledger.queue.claim(lease_s=LEASE) == []
    (job,) = ledger.queue.claim_write(lease_s=LEASE)
    ledger.queue.finish(job)
    assert ledger.backlog.counts()[State.REJECTED] == 1


def test_submitting_twice_adds_nothing(ledger):
    assert ledger.submit("k", place(), b"first")
    assert not ledger.submit("k", place(), b"second")
    assert not ledger.submit("k", place(), b"third", rejected=True)
    (job,) = ledger.queue.claim(5, lease_s=LEASE)
    assert job.payload == b"first"


def test_a_spectrum_takes_the_place_of_its_rejection(ledger):
    ledger.submit("k", place(), b"no file", rejected=True)
    (writing,) = ledger.queue.claim_write(lease_s=LEASE)
    assert ledger.submit("k", place(), b"x")
    assert not ledger.queue.finish(writing)
    assert not ledger.submit("k", place(), b"no file", rejected=True)
    (job,) = ledger.queue.claim(lease_s=LEASE)
    assert (job.payload, job.finished) == (b"x", None)
    ledger.queue.store(job, b"answer")
    ledger.queue.finish(ledger.queue.claim_write(lease_s=LEASE)[0])
    assert ledger.backlog.get("k").state is State.COMPLETE
    assert not ledger.submit("k", place(), b"y")


def test_a_run_that_cannot_be_read_is_due_again_after_its_delay(ledger, clock):
    ledger.submit("k", place(), b"x", hold_s=60)
    ledger.postpone("run", "no file", delay_s=30)
    assert ledger.backlog.get("k").state is State.QUEUED
    assert (ledger.runs.due(), ledger.runs.failed()) == ([], [("run", "no file")])
    clock.time += 31
    assert ledger.runs.due() == ["run"]
    ledger.postpone("run", "no file", delay_s=float("inf"))
    clock.time += 1e9
    assert ledger.runs.due() == []
    assert ledger.runs.retry() == 1
    assert ledger.runs.due() == ["run"]
    ledger.settle("run", settings="a")
    assert ledger.runs.due() == []
    assert (ledger.runs.read_with("a"), ledger.runs.read_with("b")) == ({"run": 1}, {})


def test_a_ledger_forgets_what_the_catalog_has_no_more(ledger, clock):
    for key in ("kept", "gone"):
        ledger.submit(key, place(run=f"run-{key}"), b"x", rejected=True)
        ledger.queue.finish(ledger.queue.claim_write(lease_s=LEASE)[0])
        ledger.settle(f"run-{key}", settings="a")
    ledger.submit("open", place(run="run-open"), b"x")
    clock.wall += 1
    assert ledger.align([("kept", State.REJECTED), ("new", State.COMPLETE)]) == (1, 1)
    assert ledger.backlog.get("gone") is None
    assert set(ledger.runs.read_with("a")) == {"run-kept"}
    assert ledger.backlog.get("open").state is State.QUEUED
    clock.wall += 1
    assert ledger.align([("kept", State.REJECTED)]) == (0, 1)  # whose it was is not known
    assert ledger.runs.read_with("a") == {}


def test_rows_survive_closing(ledger, tmp_path):
    ledger.submit("k", place(), b"x")
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.backlog.counts()[State.QUEUED] == 1
    again.close()


def test_an_expired_hold_counts_a_try_and_ends_as_failed(ledger, clock):
    ledger.submit("k", place(), b"x")
    for attempt in range(1, ATTEMPTS + 1):
        assert len(ledger.queue.claim(lease_s=LEASE)) == 1
        assert ledger.queue.requeue_expired(attempts=ATTEMPTS) == 0
        clock.time += LEASE
        assert ledger.queue.requeue_expired(attempts=ATTEMPTS) == 1
        assert ledger.backlog.get("k").attempts == attempt
    assert ledger.backlog.counts()[State.FAILED] == 1
    assert ledger.queue.retry() == 1
    assert ledger.queue.claim(lease_s=LEASE)[0].attempts == 0


def test_a_clock_that_jumps_back_ends_the_hold(ledger, clock):
    ledger.submit("k", place(), b"x")
    (job,) = ledger.queue.claim(lease_s=LEASE)
    clock.time = 3.0  # a reboot
    assert ledger.queue.requeue_expired(attempts=ATTEMPTS) == 1
    assert not ledger.queue.store(job, b"late")
    assert len(ledger.queue.claim(lease_s=LEASE)) == 1


def test_a_late_answer_is_refused_after_another_took_the_work(ledger, clock):
    ledger.submit("k", place(), b"x")
    (late,) = ledger.queue.claim(lease_s=LEASE)
    clock.time += LEASE
    ledger.queue.requeue_expired(attempts=ATTEMPTS)
    (job,) = ledger.queue.claim(lease_s=LEASE)
    assert ledger.queue.store(job, b"answer")
    assert not ledger.queue.store(late, b"late answer")
    assert ledger.backlog.get("k").result == b"answer"


def test_a_split_batch_comes_back_one_by_one_with_no_try_counted(ledger):
    for key in "abc":
        ledger.submit(key, place(key), b"x")
    jobs = ledger.queue.claim(8, lease_s=LEASE)
    assert [job.key for job in jobs] == ["a", "b", "c"]
    ledger.queue.split(jobs, "the worker died")
    ledger.submit("d", place("d"), b"x")
    for key in "abcd":
        (job,) = ledger.queue.claim(8, lease_s=LEASE)
        assert (job.key, job.attempts) == (key, 0)


def test_a_failed_try_goes_to_the_end_of_the_queue(ledger):
    for key in "ab":
        ledger.submit(key, place(key), b"x")
    (job,) = ledger.queue.claim(1, lease_s=LEASE)
    assert ledger.queue.fail(job, "boom", attempts=ATTEMPTS)
    assert [j.key for j in ledger.backlog.rows(State.QUEUED)] == ["b", "a"]
    assert ledger.backlog.get("a").error == "boom"


def test_handing_back_counts_no_try(ledger):
    ledger.submit("a", place("a"), b"x")
    ledger.submit("b", place("b"), b"x", rejected=True)
    ledger.queue.hand_back(
        [*ledger.queue.claim(lease_s=LEASE), *ledger.queue.claim_write(lease_s=LEASE)]
    )
    assert [job.attempts for job in ledger.queue.claim(lease_s=LEASE)] == [0]
    assert [job.attempts for job in ledger.queue.claim_write(lease_s=LEASE)] == [0]


def test_a_deferred_write_waits_and_keeps_its_answer(ledger, clock):
    ledger.submit("k", place(), b"x", rejected=True)
    (job,) = ledger.queue.claim_write(lease_s=LEASE)
    ledger.queue.defer(job, "no route to host", delay_s=5.0)
    assert ledger.queue.claim_write(lease_s=LEASE) == []
    assert ledger.queue.seconds_until_write() == pytest.approx(5.0)
    clock.time += 5.0
    assert ledger.queue.seconds_until_write() == 0.0
    (job,) = ledger.queue.claim_write(lease_s=LEASE)
    assert (job.attempts, job.error) == (1, "no route to host")


def test_a_failed_write_is_retried_as_a_write(ledger):
    ledger.submit("k", place(), b"x")
    ledger.queue.store(ledger.queue.claim(lease_s=LEASE)[0], b"answer")
    ledger.queue.give_up(ledger.queue.claim_write(lease_s=LEASE)[0], "413")
    assert ledger.backlog.counts()[State.FAILED] == 1
    assert ledger.queue.retry(["other"]) == 0
    assert ledger.queue.retry(["k"]) == 1
    assert ledger.queue.claim_write(lease_s=LEASE)[0].result == b"answer"


def test_what_a_dead_process_held_is_freed(tmp_path):
    path = tmp_path / "ledger.sqlite"
    dead = Ledger(path, owner="1.dead")
    dead.submit("a", place("a"), b"x")
    dead.submit("b", place("b"), b"x", rejected=True)
    dead.queue.claim(lease_s=LEASE)
    dead.queue.claim_write(lease_s=LEASE)
    dead.close()
    ledger = Ledger(path)
    assert ledger.queue.requeue_orphans(attempts=ATTEMPTS, alive=lambda owner: True) == 0
    assert (
        ledger.queue.requeue_orphans(attempts=ATTEMPTS, alive=lambda owner: owner != "1.dead") == 2
    )
    assert (
        len(ledger.queue.claim(lease_s=LEASE)) == len(ledger.queue.claim_write(lease_s=LEASE)) == 1
    )
    ledger.close()


def test_an_owner_with_our_number_from_before_a_restart_is_dead():
    me = this_process()
    assert owner_is_alive(me)
    assert not owner_is_alive(me.partition(".")[0] + ".before")
    assert owner_is_alive("1.init")
    assert not owner_is_alive("99999999.nobody")


def test_adopted_results_are_not_done_again(ledger):
    ledger.submit("open", place("open"), b"x")
    assert ledger.queue.adopt([("done", State.COMPLETE), ("open", State.COMPLETE)]) == 1
    assert not ledger.submit("done", place("done"), b"x")
    assert ledger.backlog.counts()[State.QUEUED] == 1


def test_only_the_newest_partial_is_kept_and_it_yields_to_finished_ones(ledger):
    for n in range(5):
        ledger.partials.put(place(), str(n).encode())
    ledger.submit("other", place("1"), b"x")
    assert ledger.partials.take() is None
    ledger.queue.claim(lease_s=LEASE)
    assert ledger.partials.take() == b"4"
    assert ledger.partials.take() is None


def test_the_final_spectrum_removes_its_partial(ledger):
    ledger.partials.put(place(), b"half")
    ledger.submit("k", place(), b"whole")
    ledger.queue.claim(lease_s=LEASE)
    ledger.partials.put(place(), b"late half")
    assert ledger.partials.take() is None


def test_looking_reads_no_payloads(ledger):
    ledger.submit("k", place(), b"x")
    ledger.submit("done", place("1"), b"x", rejected=True)
    ledger.queue.finish(ledger.queue.claim_write(lease_s=LEASE)[0])
    (row,) = ledger.backlog.rows(State.QUEUED)
    assert (row.key, row.place, row.payload, row.result) == ("k", place(), None, None)
    assert ledger.backlog.open_keys() == {"k"}


def test_a_spectrum_is_noted_whole_or_not_at_all(ledger):
    """What concerns several tables is one transaction."""
    ledger.partials.put(place(), b"half")
    with pytest.raises(TypeError):
        ledger.submit("k", place(), b"gappy", hold_s="soon")  # the run cannot be noted
    assert ledger.backlog.get("k") is None
    assert ledger.partials.take() == b"half"


def test_partials_take_turns(ledger):
    ledger.partials.put(place("a"), b"a1")
    ledger.partials.put(place("b"), b"b1")
    ledger.partials.put(place("a"), b"a2")
    assert [ledger.partials.take() for _ in range(2)] == [b"b1", b"a2"]


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("this is not a database, and longer than a header of SQLite would be\n" * 10)
    with pytest.raises(LedgerError, match="cannot use"):
        Ledger(path)


def test_a_ledger_of_the_first_version_is_taken_over(tmp_path):
    path = tmp_path / "ledger.sqlite"
    first = Ledger(path)
    first.submit("k", place(), b"x")
    first.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE spectra DROP COLUMN priority")
        db.execute("DROP TABLE runs")
        db.execute("PRAGMA user_version = 1")
    with closing(Ledger(path)) as ledger:
        (job,) = ledger.queue.claim(lease_s=LEASE)
        assert (job.key, job.priority) == ("k", Priority.LIVE)
        assert ledger.runs.counts() == {"gap": 0, "done": 0, "failed": 0}


def test_a_held_spectrum_is_replaced_by_the_whole_one_and_by_nothing_else(ledger):
    assert ledger.submit("k", place(), b"gappy", hold_s=60)
    assert not ledger.submit("k", place(), b"gappy again", hold_s=60)
    assert ledger.queue.claim(lease_s=LEASE) == []
    assert ledger.submit("k", place(), b"whole")
    assert not ledger.submit("k", place(), b"late")
    (job,) = ledger.queue.claim(lease_s=LEASE)
    assert job.payload == b"whole"


@pytest.mark.parametrize("scan_id", [2**63 - 1, 2**63, -(2**200), None])
def test_a_scan_number_of_any_size_is_taken(ledger, scan_id):
    ledger.submit("k", replace(place(), scan_id=scan_id), b"x")
    (job,) = ledger.queue.claim(lease_s=LEASE)
    assert job.place.scan_id == (scan_id if scan_id == 2**63 - 1 else None)


def test_only_so_many_darks_are_kept(ledger):
    for n in (2, 0, 3, 1):
        ledger.darks.put(f"dark-{n}", b"%d" % n, ended=float(n), kept=2)
    assert ledger.darks.payloads() == [b"2", b"3"]


def test_a_ledger_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match="upgrade nearedge"):
        Ledger(path)


def test_threads_and_processes_share_the_work_without_doubling_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledgers = [Ledger(path, owner=f"{n}.x") for n in range(3)]
    for n in range(60):
        ledgers[0].submit(str(n), place(str(n)), b"x")
    taken: list[str] = []

    def work(ledger: Ledger) -> None:
        while jobs := ledger.queue.claim(4, lease_s=LEASE):
            taken.extend(job.key for job in jobs)
            for job in jobs:
                assert ledger.queue.store(job, b"y")

    threads = [threading.Thread(target=work, args=(ledger,)) for ledger in ledgers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter(map(str, range(60)))
    for ledger in ledgers:
        ledger.close()


class LedgerMachine(RuleBasedStateMachine):
    """Two services on one ledger that crash, time out and meet a clock that jumps."""

    claimed = Bundle("claimed")
    to_write = Bundle("to_write")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.ledger = Ledger(":memory:", clock=self.clock, now=lambda: 0.0)
        self.submitted: set[str] = set()
        self.completions: Counter[str] = Counter()

    @rule(n=st.integers(0, 12), rejected=st.booleans())
    def submit(self, n, rejected):
        before = self.ledger.backlog.get(str(n))
        new = self.ledger.submit(str(n), place(str(n)), b"x", rejected=rejected)
        replaced = before is not None and before.outcome is State.REJECTED and not rejected
        assert new == (str(n) not in self.submitted or replaced)
        self.submitted.add(str(n))
        if replaced:
            self.completions[str(n)] = 0

    @rule(target=claimed, n=st.integers(1, 4))
    def claim(self, n):
        return self.ledger.queue.claim(n, lease_s=LEASE)

    @rule(target=to_write)
    def claim_write(self):
        return self.ledger.queue.claim_write(lease_s=LEASE)

    @rule(jobs=claimed)
    def store(self, jobs):
        for job in jobs:
            self.ledger.queue.store(job, b"answer")

    @rule(jobs=claimed)
    def split(self, jobs):
        self.ledger.queue.split(jobs, "died")

    @rule(jobs=consumes(claimed))
    def fail(self, jobs):
        for job in jobs:
            self.ledger.queue.fail(job, "boom", attempts=ATTEMPTS)

    @rule(jobs=to_write)
    def finish(self, jobs):
        for job in jobs:
            self.completions[job.key] += self.ledger.queue.finish(job)

    @rule(jobs=to_write, delay_s=st.floats(0, 60))
    def defer(self, jobs, delay_s):
        for job in jobs:
            self.ledger.queue.defer(job, "503", delay_s=delay_s)

    @rule(jobs=to_write | claimed)
    def give_up(self, jobs):
        for job in jobs:
            self.ledger.queue.give_up(job, "413")

    @rule(jobs=to_write | claimed)
    def hand_back(self, jobs):
        self.ledger.queue.hand_back(jobs[1:])

    @rule(by=st.floats(-2000, 2000))
    def jump(self, by):
        self.clock.time += by
        self.ledger.queue.requeue_expired(attempts=ATTEMPTS)

    @rule()
    def restart_after_a_crash(self):
        self.ledger.queue.requeue_orphans(attempts=ATTEMPTS, alive=lambda owner: False)

    @rule()
    def retry(self):
        self.ledger.queue.retry()

    @invariant()
    def nothing_is_lost(self):
        assert sum(self.ledger.backlog.counts().values()) == len(self.submitted)
        assert all(self.ledger.backlog.get(key) for key in self.submitted)

    @invariant()
    def nothing_is_done_twice(self):
        assert all(n <= 1 for n in self.completions.values())
        done = {k for k, n in self.completions.items() if n}
        final = {k for k in self.submitted if self.ledger.backlog.get(k).finished is not None}
        assert done == final

    @invariant()
    def what_is_open_keeps_what_it_needs(self):
        for state in (State.QUEUED, State.RUNNING, State.WRITING, State.FAILED):
            for row in self.ledger.backlog.rows(state):
                job = self.ledger.backlog.get(row.key)
                assert job.payload == b"x"
                if state is State.WRITING and job.outcome is State.COMPLETE:
                    assert job.result == b"answer"

    def teardown(self):
        """Let one service work on: everything ends, once."""
        self.ledger.queue.retry()
        self.ledger.queue.requeue_orphans(attempts=99, alive=lambda owner: False)
        self.clock.time += 1e6
        while jobs := self.ledger.queue.claim(4, lease_s=LEASE):
            self.store(jobs)
        while jobs := self.ledger.queue.claim_write(lease_s=LEASE):
            self.finish(jobs)
        counts = self.ledger.backlog.counts()
        assert counts[State.COMPLETE] + counts[State.REJECTED] == len(self.submitted)
        assert self.completions == Counter(self.submitted)
        self.ledger.close()


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase


# -- maps ---------------------------------------------------------------------------------------

PIXELS = Place(run_uid="map", scan_id=None, stream="primary", spectrum="")


def submit_pixels(ledger, first, last, **options):
    def pack(begin, end):
        return f"{begin}-{end}", f"{begin}-{end}".encode()

    return ledger.submit_block("whole", PIXELS, (first, last), pack, **options)


def test_pixels_that_the_ledger_has_are_left_out():
    ledger = Ledger(":memory:")
    assert submit_pixels(ledger, 0, 9) == [("0-9", True)]
    assert submit_pixels(ledger, 0, 9) == []
    assert submit_pixels(ledger, 20, 29) == [("20-29", True)]
    assert submit_pixels(ledger, 5, 34) == [("10-19", True), ("30-34", True)]


def test_pixels_that_could_not_be_read_are_taken_anew():
    ledger = Ledger(":memory:")
    assert submit_pixels(ledger, 0, 9, refused=True) == [("0-9", True)]
    (job,) = ledger.queue.claim_write(lease_s=60)
    assert ledger.queue.finish(job)
    assert submit_pixels(ledger, 0, 9, refused=True) == []
    assert submit_pixels(ledger, 0, 9) == [("0-9", True)]
    assert ledger.backlog.get("0-9").state is State.QUEUED


def test_the_end_of_a_map_waits_for_its_blocks():
    ledger = Ledger(":memory:")
    submit_pixels(ledger, 0, 9)
    assert ledger.submit_map("whole", PIXELS, b"end")
    (block,) = ledger.queue.claim(8, lease_s=60)
    assert (block.is_block, block.key) == (True, "0-9")
    assert ledger.queue.claim(8, lease_s=60) == []
    assert ledger.queue.store(block, b"answers")
    assert ledger.queue.claim(8, lease_s=60) == []
    (written,) = ledger.queue.claim_write(lease_s=60)
    assert ledger.queue.finish(written)
    (end,) = ledger.queue.claim(8, lease_s=60)
    assert (end.is_map, end.payload) == (True, b"end")


def answered(ledger):
    """Give every queued row an answer of 7 bytes."""
    while jobs := ledger.queue.claim(lease_s=60):
        ledger.queue.store(jobs[0], b"answers")


def keys_to_write(ledger, most_bytes=1000, n=1):
    claimed = ledger.queue.claim_write(lease_s=60, most_bytes=most_bytes, n=n)
    return [job.key for job in claimed]


def test_some_single_spectra_are_written_side_by_side_and_apart_from_blocks():
    ledger = Ledger(":memory:")
    for key in "ab":
        ledger.submit(key, PIXELS, b"spectrum")
    submit_pixels(ledger, 0, 9)
    for key in "cd":
        ledger.submit(key, PIXELS, b"spectrum")
    answered(ledger)
    assert keys_to_write(ledger, n=3) == ["a", "b", "c"]
    assert keys_to_write(ledger, n=3) == ["0-9"]
    assert keys_to_write(ledger, n=3) == ["d"]


def test_blocks_of_one_map_are_written_together():
    ledger = Ledger(":memory:")
    submit_pixels(ledger, 0, 9)
    ledger.submit("k", PIXELS, b"spectrum")
    submit_pixels(ledger, 10, 19)
    other = replace(PIXELS, run_uid="other")
    ledger.submit_block("more", other, (0, 1), lambda first, last: ("o", b""))
    answered(ledger)
    assert keys_to_write(ledger) == ["0-9", "10-19"]
    assert keys_to_write(ledger) == ["k"]
    assert keys_to_write(ledger) == ["o"]
    assert keys_to_write(ledger) == []


def test_blocks_that_hold_much_are_written_apart():
    ledger = Ledger(":memory:")
    for first in (0, 10, 20):
        submit_pixels(ledger, first, first + 9)
    answered(ledger)
    assert keys_to_write(ledger, most_bytes=30) == ["0-9", "10-19"]
    assert keys_to_write(ledger, most_bytes=1) == ["20-29"]


def test_a_block_that_was_refused_comes_alone():
    ledger = Ledger(":memory:")
    for first in (0, 10, 20):
        submit_pixels(ledger, first, first + 9)
    answered(ledger)
    bad, good, best = ledger.queue.claim_write(lease_s=60, most_bytes=1000)
    ledger.queue.defer(bad, "413", delay_s=0.0)
    ledger.queue.hand_back([good, best])
    assert keys_to_write(ledger) == ["0-9"]
    assert keys_to_write(ledger) == ["10-19", "20-29"]


def test_rows_that_others_have_taken_are_not_finished():
    ledger = Ledger(":memory:")
    for first in (0, 10):
        submit_pixels(ledger, first, first + 9)
    answered(ledger)
    lost, held = ledger.queue.claim_write(lease_s=60, most_bytes=1000)
    ledger.queue.hand_back([lost])
    assert ledger.queue.finish_all([lost, held]) == [held]


def test_a_map_that_gains_a_block_is_ended_again():
    ledger = Ledger(":memory:")
    assert ledger.submit_map("whole", PIXELS, b"end")
    (end,) = ledger.queue.claim(lease_s=60)
    assert ledger.queue.store(end, b"groups")
    (written,) = ledger.queue.claim_write(lease_s=60)
    assert ledger.queue.finish(written)
    assert not ledger.submit_map("whole", PIXELS, b"end")
    submit_pixels(ledger, 0, 9)
    assert ledger.submit_map("whole", PIXELS, b"new end")
    assert ledger.backlog.get("whole").state is State.QUEUED


def test_a_map_that_the_catalog_lost_is_forgotten_with_its_blocks():
    ledger = Ledger(":memory:")
    submit_pixels(ledger, 0, 9, refused=True)
    ledger.submit_map("whole", PIXELS, b"end")
    (block,) = ledger.queue.claim_write(lease_s=60)
    ledger.queue.finish(block)
    (end,) = ledger.queue.claim(lease_s=60)
    ledger.queue.store(end, b"groups")
    (written,) = ledger.queue.claim_write(lease_s=60)
    ledger.queue.finish(written)
    assert ledger.align([("whole", State.COMPLETE)]) == (0, 0)
    assert ledger.backlog.get("0-9") is not None
    assert ledger.align([])[1] == 1
    assert ledger.backlog.get("0-9") is None


def test_blocks_are_claimed_together_and_apart_from_spectra():
    ledger = Ledger(":memory:")
    for first in (0, 10, 20):
        submit_pixels(ledger, first, first + 9)
    ledger.submit("k", PIXELS, b"spectrum")
    claimed = [job.key for job in ledger.queue.claim(8, lease_s=60, blocks=2)]
    assert claimed == ["0-9", "10-19"]
    assert [job.key for job in ledger.queue.claim(8, lease_s=60, blocks=2)] == ["20-29"]
    assert [job.key for job in ledger.queue.claim(8, lease_s=60, blocks=2)] == ["k"]
