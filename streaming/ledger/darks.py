"""What the latest dark runs measured, kept for the service after this one."""

from nearedge.streaming.ledger.database import Database


class StoredDarks:
    """The dark runs that a ledger keeps; every method may be called by any thread.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, run_uid: str, payload: bytes, *, ended: float, kept: int) -> None:
        """Keep what a dark run measured, and only the ``kept`` that ended last."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO darks (run_uid, ended, payload) VALUES (?, ?, ?)",
                (run_uid, ended, payload),
            )
            db.execute(
                "DELETE FROM darks WHERE run_uid NOT IN "
                "(SELECT run_uid FROM darks ORDER BY ended DESC LIMIT ?)",
                (kept,),
            )

    def payloads(self) -> list[bytes]:
        """Return what the dark runs measured, in the order in which they ended."""
        rows = self._database.read("SELECT payload FROM darks ORDER BY ended")
        return [row["payload"] for row in rows]
