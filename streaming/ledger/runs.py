"""Runs that have ended, and those that lack something for which the catalog is asked."""

# ruff: noqa: S608 - the queries are put together from constants of this package

from collections.abc import Sequence

from nearedge.streaming.ledger.database import FREE, Database

GAP, DONE, FAILED = "gap", "done", "failed"


class Runs:
    """The runs that a ledger knows; every method may be called by any thread.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, run_uid: str, why: str, *, wait_s: float) -> None:
        """Note that a run lacks something, and for how long the catalog may be asked for it, s."""
        now = self._database.clock()
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO runs (run_uid, state, why, held_since, held_until) "
                "VALUES (?, 'gap', ?, ?, ?) ON CONFLICT (run_uid) DO UPDATE SET "
                "why = excluded.why, held_since = excluded.held_since, "
                "held_until = excluded.held_until WHERE runs.state = 'gap'",
                (run_uid, why, now, now + wait_s),
            )

    def asked(self) -> list[tuple[str, bool]]:
        """Return the runs that lack something, and of each whether its time is over."""
        query = f"SELECT run_uid, {FREE} FROM runs WHERE state = 'gap'"
        rows = self._database.read(query, {"now": self._database.clock()})
        return [(run_uid, bool(over)) for run_uid, over in rows]

    def end(self, run_uid: str, *, error: str | None) -> None:
        """Note that a run has all that it will get, or why it could not be read."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO runs (run_uid, state, why) VALUES (?1, ?2, ?3) "
                "ON CONFLICT (run_uid) DO UPDATE SET state = ?2, why = ?3",
                (run_uid, DONE if error is None else FAILED, error),
            )

    def unknown(self, run_uids: Sequence[str]) -> list[str]:
        """Return those of the runs that the ledger has not, in the same order."""
        known = {row[0] for row in self._database.read("SELECT run_uid FROM runs")}
        return [uid for uid in run_uids if uid not in known]

    def counts(self) -> dict[str, int]:
        """Return how many runs are ``gap``, ``done`` and ``failed``."""
        rows = self._database.read("SELECT state, COUNT(*) FROM runs GROUP BY state")
        found = dict(map(tuple, rows))
        return {state: found.get(state, 0) for state in (GAP, DONE, FAILED)}
