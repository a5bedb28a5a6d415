"""Spectra that still grow: the newest version of each, until its final one comes."""

from nearedge.streaming.ledger.database import Database
from nearedge.streaming.ledger.job import Place


class Partials:
    """The partial spectra of a ledger; every method may be called by any thread.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, place: Place, payload: bytes) -> None:
        """Keep the newest version of a spectrum, unless its final one is here."""
        with self._database.transaction() as db:
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

    def take(self) -> bytes | None:
        """Take the payload of the one that waits longest, if no urgent spectrum waits."""
        with self._database.transaction() as db:
            urgent = (
                "SELECT 1 FROM spectra WHERE state = 'queued' AND priority = 0 AND part_of IS NULL"
            )
            if db.execute(urgent).fetchone():
                return None
            row = db.execute(
                "DELETE FROM partials WHERE turn = (SELECT MIN(turn) FROM partials) "
                "RETURNING payload"
            ).fetchone()
            return None if row is None else row["payload"]

    def drop(self, place: Place) -> None:
        """Forget a spectrum, whose final version has come."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM partials WHERE run_uid = ? AND stream = ? AND spectrum = ?",
                _slot(place),
            )


def _slot(place: Place) -> tuple[str, str, str]:
    return place.run_uid, place.stream, place.spectrum
