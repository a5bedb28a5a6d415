"""The durable list of spectra to invert and to write: one SQLite file, one row per spectrum.

```
  held ─────► settle, or submitted again without its gap
                │
                ▼    claim              store                finish
              queued ───────► running ─────────► writing ───────────► complete | rejected
               ▲ ▲ ▲            │ │                │ ▲ │
               │ │ └── expired, hand_back, split ◄┘  └─┘ defer
               │ └──────────────────── finish of a degraded answer
               └──── retry ──── failed ◄── fail, after so many attempts
```

A row is held by whoever works on it. A hold ends at a time of the monotonic clock; it also ends
when that clock reads earlier than when the hold began, so that neither a reboot nor a clock that
jumps can keep a spectrum for ever. Whoever lost its hold cannot change the row any more, so work
that is done twice is stored once.
"""

# ruff: noqa: S608 - the queries are put together from constants of this module

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from nearedge.streaming.ledger.job import STATES, Job, Place, Priority, State

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS spectra (
    key TEXT PRIMARY KEY,
    run_uid TEXT NOT NULL, scan_id INTEGER, stream TEXT NOT NULL, spectrum TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT NOT NULL,              -- the state that it takes once it is written
    payload BLOB, result BLOB,          -- dropped when the catalog has them
    turn INTEGER NOT NULL,              -- order of the queue; a retried one goes to its end
    priority INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    alone INTEGER NOT NULL DEFAULT 0,   -- not to be tried together with others
    error TEXT,
    owner TEXT, token TEXT, held_since REAL, held_until REAL,
    ended REAL, queued REAL, started REAL, inverted REAL, finished REAL
);
CREATE INDEX IF NOT EXISTS spectra_by_state ON spectra (state, turn);
CREATE INDEX IF NOT EXISTS spectra_by_run ON spectra (run_uid);
CREATE TABLE IF NOT EXISTS partials (
    run_uid TEXT NOT NULL, stream TEXT NOT NULL, spectrum TEXT NOT NULL,
    payload BLOB NOT NULL, turn INTEGER NOT NULL,
    PRIMARY KEY (run_uid, stream, spectrum)
);
CREATE TABLE IF NOT EXISTS runs (       -- those that have ended, or lack something
    run_uid TEXT PRIMARY KEY,
    state TEXT NOT NULL,                -- gap | done | failed
    why TEXT, held_since REAL, held_until REAL
);
CREATE TABLE IF NOT EXISTS darks (run_uid TEXT PRIMARY KEY, ended REAL NOT NULL, payload BLOB);
"""
MIGRATIONS = {1: "ALTER TABLE spectra ADD COLUMN priority INTEGER NOT NULL DEFAULT 0"}
SQLITE_LIMIT = 2**63
FREE = "(held_until IS NULL OR held_until <= :now OR held_since > :now)"
RELEASED = "owner = NULL, token = NULL, held_since = NULL, held_until = NULL"
NEXT_TURN = "(SELECT COALESCE(MAX(turn), 0) + 1 FROM spectra)"


class LedgerError(ValueError):
    """A file that cannot be used as a ledger."""


class Ledger:
    """The ledger in one SQLite file; every method is a transaction and may be called by any thread.

    Parameters
    ----------
    path
        The file, made with its folder when missing; ``":memory:"`` for none.
    clock
        Monotonic seconds, for holds. All processes of one machine must share it.
    now
        Seconds since the epoch, for the times that people read.
    owner
        Who holds what this ledger claims; the default names this process.
    busy_timeout_s
        How long to wait for another process that writes.

    Raises
    ------
    LedgerError
        If the file is no ledger, or one of a later version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        owner: str | None = None,
        busy_timeout_s: float = 10.0,
    ) -> None:
        self.path = path
        self._clock, self._now = clock, now
        self._owner = this_process() if owner is None else owner
        self._lock = threading.RLock()
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        self._db.row_factory = sqlite3.Row
        try:
            self._prepare()
        except (sqlite3.DatabaseError, LedgerError) as e:
            self._db.close()
            raise LedgerError(f"cannot use {path} as a ledger: {e}") from e

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # a submitted spectrum survives a power cut
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"it has version {version}, this program knows {SCHEMA_VERSION}: "
                "upgrade nearedge, or name another file in service.ledger"
            )
        if version in MIGRATIONS:
            self._db.execute(MIGRATIONS[version])
        self._db.executescript(SCHEMA)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # -- submitting ---------------------------------------------------------------------------

    def submit(
        self,
        key: str,
        place: Place,
        payload: bytes,
        *,
        ended: float | None = None,
        rejected: bool = False,
        priority: Priority = Priority.LIVE,
        hold_s: float | None = None,
    ) -> bool:
        """Queue a spectrum for inversion; return False when the ledger has it already.

        One that is held does not count: it is replaced.

        Parameters
        ----------
        key, place, payload
            Name of the result, whose spectrum it is, and all about it.
        ended
            When the measurement ended, seconds since the epoch.
        rejected
            Whether it is queued for writing only.
        priority
            Of the inversion.
        hold_s
            Do nothing with it for so long, s, unless `settle` ends that, while its run is asked
            for; None: it need not wait.
        """
        outcome = State.REJECTED if rejected else State.COMPLETE
        state = State.WRITING if rejected else State.QUEUED
        with self._transaction() as db:
            added = db.execute(
                "INSERT INTO spectra (key, run_uid, scan_id, stream, spectrum, state, outcome, "
                "payload, turn, priority, ended, queued) "
                f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, {NEXT_TURN}, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET state = excluded.state, "
                "outcome = excluded.outcome, payload = excluded.payload, turn = excluded.turn, "
                "ended = COALESCE(spectra.ended, excluded.ended), queued = excluded.queued "
                "WHERE spectra.state = 'held' AND excluded.state != 'held'",
                (
                    *(key, *_columns(place), state if hold_s is None else State.HELD, outcome),
                    *(payload, priority, ended, self._now()),
                ),
            )
            if hold_s is not None:
                self._ask(db, place.run_uid, "its spectra have gaps", hold_s)
            db.execute(
                "DELETE FROM partials WHERE run_uid = ? AND stream = ? AND spectrum = ?",
                _slot(place),
            )
            return added.rowcount == 1

    def adopt(self, keys: Iterable[tuple[str, State]]) -> int:
        """Note results that the catalog already has, as complete or rejected; return how many.

        This is how a lost ledger is rebuilt. Rows that are open here stay as they are: writing
        them again finds the same key complete.
        """
        now = self._now()
        rows = [(key, state, state, now, now) for key, state in keys]
        with self._transaction() as db:
            before = db.total_changes
            db.executemany(
                "INSERT INTO spectra (key, run_uid, stream, spectrum, state, outcome, turn, "
                f"queued, finished) VALUES (?, '', '', '', ?, ?, {NEXT_TURN}, ?, ?) "
                "ON CONFLICT (key) DO NOTHING",
                rows,
            )
            return db.total_changes - before

    # -- runs ---------------------------------------------------------------------------------

    def ask(self, run_uid: str, why: str, *, wait_s: float) -> None:
        """Note that a run lacks something, and for how long the catalog may be asked for it, s."""
        with self._transaction() as db:
            self._ask(db, run_uid, why, wait_s)

    def _ask(self, db: sqlite3.Connection, run_uid: str, why: str, wait_s: float) -> None:
        now = self._clock()
        db.execute(
            "INSERT INTO runs (run_uid, state, why, held_since, held_until) "
            "VALUES (?, 'gap', ?, ?, ?) ON CONFLICT (run_uid) DO UPDATE SET why = excluded.why, "
            "held_since = excluded.held_since, held_until = excluded.held_until "
            "WHERE runs.state = 'gap'",
            (run_uid, why, now, now + wait_s),
        )

    def asked(self) -> list[tuple[str, bool]]:
        """Return the runs that lack something, and of each whether its time is over."""
        query = f"SELECT run_uid, {FREE} FROM runs WHERE state = 'gap'"
        rows = self._read(query, {"now": self._clock()})
        return [(run_uid, bool(over)) for run_uid, over in rows]

    def settle(self, run_uid: str, *, error: str | None = None) -> None:
        """Note that a run has all that it will get, and go on with what it held.

        Parameters
        ----------
        run_uid
            Of the run.
        error
            Why it could not be read from the catalog.
        """
        state = "done" if error is None else "failed"
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (run_uid, state, why) VALUES (?1, ?2, ?3) "
                "ON CONFLICT (run_uid) DO UPDATE SET state = ?2, why = ?3",
                (run_uid, state, error),
            )
            db.execute(
                f"UPDATE spectra SET state = {READY}, queued = ?, turn = {NEXT_TURN} "
                "WHERE state = 'held' AND run_uid = ?",
                (self._now(), run_uid),
            )

    def unknown_runs(self, run_uids: Sequence[str]) -> list[str]:
        """Return those of the runs that the ledger has not, in the same order."""
        known = {row[0] for row in self._read("SELECT run_uid FROM runs")}
        return [uid for uid in run_uids if uid not in known]

    def run_counts(self) -> dict[str, int]:
        """Return how many runs are ``gap``, ``done`` and ``failed``."""
        found = dict(map(tuple, self._read("SELECT state, COUNT(*) FROM runs GROUP BY state")))
        return {state: found.get(state, 0) for state in ("gap", "done", "failed")}

    def is_new(self) -> bool:
        """Return whether nothing was ever noted in it."""
        return not self._read("SELECT 1 FROM runs UNION SELECT 1 FROM spectra LIMIT 1")

    def put_dark(self, run_uid: str, payload: bytes, *, ended: float, kept: int) -> None:
        """Keep what a dark run measured, and only the ``kept`` that ended last."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO darks (run_uid, ended, payload) VALUES (?, ?, ?)",
                (run_uid, ended, payload),
            )
            db.execute(
                "DELETE FROM darks WHERE run_uid NOT IN "
                "(SELECT run_uid FROM darks ORDER BY ended DESC LIMIT ?)",
                (kept,),
            )

    def darks(self) -> list[bytes]:
        """Return what the dark runs measured, in the order in which they ended."""
        return [row["payload"] for row in self._read("SELECT payload FROM darks ORDER BY ended")]

    # -- working ------------------------------------------------------------------------------

    def claim(self, n: int = 1, *, lease_s: float, live: bool = False) -> list[Job]:
        """Take up to ``n`` queued spectra to invert; one that must be alone comes alone.

        Parameters
        ----------
        n
            How many at most.
        lease_s
            How long they are held, s.
        live
            Only the urgent ones.
        """
        last = Priority.LIVE if live else Priority.AGAIN
        with self._transaction() as db:
            waiting = db.execute(
                "SELECT key, alone FROM spectra WHERE state = 'queued' AND priority <= ? "
                "ORDER BY priority, turn LIMIT ?",
                (last, n),
            ).fetchall()
            keys = [row["key"] for row in _until_alone(waiting)]
            self._hold(db, keys, lease_s, "state = 'running', started = :wall")
            return self._jobs(keys)

    def claim_write(self, n: int = 1, *, lease_s: float) -> list[Job]:
        """Take up to ``n`` answers or rejections to write, oldest first."""
        with self._transaction() as db:
            waiting = db.execute(
                f"SELECT key FROM spectra WHERE state = 'writing' AND {FREE} "
                "ORDER BY turn LIMIT :n",
                {"now": self._clock(), "n": n},
            ).fetchall()
            keys = [row["key"] for row in waiting]
            self._hold(db, keys, lease_s, "state = 'writing'")
            return self._jobs(keys)

    def store(self, job: Job, result: bytes, *, degraded: bool = False) -> bool:
        """Keep the answer to a claimed spectrum, to be written; False when the hold was lost.

        After a degraded one has been written, the spectrum is queued again for a full one.
        """
        return self._move(
            job,
            State.RUNNING,
            f"state = 'writing', result = :result, inverted = :wall, attempts = 0, error = NULL, "
            f"outcome = :outcome, {RELEASED}",
            result=result,
            outcome=State.DEGRADED if degraded else State.COMPLETE,
        )

    def finish(self, job: Job) -> bool:
        """Note that the catalog has it; False when the hold was lost."""
        change = _QUEUED_AGAIN if job.outcome is State.DEGRADED else _ENDED
        return self._move(job, State.WRITING, f"{change}, result = NULL, error = NULL, {RELEASED}")

    def fail(self, job: Job, error: str, *, attempts: int) -> bool:
        """Count a failed try: back to the end of the queue, or failed after ``attempts`` tries."""
        return self._move(
            job, State.RUNNING, f"{_TRIED}, error = :error", error=error, attempts=attempts
        )

    def split(self, jobs: Sequence[Job], error: str) -> None:
        """Queue each of a failed batch to be tried alone: one bad spectrum harms no other."""
        for job in jobs:
            self._move(
                job,
                State.RUNNING,
                f"state = 'queued', alone = 1, error = :error, {RELEASED}",
                error=error,
            )

    def defer(self, job: Job, error: str, *, delay_s: float) -> bool:
        """Keep an answer that could not be written, to be tried again after a delay."""
        return self._move(
            job,
            State.WRITING,
            "attempts = attempts + 1, error = :error, owner = NULL, token = NULL, "
            "held_since = :now, held_until = :until",
            error=error,
            until=self._clock() + delay_s,
        )

    def give_up(self, job: Job, error: str) -> bool:
        """Mark a claimed spectrum or answer as failed for good; `retry` brings it back."""
        return self._move(
            job, job.state, f"state = 'failed', error = :error, {RELEASED}", error=error
        )

    def hand_back(self, jobs: Sequence[Job]) -> None:
        """Give up the hold on untouched work, without counting a try."""
        for job in jobs:
            back = State.QUEUED if job.state is State.RUNNING else job.state
            self._move(job, job.state, f"state = '{back}', {RELEASED}")

    def renew(self, jobs: Sequence[Job], *, lease_s: float) -> None:
        """Hold claimed work for ``lease_s`` from now on."""
        for job in jobs:
            self._move(
                job,
                job.state,
                "held_since = :now, held_until = :until",
                until=self._clock() + lease_s,
            )

    # -- recovering ---------------------------------------------------------------------------

    def requeue_expired(self, *, attempts: int) -> int:
        """Count a try of every running spectrum whose hold has ended; return how many."""
        with self._transaction() as db:
            return db.execute(
                f"UPDATE spectra SET {_TRIED}, error = 'the hold on it ended' "
                f"WHERE state = 'running' AND {FREE}",
                {"now": self._clock(), "attempts": attempts},
            ).rowcount

    def requeue_orphans(self, *, attempts: int, alive: Callable[[str], bool] | None = None) -> int:
        """Free what processes that are gone still hold; return how many spectra that was."""
        alive = alive or owner_is_alive
        with self._transaction() as db:
            owners = db.execute("SELECT DISTINCT owner FROM spectra WHERE owner IS NOT NULL")
            gone = [row["owner"] for row in owners if not alive(row["owner"])]
            freed = 0
            for owner in gone:
                freed += db.execute(
                    f"UPDATE spectra SET {_TRIED}, error = 'the process that held it died' "
                    "WHERE state = 'running' AND owner = :owner",
                    {"owner": owner, "attempts": attempts},
                ).rowcount
                freed += db.execute(
                    f"UPDATE spectra SET {RELEASED} WHERE owner = :owner", {"owner": owner}
                ).rowcount
            return freed

    def retry(self, keys: Sequence[str] | None = None) -> int:
        """Bring failed spectra back (all, or those named), with no tries counted."""
        chosen = "" if keys is None else f"AND key IN ({', '.join('?' * len(keys))})"
        with self._transaction() as db:
            return db.execute(
                f"UPDATE spectra SET attempts = 0, alone = 1, state = {READY}, "
                f"turn = {NEXT_TURN}, {RELEASED} "
                f"WHERE state = 'failed' {chosen}",
                tuple(keys or ()),
            ).rowcount

    # -- partial spectra ----------------------------------------------------------------------

    def put_partial(self, place: Place, payload: bytes) -> None:
        """Keep the newest version of a spectrum that still grows, unless its final one is here."""
        with self._transaction() as db:
            final = db.execute(
                "SELECT 1 FROM spectra WHERE run_uid = ? AND stream = ? AND spectrum = ?",
                _slot(place),
            ).fetchone()
            if final is None:
                db.execute(
                    "INSERT OR REPLACE INTO partials (run_uid, stream, spectrum, payload, turn) "
                    "VALUES (?, ?, ?, ?, (SELECT COALESCE(MAX(turn), 0) + 1 FROM partials))",
                    (*_slot(place), payload),
                )

    def take_partial(self) -> bytes | None:
        """Take the payload of the partial spectrum that waits longest, if nothing urgent waits."""
        with self._transaction() as db:
            urgent = "SELECT 1 FROM spectra WHERE state = 'queued' AND priority = 0"
            if db.execute(urgent).fetchone():
                return None
            row = db.execute(
                "DELETE FROM partials WHERE turn = (SELECT MIN(turn) FROM partials) "
                "RETURNING payload"
            ).fetchone()
            return None if row is None else row["payload"]

    # -- looking ------------------------------------------------------------------------------

    def counts(self) -> dict[State, int]:
        """Return the number of spectra in each state."""
        found = dict(map(tuple, self._read("SELECT state, COUNT(*) FROM spectra GROUP BY state")))
        return {state: found.get(state, 0) for state in STATES}

    def get(self, key: str) -> Job | None:
        """Return the row of a key, or None."""
        return next(iter(self._jobs([key])), None)

    def rows(self, state: State, *, limit: int = 100) -> list[Job]:
        """Return the rows of one state in order of their turn."""
        query = "SELECT * FROM spectra WHERE state = ? ORDER BY turn LIMIT ?"
        return [_job(row) for row in self._read(query, (state, limit))]

    def oldest_age_s(self) -> float | None:
        """Return how long the oldest open spectrum has waited, s; None when none is open."""
        oldest = self._read(
            "SELECT MIN(queued) FROM spectra "
            "WHERE state IN ('held', 'queued', 'running', 'writing')"
        )[0][0]
        return None if oldest is None else max(0.0, self._now() - oldest)

    def waited_s(self) -> float:
        """Return how long the oldest urgent spectrum has waited to be inverted, s."""
        oldest = self._read(
            "SELECT MIN(queued) FROM spectra WHERE state = 'queued' AND priority = 0"
        )[0][0]
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def seconds_until_write(self) -> float | None:
        """Return how long until an answer may be written, s; None when none waits."""
        now = self._clock()
        until = self._read(
            f"SELECT MIN(CASE WHEN {FREE} THEN :now ELSE held_until END) FROM spectra "
            "WHERE state = 'writing'",
            {"now": now},
        )[0][0]
        return None if until is None else max(0.0, until - now)

    # -- inside -------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")

    def _read(self, query: str, values: Any = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _hold(self, db: sqlite3.Connection, keys: list[str], lease_s: float, change: str) -> None:
        now = self._clock()
        values = {
            "owner": self._owner,
            "now": now,
            "until": now + lease_s,
            "wall": self._now(),
        }
        db.executemany(
            f"UPDATE spectra SET {change}, owner = :owner, token = :token, "
            "held_since = :now, held_until = :until WHERE key = :key",
            [{**values, "key": key, "token": uuid4().hex} for key in keys],
        )

    def _move(self, job: Job, state: State, change: str, **values: object) -> bool:
        """Change a row that is in ``state`` and still held by ``job``'s token."""
        with self._transaction() as db:
            return (
                db.execute(
                    f"UPDATE spectra SET {change} "
                    "WHERE key = :key AND state = :state AND token = :token",
                    {
                        **values,
                        "key": job.key,
                        "state": state,
                        "token": job.token,
                        "now": self._clock(),
                        "wall": self._now(),
                    },
                ).rowcount
                == 1
            )

    def _jobs(self, keys: Iterable[str]) -> list[Job]:
        query = "SELECT * FROM spectra WHERE key = ?"
        return [_job(row) for key in keys for row in self._read(query, (key,))]


READY = "CASE WHEN outcome = 'rejected' OR result IS NOT NULL THEN 'writing' ELSE 'queued' END"
_ENDED = "state = outcome, payload = NULL, finished = :wall"
_QUEUED_AGAIN = f"state = 'queued', outcome = 'complete', priority = {Priority.AGAIN:d}"
_TRIED = (
    "attempts = attempts + 1, alone = 1, "
    "state = CASE WHEN attempts + 1 >= :attempts THEN 'failed' ELSE 'queued' END, "
    f"turn = {NEXT_TURN}, {RELEASED}"
)


_PROCESS = uuid4().hex[:8]  # a process started later may get the number of one that died


def this_process() -> str:
    """Return the name under which this process holds rows."""
    return f"{os.getpid()}.{_PROCESS}"


def owner_is_alive(owner: str) -> bool:
    """Return whether the process of that name still runs on this machine."""
    pid = int(owner.partition(".")[0])
    if pid == os.getpid():
        return owner == this_process()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _columns(place: Place) -> tuple[str, int | None, str, str]:
    scan_id = place.scan_id
    if scan_id is not None and abs(scan_id) >= SQLITE_LIMIT:  # no scan counts so far
        scan_id = None
    return place.run_uid, scan_id, place.stream, place.spectrum


def _slot(place: Place) -> tuple[str, str, str]:
    return place.run_uid, place.stream, place.spectrum


def _until_alone(rows: Sequence[sqlite3.Row]) -> Sequence[sqlite3.Row]:
    """Return the first row when it must be alone, else the rows before the first that must."""
    alone = [i for i, row in enumerate(rows) if row["alone"]]
    return rows[: max(1, alone[0])] if alone else rows


def _job(row: sqlite3.Row) -> Job:
    place = Place(
        run_uid=row["run_uid"],
        scan_id=row["scan_id"],
        stream=row["stream"],
        spectrum=row["spectrum"],
    )
    return Job(
        key=row["key"],
        place=place,
        state=State(row["state"]),
        outcome=State(row["outcome"]),
        priority=Priority(row["priority"]),
        payload=row["payload"],
        result=row["result"],
        attempts=row["attempts"],
        error=row["error"],
        token=row["token"],
        ended=row["ended"],
        queued=row["queued"],
        started=row["started"],
        inverted=row["inverted"],
        finished=row["finished"],
    )
