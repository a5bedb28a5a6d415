"""Spectra that wait to be inverted and to be written, and who holds each of them.

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

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from uuid import uuid4

from nearedge.streaming.ledger.database import FREE, Database
from nearedge.streaming.ledger.job import OPEN, Job, Place, Priority, State, job_of
from nearedge.streaming.ledger.owners import owner_is_alive

SQLITE_LIMIT = 2**63
BLOCKS_TOGETHER = 64
"""Blocks of a map that are written together, at most."""
RELEASED = "owner = NULL, token = NULL, held_since = NULL, held_until = NULL"
NEXT_TURN = "(SELECT COALESCE(MAX(turn), 0) + 1 FROM spectra)"
READY = "CASE WHEN outcome = 'rejected' OR result IS NOT NULL THEN 'writing' ELSE 'queued' END"
_OPEN = ", ".join(f"'{state}'" for state in OPEN)
_UNFINISHED = (
    "EXISTS (SELECT 1 FROM spectra AS block WHERE block.part_of = spectra.key "
    f"AND block.key != block.part_of AND block.state IN ({_OPEN}))"
)
"""Condition of a map of which some blocks are not in the catalog."""
_ENDED = "state = outcome, payload = NULL, finished = :wall"
_QUEUED_AGAIN = f"state = 'queued', outcome = 'complete', priority = {Priority.AGAIN:d}"
_TRIED = (
    "attempts = attempts + 1, alone = 1, "
    "state = CASE WHEN attempts + 1 >= :attempts THEN 'failed' ELSE 'queued' END, "
    f"turn = {NEXT_TURN}, {RELEASED}"
)


class Queue:
    """The queue of spectra; every method is a transaction and may be called by any thread.

    Parameters
    ----------
    database
        Where it is kept.
    owner
        Who holds what is claimed.
    """

    def __init__(self, database: Database, *, owner: str) -> None:
        self._database, self._owner = database, owner

    def add(
        self,
        key: str,
        place: Place,
        payload: bytes,
        *,
        ended: float | None,
        rejected: bool,
        priority: Priority,
        held: bool,
        part_of: str | None = None,
    ) -> bool:
        """Queue a spectrum, or hold it; the parameters are those of `Ledger.submit`.

        A map is queued again where some of its blocks were.
        """
        outcome = State.REJECTED if rejected else State.COMPLETE
        state = State.WRITING if rejected else State.QUEUED
        with self._database.transaction() as db:
            added = db.execute(
                "INSERT INTO spectra (key, run_uid, scan_id, stream, spectrum, state, outcome, "
                "payload, turn, priority, ended, queued, part_of) "
                f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, {NEXT_TURN}, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET state = excluded.state, "
                "outcome = excluded.outcome, payload = excluded.payload, turn = excluded.turn, "
                "ended = COALESCE(spectra.ended, excluded.ended), queued = excluded.queued, "
                "part_of = excluded.part_of, result = NULL, "
                f"finished = NULL, error = NULL, attempts = 0, {RELEASED} "
                "WHERE excluded.state != 'held' AND (spectra.state = 'held' "
                "OR spectra.outcome = 'rejected' AND excluded.outcome = 'complete' "
                f"OR excluded.part_of = excluded.key AND {_UNFINISHED})",
                (
                    *(key, *_columns(place), State.HELD if held else state, outcome),
                    *(payload, priority, ended, self._database.now(), part_of),
                ),
            )
            return added.rowcount == 1

    def blocks(self, part_of: str) -> list[tuple[str, State]]:
        """Return the names of a map's blocks, and the state that each takes in the end."""
        rows = self._database.read(
            "SELECT spectrum, outcome FROM spectra WHERE part_of = ? AND key != part_of",
            (part_of,),
        )
        return [(row["spectrum"], State(row["outcome"])) for row in rows]

    def adopt(self, keys: Iterable[tuple[str, State]]) -> int:
        """Note results that the catalog already has, as complete or rejected; return how many.

        This is how a lost ledger is rebuilt. Rows that are open here stay as they are: writing
        them again finds the same key complete.
        """
        now = self._database.now()
        rows = [(key, state, state, now, now) for key, state in keys]
        with self._database.transaction() as db:
            before = db.total_changes
            db.executemany(
                "INSERT INTO spectra (key, run_uid, stream, spectrum, state, outcome, turn, "
                f"queued, finished) VALUES (?, '', '', '', ?, ?, {NEXT_TURN}, ?, ?) "
                "ON CONFLICT (key) DO NOTHING",
                rows,
            )
            return db.total_changes - before

    def forget_unlisted(self, keys: Collection[str], *, before: float) -> list[str]:
        """Forget what ended before a time and is not among keys; return whose spectra it was.

        Parameters
        ----------
        keys
            What the catalog has.
        before
            When the catalog was asked, seconds since the epoch.
        """
        query = (
            "SELECT key, run_uid FROM spectra WHERE state IN ('complete', 'rejected') "
            "AND finished < ? AND (part_of IS NULL OR part_of = key)"
        )
        with self._database.transaction() as db:
            gone = [row for row in db.execute(query, (before,)) if row["key"] not in keys]
            names = [(row["key"], row["key"]) for row in gone]
            db.executemany("DELETE FROM spectra WHERE key = ? OR part_of = ?", names)
        return [row["run_uid"] for row in gone]

    def release(self, run_uid: str) -> None:
        """Go on with the spectra that a run held."""
        with self._database.transaction() as db:
            db.execute(
                f"UPDATE spectra SET state = {READY}, queued = ?, turn = {NEXT_TURN} "
                "WHERE state = 'held' AND run_uid = ?",
                (self._database.now(), run_uid),
            )

    def claim(
        self, n: int = 1, *, lease_s: float, live: bool = False, blocks: int = 1
    ) -> list[Job]:
        """Take up to ``n`` queued spectra to invert; one that must be alone comes alone.

        Blocks of maps come apart from spectra, and a map itself, once all of its blocks are in the
        catalog, comes alone.

        Parameters
        ----------
        n
            How many at most.
        lease_s
            How long they are held, s.
        live
            Only the urgent ones.
        blocks
            How many blocks of maps at most.
        """
        last = Priority.LIVE if live else Priority.AGAIN
        with self._database.transaction() as db:
            waiting = db.execute(
                "SELECT key, alone, part_of FROM spectra "
                "WHERE state = 'queued' AND priority <= ? "
                f"AND (part_of IS NULL OR part_of != key OR NOT {_UNFINISHED}) "
                "ORDER BY priority, turn LIMIT ?",
                (last, n),
            ).fetchall()
            keys = [row["key"] for row in _together(_until_alone(waiting), blocks)]
            self._hold(db, keys, lease_s, "state = 'running', started = :wall")
            return self._claimed(keys)

    def claim_write(self, *, lease_s: float, most_bytes: int = 0, n: int = 1) -> list[Job]:
        """Take the oldest answers or rejections to write: of single spectra, or blocks of one map.

        A block that was refused before comes alone, so that it holds up no other.

        Parameters
        ----------
        lease_s
            How long they are held, s.
        most_bytes
            What blocks together may hold; the first comes whatever it holds.
        n
            How many single spectra at most.
        """
        with self._database.transaction() as db:
            waiting = db.execute(
                "SELECT key, part_of, attempts, LENGTH(payload) + COALESCE(LENGTH(result), 0) "
                f"AS size FROM spectra WHERE state = 'writing' AND {FREE} "
                "ORDER BY turn LIMIT :n",
                {"now": self._database.clock(), "n": BLOCKS_TOGETHER},
            ).fetchall()
            keys = [row["key"] for row in _to_write(waiting, most_bytes, n)]
            self._hold(db, keys, lease_s, "state = 'writing'")
            return self._claimed(keys)

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

    def finish_all(self, jobs: Sequence[Job]) -> list[Job]:
        """Note in one transaction that the catalog has them; return those still held."""
        with self._database.transaction():
            return [job for job in jobs if self.finish(job)]

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
            until=self._database.clock() + delay_s,
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

    def requeue_expired(self, *, attempts: int) -> int:
        """Count a try of every running spectrum whose hold has ended; return how many."""
        with self._database.transaction() as db:
            return db.execute(
                f"UPDATE spectra SET {_TRIED}, error = 'the hold on it ended' "
                f"WHERE state = 'running' AND {FREE}",
                {"now": self._database.clock(), "attempts": attempts},
            ).rowcount

    def requeue_orphans(self, *, attempts: int, alive: Callable[[str], bool] | None = None) -> int:
        """Free what processes that are gone still hold; return how many spectra that was."""
        alive = alive or owner_is_alive
        with self._database.transaction() as db:
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
        with self._database.transaction() as db:
            return db.execute(
                f"UPDATE spectra SET attempts = 0, alone = 1, state = {READY}, "
                f"turn = {NEXT_TURN}, {RELEASED} "
                f"WHERE state = 'failed' {chosen}",
                tuple(keys or ()),
            ).rowcount

    def seconds_until_write(self) -> float | None:
        """Return how long until an answer may be written, s; None when none waits."""
        now = self._database.clock()
        until = self._database.read(
            f"SELECT MIN(CASE WHEN {FREE} THEN :now ELSE held_until END) FROM spectra "
            "WHERE state = 'writing'",
            {"now": now},
        )[0][0]
        return None if until is None else max(0.0, until - now)

    def _hold(self, db: sqlite3.Connection, keys: list[str], lease_s: float, change: str) -> None:
        now = self._database.clock()
        values = {
            "owner": self._owner,
            "now": now,
            "until": now + lease_s,
            "wall": self._database.now(),
        }
        db.executemany(
            f"UPDATE spectra SET {change}, owner = :owner, token = :token, "
            "held_since = :now, held_until = :until WHERE key = :key",
            [{**values, "key": key, "token": uuid4().hex} for key in keys],
        )

    def _move(self, job: Job, state: State, change: str, **values: object) -> bool:
        """Change a row that is in ``state`` and still held by ``job``'s token."""
        with self._database.transaction() as db:
            return (
                db.execute(
                    f"UPDATE spectra SET {change} "
                    "WHERE key = :key AND state = :state AND token = :token",
                    {
                        **values,
                        "key": job.key,
                        "state": state,
                        "token": job.token,
                        "now": self._database.clock(),
                        "wall": self._database.now(),
                    },
                ).rowcount
                == 1
            )

    def _claimed(self, keys: Iterable[str]) -> list[Job]:
        query = "SELECT * FROM spectra WHERE key = ?"
        return [job_of(row) for key in keys for row in self._database.read(query, (key,))]


def _columns(place: Place) -> tuple[str, int | None, str, str]:
    scan_id = place.scan_id
    if scan_id is not None and abs(scan_id) >= SQLITE_LIMIT:  # no scan counts so far
        scan_id = None
    return place.run_uid, scan_id, place.stream, place.spectrum


def _until_alone(rows: Sequence[sqlite3.Row]) -> Sequence[sqlite3.Row]:
    """Return the first row when it must be alone, else the rows before the first that must."""
    alone = [i for i, row in enumerate(rows) if row["alone"]]
    return rows[: max(1, alone[0])] if alone else rows


def _together(rows: Sequence[sqlite3.Row], blocks: int) -> Sequence[sqlite3.Row]:
    """Return the rows of the first one's kind, up to the first of another."""
    kinds = [_kind(row) for row in rows]
    if not kinds or kinds[0] == "map":
        return rows[:1]
    end = next((k for k, kind in enumerate(kinds) if kind != kinds[0]), len(kinds))
    return rows[: end if kinds[0] == "spectrum" else min(end, blocks)]


def _to_write(rows: Sequence[sqlite3.Row], most_bytes: int, n: int) -> list[sqlite3.Row]:
    """Return the first row, and those that can be written beside it or together with it."""
    if rows and _kind(rows[0]) == "spectrum":
        return [row for row in rows if _kind(row) == "spectrum"][:n]
    if not rows or not _joins(rows[0]):
        return list(rows[:1])
    own = [row for row in rows if _joins(row) and row["part_of"] == rows[0]["part_of"]]
    sizes = accumulate(row["size"] for row in own)
    fit = [row for row, size in zip(own, sizes, strict=True) if size <= most_bytes]
    return fit or own[:1]


def _joins(row: sqlite3.Row) -> bool:
    return _kind(row) == "block" and not row["attempts"]


def _kind(row: sqlite3.Row) -> str:
    if row["part_of"] is None:
        return "spectrum"
    return "map" if row["part_of"] == row["key"] else "block"
