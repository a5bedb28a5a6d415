"""Runs that have ended, and those that lack something for which the catalog is asked."""

# ruff: noqa: S608 - the queries are put together from constants of this package

from collections.abc import Iterable, Sequence

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

    def end(self, run_uid: str, *, settings: str | None) -> None:
        """Note that a run has all that it will get, and with which settings all of it was read."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO runs (run_uid, state, settings) VALUES (?, ?, ?) "
                "ON CONFLICT (run_uid) DO UPDATE SET state = excluded.state, why = NULL, "
                "settings = COALESCE(excluded.settings, runs.settings)",
                (run_uid, DONE, settings),
            )

    def postpone(self, run_uid: str, why: str, *, delay_s: float) -> None:
        """Note that some of a run could not be read, and when to try again, s from now."""
        now = self._database.clock()
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO runs (run_uid, state, why, held_since, held_until) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (run_uid) DO UPDATE SET "
                "state = excluded.state, why = excluded.why, held_since = excluded.held_since, "
                "held_until = excluded.held_until, settings = NULL",
                (run_uid, FAILED, why, now, now + delay_s),
            )

    def due(self) -> list[str]:
        """Return the runs that could not be read and are to be tried again now."""
        query = f"SELECT run_uid FROM runs WHERE state = '{FAILED}' AND {FREE}"
        return [
            row["run_uid"] for row in self._database.read(query, {"now": self._database.clock()})
        ]

    def retry(self) -> int:
        """Have every run that could not be read tried again now; return how many."""
        with self._database.transaction() as db:
            return db.execute(
                f"UPDATE runs SET held_until = NULL WHERE state = '{FAILED}'"
            ).rowcount

    def failed(self) -> list[tuple[str, str]]:
        """Return the runs that could not be read, and why."""
        query = f"SELECT run_uid, why FROM runs WHERE state = '{FAILED}'"
        return [(row["run_uid"], row["why"] or "") for row in self._database.read(query)]

    def read_with(self, settings: str) -> dict[str, int]:
        """Return the runs that were read to their end with settings, and their results.

        A map is one, its blocks are none.
        """
        query = (
            "SELECT runs.run_uid AS run_uid, COUNT(spectra.key) AS n FROM runs "
            "LEFT JOIN spectra ON spectra.run_uid = runs.run_uid "
            "AND (spectra.part_of IS NULL OR spectra.part_of = spectra.key) "
            f"WHERE runs.state = '{DONE}' AND runs.settings = ? GROUP BY runs.run_uid"
        )
        return {row["run_uid"]: row["n"] for row in self._database.read(query, (settings,))}

    def forget(self, run_uids: Iterable[str]) -> None:
        """Let runs be read again as if they had never been heard of."""
        with self._database.transaction() as db:
            db.executemany("DELETE FROM runs WHERE run_uid = ?", [(uid,) for uid in run_uids])

    def forget_done(self) -> None:
        """Let all runs be read again that have ended."""
        with self._database.transaction() as db:
            db.execute(f"DELETE FROM runs WHERE state = '{DONE}'")

    def needs_nothing(self, run_uid: str) -> bool:
        """Return whether a run has ended here, or is asked for: it need not be read."""
        query = f"SELECT 1 FROM runs WHERE run_uid = ? AND state != '{FAILED}'"
        return bool(self._database.read(query, (run_uid,)))

    def unknown(self, run_uids: Sequence[str]) -> list[str]:
        """Return those of the runs that the ledger has not, in the same order."""
        known = {row[0] for row in self._database.read("SELECT run_uid FROM runs")}
        return [uid for uid in run_uids if uid not in known]

    def counts(self) -> dict[str, int]:
        """Return how many runs are ``gap``, ``done`` and ``failed``."""
        rows = self._database.read("SELECT state, COUNT(*) FROM runs GROUP BY state")
        found = dict(map(tuple, rows))
        return {state: found.get(state, 0) for state in (GAP, DONE, FAILED)}
