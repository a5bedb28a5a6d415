"""The faults: each a function that sends spectra, does harm, and returns the count."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from benchmarks.drill import maps
from benchmarks.drill.audit import Audit
from benchmarks.drill.cluster import Cluster
from benchmarks.drill.process import cpu_s, peak_mb, wait_until
from benchmarks.drill.runs import (
    REJECTED_EVERY,
    displaced,
    dropped,
    duplicated,
    interleaved,
    long_run,
    one_run,
    runs,
    uid_of,
    without_readings,
)
from benchmarks.drill.stand import Base, Stand, locked
from nearedge.sim import hostile
from nearedge.sim.hostile import Documents, mutate, mutate_frame, serialise

SETTLE_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a drill ended.

    Attributes
    ----------
    audit
        The counts.
    struck
        What shows that the fault was there.
    seconds
        That it took.
    """

    audit: Audit
    struck: str
    seconds: float = 0.0


Drill = Callable[[Base], Ending]
DRILLS: dict[str, tuple[str, Drill]] = {}


def drill(title: str) -> Callable[[Drill], Drill]:
    """Register a drill under its function's name."""

    def register(function: Drill) -> Drill:
        DRILLS[function.__name__.replace("_", "-")] = (title, function)
        return function

    return register


@contextmanager
def stand_for(base: Base, name: str, **settings: dict) -> Iterator[Stand]:
    """Yield a stand, ended at the end of the block."""
    stand = Stand(base, name, **settings)
    try:
        yield stand
    finally:
        stand.close()


def send(stand: Stand, many: list[Documents], *, pace_s: float = 0.0) -> None:
    """Publish runs one after the other."""
    for docs in many:
        stand.sent.add(uid_of(docs))
        stand.publish(*docs)
        time.sleep(pace_s)


def store(stand: Stand, many: list[Documents]) -> None:
    """Store runs in the catalog, as the acquisition does beside publishing."""
    for docs in many:
        stand.keep(*docs)


# -- processes that die ---------------------------------------------------------------------------


@drill("worker killed (SIGKILL) in mid-inversion, three times")
def worker_killed(base: Base) -> Ending:
    with stand_for(base, "worker-killed", worker={"samples": 64, "batch": 4}) as stand:
        stand.start()
        send(stand, runs(20))
        kills = sum(_kill_busy_worker(stand, before=n) for n in (0, 4, 8))
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{kills} kills while spectra were running")


def _kill_busy_worker(stand: Stand, *, before: int) -> bool:
    """Kill the worker once so many spectra are done and others are with it."""

    def busy() -> bool:
        return stand.ended() >= before and stand.states().get("running", 0) > 0

    wait_until("a busy worker", lambda: busy() and stand.worker(), timeout_s=120)
    pid = stand.worker()
    if pid is None or not stand.states().get("running"):
        return False
    os.kill(pid, signal.SIGKILL)
    wait_until("a new worker", lambda: stand.worker() not in (None, pid), timeout_s=60)
    return True


@drill("service killed (SIGKILL) in mid-inversion and restarted, three times")
def service_killed(base: Base) -> Ending:
    with stand_for(base, "service-killed", worker={"samples": 64, "batch": 4}) as stand:
        stand.start()
        many = runs(20)
        store(stand, many)  # what is still on its way dies with the service
        send(stand, many)
        kills = 0
        for before in (0, 4, 8):
            _await_running(stand, ended=before)
            stand.kill()
            kills += stand.states().get("running", 0) > 0
            stand.start()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{kills} kills while spectra were running")


@drill("service killed (SIGKILL) in mid-write and restarted, until three results were torn")
def writer_killed(base: Base) -> Ending:
    with stand_for(base, "writer-killed") as stand:
        stand.start()
        many = runs(20)
        store(stand, many)
        send(stand, many)
        torn = kills = 0
        while torn < 3 and kills < 8 and stand.ended() < len(stand.sent) - 1:
            if not _await_write(stand):
                break
            stand.kill()
            kills += 1
            torn += any(node.metadata["status"] == "writing" for node in stand.results.values())
            stand.start()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{kills} kills, {torn} of them left a torn result")


def _await_write(stand: Stand) -> bool:
    before = len(stand.results)
    try:
        wait_until(
            "a result that is being written",
            lambda: len(stand.results) > before,
            timeout_s=60,
        )
    except TimeoutError:
        return False
    return True


@drill("service killed (SIGKILL) during a run, restarted in the next but one")
def service_killed_in_run(base: Base) -> Ending:
    with stand_for(base, "killed-in-run") as stand:
        stand.start()
        many = runs(10)
        store(stand, many)
        send(stand, many[:3])
        half = many[3]
        stand.sent.add(uid_of(half))
        stand.publish(*half[:30])
        time.sleep(0.5)
        stand.kill()
        stand.publish(*half[30:])
        send(stand, many[4:5])
        stand.publish(*many[5][:30])
        stand.start()
        stand.sent.add(uid_of(many[5]))
        stand.publish(*many[5][30:])
        send(stand, many[6:])
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="one run cut off, one missed, one met in its middle")


@drill("service started in mid-run")
def late_start(base: Base) -> Ending:
    with stand_for(base, "late-start") as stand:
        many = runs(6)
        store(stand, many)
        send(stand, many[:2])
        stand.publish(*many[2][:40])
        stand.start()
        stand.sent.add(uid_of(many[2]))
        stand.publish(*many[2][40:])
        send(stand, many[3:])
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="two runs missed, one met in its middle")


@drill("proxy killed (SIGKILL) during a run and restarted")
def proxy_killed(base: Base) -> Ending:
    with stand_for(base, "proxy-killed") as stand:
        stand.start()
        many = runs(8)
        store(stand, many)
        send(stand, many[:2])
        stand.sent.add(uid_of(many[2]))
        stand.publish(*many[2][:30])
        wait_until(
            "the first half",
            lambda: (stand.metric('nearedge_documents_total{name="event"}') or 0) >= 2 * 60 + 28,
            timeout_s=30,
        )
        base.proxy.kill()
        stand.publish(*many[2][30:])
        send(stand, many[3:5])
        base.start_proxy()
        stand.await_heard()
        send(stand, many[5:])
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="one run cut off, two missed while the proxy was away")


@drill("Dask: worker killed (SIGKILL) in mid-inversion, then the scheduler, restarted after 5 s")
def dask_killed(base: Base) -> Ending:
    cluster = Cluster(base.folder)
    worker = {"backend": "dask", "scheduler": cluster.address, "samples": 64, "batch": 4}
    try:
        with stand_for(base, "dask", worker=worker) as stand:
            cluster.add_worker()
            cluster.add_worker()
            stand.start()
            send(stand, runs(20))
            _await_running(stand, ended=1)
            cluster.workers[0].kill()
            _await_running(stand, ended=6)
            cluster.scheduler.kill()
            for process in cluster.workers[1:]:
                process.kill()  # they would end by themselves later
            time.sleep(5.0)
            left = 20 - stand.ended()
            cluster.start_scheduler()
            cluster.add_worker()
            audit = stand.settle(timeout_s=SETTLE_S)
            return Ending(audit=audit, struck=f"{left} spectra left when the scheduler died")
    finally:
        cluster.close()


def _await_running(stand: Stand, *, ended: int) -> None:
    wait_until(
        "a running spectrum",
        lambda: stand.ended() >= ended and stand.states().get("running"),
        timeout_s=120,
    )


# -- Tiled ----------------------------------------------------------------------------------------


@drill("Tiled killed (SIGKILL) in mid-write and restarted after 15 s")
def tiled_killed(base: Base) -> Ending:
    with stand_for(base, "tiled-killed") as stand:
        stand.start()
        send(stand, runs(10))
        _await_write(stand)
        base.tiled.kill()
        send(stand, [one_run(i) for i in range(10, 20)])
        time.sleep(15.0)
        waiting = stand.states().get("writing", 0)
        base.start_tiled()
        base.await_tiled()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{waiting} answers waited in the ledger")


@drill("Tiled fails each call with probability 0.2, half of them after doing it")
def tiled_flaky(base: Base) -> Ending:
    with stand_for(base, "tiled-flaky") as stand:
        stand.start()
        with base.tiled_trouble(share=0.2):
            retries = _write_all(stand)
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{retries:.0f} writes put off, others repeated at once")


def _write_all(stand: Stand) -> float:
    """Have 20 spectra written, or as many as can be; return how many writes were put off."""
    send(stand, runs(20))
    try:
        wait_until("the end", lambda: stand.ended() >= 20, timeout_s=SETTLE_S)
    except TimeoutError as e:
        print(f"  {stand.name}: {e}", flush=True)
    return stand.metric('nearedge_retries_total{stage="write"}') or 0.0


@drill("Tiled refuses every call: with 401, 409, 413, 429, 500 and 507, for 6 s each")
def tiled_refuses(base: Base) -> Ending:
    with stand_for(base, "tiled-refuses") as stand:
        stand.start()
        for i, status in enumerate((401, 409, 413, 429, 500, 507)):
            with base.tiled_trouble(share=1.0, statuses=(status,)):
                send(stand, [one_run(n) for n in range(3 * i, 3 * i + 3)])
                time.sleep(6.0)
        retries = stand.metric('nearedge_retries_total{stage="write"}')
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{retries:.0f} writes put off, others repeated at once")


@drill("Tiled slow: 1 s for each call")
def tiled_slow(base: Base) -> Ending:
    with stand_for(base, "tiled-slow") as stand:
        stand.start()
        with base.tiled_trouble(delay_s=1.0):
            began = time.monotonic()
            _write_all(stand)
            each = (time.monotonic() - began) / 20
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{each:.1f} s for each spectrum")


@drill("Tiled hung (SIGSTOP) for 15 s; the service stopped (SIGTERM) meanwhile, and restarted")
def tiled_hung(base: Base) -> Ending:
    with stand_for(base, "tiled-hung") as stand:
        stand.start()
        send(stand, runs(10))
        _await_write(stand)
        base.tiled.signal(signal.SIGSTOP)
        try:
            send(stand, [one_run(i) for i in range(10, 20)])
            time.sleep(15.0)
            waiting = stand.states().get("writing", 0)
            stand.stop()
        finally:
            base.tiled.signal(signal.SIGCONT)
        stand.start()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(
            audit=audit,
            struck=f"{waiting} answers waited; it stopped in {stand.stops[0][1]:.1f} s",
        )


@drill("disk of Tiled full for 20 s")
def tiled_full(base: Base) -> Ending:
    with small_disk(base.folder / "small-tiled", megabytes=32) as disk:
        own = Base(disk)
        try:
            ledger = {"ledger": str(base.folder / "tiled-full.sqlite")}  # not on that disk
            with stand_for(own, "tiled-full", service=ledger) as stand:
                stand.start()
                send(stand, runs(5))
                wait_until("five results", lambda: stand.ended() >= 5, timeout_s=120)
                _fill(disk / "ballast")
                send(stand, [one_run(i) for i in range(5, 15)])
                time.sleep(20.0)
                waiting = stand.states().get("writing", 0)
                (disk / "ballast").unlink()
                send(stand, [one_run(i) for i in range(15, 20)])
                audit = stand.settle(timeout_s=SETTLE_S)
                return Ending(audit=audit, struck=f"{waiting} answers waited in the ledger")
        finally:
            own.close()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """Yield a folder on a disk of its own."""
    folder.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@drill("two services with a ledger each on one catalog, one of them killed (SIGKILL) half-way")
def two_services(base: Base) -> Ending:
    shared = {
        "catalog": {"raw": "raw-two", "results": "results-two"},
        "source": {"prefix": "two"},
    }
    with stand_for(base, "two") as one, stand_for(base, "second", **shared) as other:
        one.start()
        other.start()
        send(one, runs(20))
        wait_until("half of it", lambda: other.ended() >= 10, timeout_s=120)
        both = one.ended() + other.ended()
        other.kill()
        other.start()
        wait_until("all of the other", lambda: other.ended() >= 20, timeout_s=SETTLE_S)
        other.stop()
        one.stops += other.stops
        audit = one.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{both} writes of 20 spectra at the kill, 40 at the end")


# -- the ledger, and too much work ----------------------------------------------------------------


@drill("ledger lost: deleted while the service was stopped")
def ledger_lost(base: Base) -> Ending:
    with stand_for(base, "ledger-lost") as stand:
        stand.start()
        many = runs(20)
        store(stand, many[:10])
        send(stand, many[:10])
        wait_until("ten results", lambda: stand.ended() >= 10, timeout_s=120)
        stand.stop()
        for file in stand.folder.glob("ledger.sqlite*"):
            file.unlink()
        store(stand, many[10:15])
        stand.sent.update(map(uid_of, many[10:15]))
        stand.start()
        send(stand, many[15:])
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="10 results known again, 5 runs missed")


@drill("more work than the worker can do: quick answers first, full ones later")
def overload(base: Base) -> Ending:
    worker = {"samples": 32, "quality": "default", "batch": 2, "degrade_after_s": 3.0}
    with stand_for(base, "overload", worker=worker) as stand:
        stand.start()
        send(stand, runs(20))
        wait_until("the end", lambda: stand.ended() >= 20, timeout_s=SETTLE_S)
        quick = stand.metric('nearedge_spectra_total{status="degraded"}') or 0
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{quick:.0f} quick answers, each replaced")


@drill("more documents than may wait in memory, while the ledger is locked")
def queue_full(base: Base) -> Ending:
    with stand_for(base, "queue-full", source={"queue_mb": 0.1}) as stand:
        stand.start()
        many = runs(20)
        store(stand, many)
        with locked(stand.ledger):
            send(stand, many)
            time.sleep(3.0)
        stand.await_quiet()
        refused = stand.metric("nearedge_overflowed_documents_total") or 0
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck=f"{refused:.0f} of {20 * 63} documents found no room")


@drill("disk of the ledger full for 15 s")
def disk_full(base: Base) -> Ending:
    with small_disk(base.folder / "small-disk", megabytes=4) as disk:
        ledger = {"ledger": str(disk / "ledger.sqlite")}
        with stand_for(base, "disk-full", service=ledger) as stand:
            stand.start()
            send(stand, runs(5))
            wait_until("five results", lambda: stand.ended() >= 5, timeout_s=120)
            _fill(disk / "ballast")
            send(stand, [one_run(i) for i in range(5, 15)])
            time.sleep(15.0)
            inside = sum(stand.states().values())
            (disk / "ballast").unlink()
            send(stand, [one_run(i) for i in range(15, 20)])
            audit = stand.settle(timeout_s=SETTLE_S)
            return Ending(
                audit=audit, struck=f"{inside} of the 15 spectra sent until then were in the ledger"
            )


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


# -- documents ------------------------------------------------------------------------------------


@drill("1 in 50 documents dropped")
def documents_dropped(base: Base) -> Ending:
    rng = random.Random(1)
    with stand_for(base, "dropped") as stand:
        stand.start()
        many = runs(20)
        store(stand, many)
        every = list(chain.from_iterable(many))
        rest = list(dropped(every, rng, share=0.02))
        stand.sent.update(map(uid_of, many))
        stand.publish(*rest)
        audit = stand.settle(timeout_s=SETTLE_S)
        lost = len(every) - len(rest)
        return Ending(audit=audit, struck=f"{lost} of {len(every)} documents dropped")


@drill("documents duplicated (1 in 5)")
def documents_duplicated(base: Base) -> Ending:
    rng = random.Random(2)
    with stand_for(base, "duplicated") as stand:
        stand.start()
        many = runs(20)
        stand.sent.update(map(uid_of, many))
        every = list(duplicated(chain.from_iterable(many), rng, share=0.2))
        stand.publish(*every)
        for docs in many[:5]:
            stand.publish(*docs)  # and whole runs again
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="1 in 5 documents twice, 5 whole runs again")


@drill("documents delayed and reordered, across runs")
def documents_reordered(base: Base) -> Ending:
    rng = random.Random(3)
    with stand_for(base, "reordered") as stand:
        stand.start()
        many = runs(20)
        store(stand, many)
        stand.sent.update(map(uid_of, many))
        stand.publish(*displaced(interleaved(many, rng), rng, by=60))
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="20 runs interleaved, each document up to 60 places off")


@drill("50 interleaved runs")
def interleaved_runs(base: Base) -> Ending:
    rng = random.Random(4)
    with stand_for(base, "interleaved") as stand:
        stand.start()
        many = runs(50)
        stand.sent.update(map(uid_of, many))
        stand.publish(*interleaved(many, rng))
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="50 runs open at once")


@drill("runs without a stop document")
def no_stop(base: Base) -> Ending:
    settings = {"run_silent_s": 10.0, "backfill_wait_s": 5.0}
    with stand_for(base, "no-stop", service=settings) as stand:
        stand.start()
        many = runs(10)
        for docs in many[:5]:
            stand.sent.add(uid_of(docs))
            stand.publish(*docs[:-1])
        send(stand, many[5:])
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="5 of 10 runs without a stop")


@drill("a clock that jumps: a day ahead, a year back, an hour ahead")
def clock_jumps(base: Base) -> Ending:
    with stand_for(base, "clock") as stand:
        offset = stand.folder / "offset"
        offset.write_text("0")
        stand.start(clock=offset)
        many = [one_run(i, time=t) for i, t in enumerate([0.0, 4e9, *[time.time()] * 18])]
        for at, jump in ((0, 86400), (5, -31_536_000), (10, 3600), (15, 0)):
            send(stand, many[at : at + 3])
            (stand.folder / "offset.new").write_text(str(jump))
            (stand.folder / "offset.new").rename(offset)
            send(stand, many[at + 3 : at + 5])
            wait_until("some results", lambda n=at: stand.ended() >= n, timeout_s=120)
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(audit=audit, struck="4 jumps; two runs dated 1970 and 2096")


# -- large catalogs -------------------------------------------------------------------------------

MANY = 1000
COMPLETE_EVERY = 10  # the others ended before a reading: that they are found is what matters


@drill("1000 runs missed, then replayed, then the results of the newest three deleted")
def many_runs(base: Base, n: int = MANY) -> Ending:
    with stand_for(base, "many-runs") as stand:
        for k in range(n):
            docs = one_run(k * REJECTED_EVERY, whole=True)
            docs = docs if k % COMPLETE_EVERY == 0 else without_readings(docs)
            stand.sent.add(uid_of(docs))
            stand.keep(*docs)
        stand.stored()
        stand.start()
        stand.await_settled(timeout_s=60 + 10.0 * n)
        caught_up = stand.ended()
        stand.stop()
        text, seconds, cpu_s = stand.replay()
        newest = list(stand.results.sort(("measured", -1)).keys()[:3])
        stand.results.delete_contents(newest, recursive=True, external_only=False)
        again, *_ = stand.replay()
        stand.start()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(
            audit=audit,
            struck=f"{caught_up} found; a replay said “{text}” in {seconds:.0f} s, "
            f"{cpu_s:.1f} s of processor time; "
            f"after three were deleted “{again}”",
        )


# -- long runs ------------------------------------------------------------------------------------

POINTS = 100_000


@drill("a run of 100 000 points among others; then stopped in the middle of another one")
def long_runs(base: Base, points: int = POINTS) -> Ending:
    with stand_for(base, "long-runs") as stand:
        stand.start()
        assert stand.service is not None
        send(stand, runs(1))
        stand.await_settled(timeout_s=SETTLE_S)  # the worker has loaded its model
        before, worker = peak_mb(stand.service.pid), stand.worker()
        assert worker is not None
        many, others, stopped = long_run(points), runs(10), {}
        each = len(many) // len(others)
        for k, other in enumerate(others):
            stand.publish(*many[k * each : (k + 1) * each])
            send(stand, [other])
            stopped[uid_of(other)] = time.time()
        stand.sent.add(uid_of(many))
        stand.publish(*many[len(others) * each :])
        stopped[uid_of(many)] = time.time()
        used = cpu_s(stand.service.pid) + cpu_s(worker)
        stand.await_settled(timeout_s=SETTLE_S)
        finished = dict(stand.query("SELECT run_uid, COALESCE(inverted, finished) FROM spectra"))
        waited = {uid: finished[uid] - at for uid, at in stopped.items()}
        mine = waited.pop(uid_of(many))
        memory = peak_mb(stand.service.pid)
        used = cpu_s(stand.service.pid) + cpu_s(worker) - used
        another = long_run(points)
        stand.publish(*another[: len(another) // 2])
        stand.stop()
        stand.start()
        audit = stand.settle(timeout_s=SETTLE_S)
        return Ending(
            audit=audit,
            struck=f"answered {mine:.1f} s after its end, the others {max(waited.values()):.1f} s "
            f"at most; for all of them, from its end on, service and worker took {used:.1f} s of "
            f"processor time; the service held {memory:.0f} MB at most "
            f"({before:.0f} before)",
        )


# -- hostile messages -----------------------------------------------------------------------------


@drill("garbage bytes, hostile pickles, unknown names, insane runs, megabyte metadata")
def hostile_messages(base: Base) -> Ending:
    witness = Path("/tmp/nearedge-was-here")
    witness.unlink(missing_ok=True)
    with stand_for(
        base, "hostile", service={"run_silent_s": 15.0, "backfill_wait_s": 5.0}
    ) as stand:
        stand.start()
        good = runs(10)
        frames = list(hostile.FRAMES.values())
        for i, docs in enumerate(good):
            stand.sent.add(uid_of(docs))
            stand.publish(*docs[:30])
            for frame in frames[i :: len(good)]:
                stand.send_frame(frame)
            for insane in list(hostile.RUNS)[i :: len(good)]:
                stand.publish_lax(*hostile.RUNS[insane]())
            stand.publish(*docs[30:])
        audit = stand.settle(timeout_s=SETTLE_S)
        ran = ", AND A COMMAND RAN" if witness.exists() else ", no command ran"
        return Ending(
            audit=audit,
            struck=f"{len(frames)} hostile frames and {len(hostile.RUNS)} insane runs{ran}",
        )


FUZZED = 10_000


@drill("10 000 mutated messages between good runs")
def fuzzed(base: Base, messages: int = FUZZED) -> Ending:
    rng = random.Random(5)
    settings = {"run_silent_s": 20.0, "backfill_wait_s": 0.0}
    with stand_for(base, "fuzzed", service=settings) as stand:
        stand.start()
        good = runs(20)
        sent = 0
        for docs in good:
            stand.sent.add(uid_of(docs))
            stand.publish(*docs[:30])
            while sent < messages * (good.index(docs) + 1) // len(good):
                for frame in _mutants(rng):
                    stand.send_frame(frame)
                    sent += 1
            stand.publish(*docs[30:])
        refused = stand.await_quiet()
        audit = stand.settle(timeout_s=900)
        return Ending(audit=audit, struck=f"{sent} messages, {refused}")


def _mutants(rng: random.Random) -> list[bytes]:
    """Return the messages of a run that was mutated, as documents or as bytes."""
    how = rng.choice(("pickle", "msgpack", "json"))
    docs = mutate(hostile.good_run(points=10, whole=rng.random() < 0.2), rng, changes=3)
    frames = [serialise(name, doc, how=how) for name, doc in docs]
    if rng.random() < 0.6:
        frames = [mutate_frame(frame, rng) for frame in frames]
    return frames


# -- maps -----------------------------------------------------------------------------------------


def _map_drill(
    base: Base,
    name: str,
    docs: Documents,
    pixels: int,
    *,
    pace_s: float,
    at: tuple[int, ...],
    strike: Callable[[Stand], object],
    what: str,
) -> Ending:
    stand = maps.stand_of(base, name)
    try:
        stand.start()
        count = maps.struck_at(stand, docs, pace_s, dict.fromkeys(at, lambda: strike(stand)))
        base.await_tiled()
        return Ending(audit=maps.settled(stand, docs, pixels), struck=f"{count} {what}")
    finally:
        stand.close()


def _image_drill(
    base: Base, name: str, strike: Callable[[Stand], object], what: str, *, at: tuple[int, ...]
) -> Ending:
    pixels, pace_s = maps.LINES * maps.COLUMNS, maps.LINE_S
    docs = maps.map_run()
    return _map_drill(base, name, docs, pixels, pace_s=pace_s, at=at, strike=strike, what=what)


@drill("pixels of a map: worker killed (SIGKILL) in mid-map, three times")
def map_worker_killed(base: Base) -> Ending:
    what = "kills while lines were measured"
    return _image_drill(base, "map-worker", maps.kill_worker, what, at=(10, 25, 40))


@drill("pixels of a map: service killed (SIGKILL) in mid-map and restarted, twice")
def map_service_killed(base: Base) -> Ending:
    what = "kills while lines were measured"
    return _image_drill(base, "map-service", maps.restart, what, at=(15, 35))


@drill("pixels of a map: Tiled killed (SIGKILL) in mid-map and restarted, twice")
def map_tiled_killed(base: Base) -> Ending:
    what = "kills while blocks were written"
    return _image_drill(
        base, "map-tiled", lambda stand: maps.restart_tiled(base), what, at=(15, 35)
    )


@drill("sweeps of a quick scan, 20 a second: service killed (SIGKILL) and restarted")
def quick_service_killed(base: Base) -> Ending:
    return _map_drill(
        base,
        "quick-service",
        maps.sweeps_run(),
        maps.SWEEPS,
        pace_s=maps.SWEEP_S,
        at=(200,),
        strike=maps.restart,
        what="kill while sweeps were measured",
    )
