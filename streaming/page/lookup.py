"""Find one spectrum by its key: among what has just come, else in the catalog."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.streaming.answers.answer import Answer, answer_of_row
from nearedge.streaming.answers.merging import name_of
from nearedge.streaming.answers.summary import Json, summary
from nearedge.streaming.catalog.history import History
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.view import answer_view, shown_columns, spectrum_view


class Lookup:
    """Whole answers and their views.

    Parameters
    ----------
    feed
        What has just come.
    history
        What the catalog holds, or None where there is no catalog.
    config
        Digest of the settings that the feed's answers were made with.
    """

    def __init__(self, feed: Feed, history: History | None, *, config: str | None = None) -> None:
        self._feed, self._history, self._config = feed, history, config

    def answer(self, key: str) -> Answer | None:
        """Return the answer of that key, or None when there is none."""
        row = self._feed.row(key)
        if row is not None:
            fresh = answer_of_row(row)
            return None if fresh is None else replace(fresh, config=self._config)
        return None if self._history is None else self._history.answer(key)

    def spectrum(self, key: str) -> NormalisedSpectrum | None:
        """Return the normalised spectrum of that key, or None when there is none."""
        row = self._feed.row(key)
        if row is not None:
            return row.outcome if isinstance(row.outcome, NormalisedSpectrum) else None
        return None if self._history is None else self._history.spectrum(key)

    def name(self, key: str) -> str:
        """Return what a user calls a spectrum, or its key where it is not known."""
        told = self._summary(key)
        if told is None:
            return key
        return name_of(
            {"scan_id": told["scan"], "run_uid": told["run"], "spectrum": told["spectrum"]}
        )

    def detail(self, key: str) -> Json | None:
        """Return everything that can be drawn of a spectrum, or None when it is not known.

        ``summary`` is what lists show of it; ``columns`` are there for a measurement that could
        not be inverted.
        """
        shown = self._shown(key)
        return None if shown is None else {**shown, "summary": self._summary(key)}

    def _shown(self, key: str) -> Json | None:
        row = self._feed.row(key)
        if row is not None and row.inversion is None:
            return _unanswered(row)
        answer = self.answer(key)
        if answer is not None:
            shown = {"spectrum": spectrum_view(answer.spectrum), "answer": answer_view(answer)}
            return {**shown, "columns": None}
        columns = None if self._history is None else self._history.columns(key)
        return None if columns is None else _columns_only(columns)

    def _summary(self, key: str) -> Json | None:
        row = self._feed.row(key)
        if row is not None:
            return summary(row)
        return None if self._history is None else self._history.summary(key)


def _unanswered(row: Row) -> Json:
    if isinstance(row.outcome, Rejected):
        return _columns_only(row.measurement.columns)
    return {"spectrum": spectrum_view(row.outcome), "answer": None, "columns": None}


def _columns_only(columns: Mapping[str, Any]) -> Json:
    return {"spectrum": None, "answer": None, "columns": shown_columns(columns)}
