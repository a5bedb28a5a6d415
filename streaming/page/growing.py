"""A scan that still runs, as the page shows it: never stored, replaced by its result."""

from dataclasses import dataclass

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.answers.answer import answer_of_row
from nearedge.streaming.answers.summary import Json
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.view import answer_view, shown_columns, spectrum_view


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Growing:
    """The newest state of one spectrum that still grows.

    Attributes
    ----------
    measurement
        What was measured so far.
    outcome
        What can be normalised of it, or why nothing can yet.
    inversion
        The partial answer, when there is one.
    """

    measurement: Measurement
    outcome: NormalisedSpectrum | Rejected
    inversion: Inversion | None = None

    @property
    def slot(self) -> str:
        """Name of the spectrum until it has a result."""
        return slot_of(self.measurement)

    def notice(self) -> Json:
        """Return what tells a reader that there is something new to fetch."""
        run = self.measurement.run
        columns = self.measurement.columns.values()
        return {
            "slot": self.slot,
            "run": run.uid,
            "scan": run.scan_id,
            "stream": self.measurement.stream,
            "name": self.measurement.spectrum,
            "sample": run.sample,
            "time": self.measurement.time,
            "points": max((len(column) for column in columns), default=0),
            "waiting": self.outcome.detail if isinstance(self.outcome, Rejected) else None,
        }

    def view(self) -> Json:
        """Return all that can be drawn of it."""
        outcome = self.outcome
        answer = answer_of_row(self._as_row())
        return {
            **self.notice(),
            "columns": shown_columns(self.measurement.columns),
            "spectrum": None if isinstance(outcome, Rejected) else spectrum_view(outcome),
            "answer": None if answer is None else answer_view(answer),
        }

    def _as_row(self) -> Row:
        return Row(
            key=self.slot,
            status=State.RUNNING,
            measurement=self.measurement,
            outcome=self.outcome,
            inversion=self.inversion,
            error=None,
            stages={},
        )


def slot_of(measurement: Measurement) -> str:
    """Return the name of a measurement's spectrum until it has a result."""
    return f"{measurement.run.uid}/{measurement.stream}/{measurement.spectrum}"
