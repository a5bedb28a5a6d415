"""The one SQLite file under the ledger: its schema, its transactions, and its clocks."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 4
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
    ended REAL, queued REAL, started REAL, inverted REAL, finished REAL,
    part_of TEXT                        -- of a map: its key, for its blocks and for the map itself
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
    settings TEXT,                      -- digest of those with which all of it was read
    why TEXT, held_since REAL, held_until REAL
);
CREATE TABLE IF NOT EXISTS darks (run_uid TEXT PRIMARY KEY, ended REAL NOT NULL, payload BLOB);
"""
ADDED = (
    ("spectra", "priority", "INTEGER NOT NULL DEFAULT 0"),
    ("spectra", "part_of", "TEXT"),
    ("runs", "settings", "TEXT"),
)
"""Columns that ledgers of earlier versions lack."""
FREE = "(held_until IS NULL OR held_until <= :now OR held_since > :now)"
"""Condition of a row whose hold has ended."""


class LedgerError(ValueError):
    """A file that cannot be used as a ledger."""


class Database:
    """One connection that all threads of a process share.

    Parameters
    ----------
    path
        The file, made with its folder when missing; ``":memory:"`` for none.
    clock
        Monotonic seconds, for holds. All processes of one machine must share it.
    now
        Seconds since the epoch, for the times that people read.
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
        busy_timeout_s: float = 10.0,
    ) -> None:
        self.clock, self.now = clock, now
        self._lock = threading.RLock()
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except (sqlite3.DatabaseError, LedgerError) as e:
            self._connection.close()
            raise LedgerError(f"cannot use {path} as a ledger: {e}") from e

    def _prepare(self) -> None:
        db = self._connection
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a submitted spectrum survives a power cut
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"it has version {version}, this program knows {SCHEMA_VERSION}: "
                "upgrade nearedge, or name another file in service.ledger"
            )
        db.executescript(SCHEMA)
        for table, column, kind in ADDED:
            if column not in {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        db.execute("CREATE INDEX IF NOT EXISTS spectra_by_map ON spectra (part_of)")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection in a transaction; one within another is a part of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")

    def read(self, query: str, values: Any = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()
