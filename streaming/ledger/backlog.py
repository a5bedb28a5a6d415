"""What waits, since when, and how the rest ended: for those who look."""

# ruff: noqa: S608 - the queries are put together from constants of this package

from collections.abc import Iterable

from nearedge.streaming.ledger.database import Database
from nearedge.streaming.ledger.job import OPEN, STATES, Job, State, job_of

_OPEN = ", ".join(f"'{state}'" for state in OPEN)
_SMALL = (
    "key, run_uid, scan_id, stream, spectrum, state, outcome, priority, attempts, error, token, "
    "ended, queued, started, inverted, finished, part_of, NULL AS payload, NULL AS result"
)


class Backlog:
    """Looks at the spectra of a ledger and changes nothing; any thread may.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self) -> dict[State, int]:
        """Return the number of spectra in each state."""
        rows = self._database.read("SELECT state, COUNT(*) FROM spectra GROUP BY state")
        found = dict(map(tuple, rows))
        return {state: found.get(state, 0) for state in STATES}

    def get(self, key: str) -> Job | None:
        """Return the row of a key, or None."""
        rows = self._database.read("SELECT * FROM spectra WHERE key = ?", (key,))
        return job_of(rows[0]) if rows else None

    def rows(self, state: State, *, limit: int = 100) -> list[Job]:
        """Return the rows of one state in order of their turn, without payload and result."""
        query = f"SELECT {_SMALL} FROM spectra WHERE state = ? ORDER BY turn LIMIT ?"
        return [job_of(row) for row in self._database.read(query, (state, limit))]

    def has_run(self, run_uid: str) -> bool:
        """Return whether there is any spectrum of a run."""
        query = "SELECT 1 FROM spectra WHERE run_uid = ? LIMIT 1"
        return bool(self._database.read(query, (run_uid,)))

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return those of the keys that the ledger has and that were not rejected."""
        query = "SELECT 1 FROM spectra WHERE key = ? AND outcome != 'rejected'"
        return {key for key in keys if self._database.read(query, (key,))}

    def open_keys(self) -> set[str]:
        """Return the keys of the spectra that have not come to an end."""
        query = f"SELECT key FROM spectra WHERE state IN ({_OPEN})"
        return {row["key"] for row in self._database.read(query)}

    def oldest_age_s(self) -> float | None:
        """Return how long the oldest open spectrum has waited, s; None when none is open."""
        query = f"SELECT MIN(queued) FROM spectra WHERE state IN ({_OPEN})"
        oldest = self._database.read(query)[0][0]
        return None if oldest is None else max(0.0, self._database.now() - oldest)
