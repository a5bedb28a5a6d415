"""How far a training is: told to whoever asked, and logged as lines of CSV."""

import csv
from collections.abc import Callable
from pathlib import Path

from nearedge.models.aside import written_aside

#: Called with what is being done, how much is done, how much there is, and the newest figures.
Progress = Callable[[str, int, int, dict[str, float]], None]


class TrainingLog:
    """Figures by stage and step; a step that is told again replaces what it told before.

    Parameters
    ----------
    path
        The CSV file.
    resume
        Keep what the file holds; else begin anew.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], dict[str, str]] = {}
        if resume and path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self._rows[row["stage"], row["step"]] = row

    def add(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Write the figures of one report."""
        told = {name: f"{value:.5g}" for name, value in figures.items()}
        self._rows[stage, str(step)] = {"stage": stage, "step": str(step), **told}
        columns = dict.fromkeys(name for row in self._rows.values() for name in row)
        with written_aside(self._path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows.values())


def silent(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    """Take progress and show none."""


def logged(progress: Progress, log: TrainingLog) -> Progress:
    """Tell progress, and write down its figures."""

    def tell(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if figures:
            log.add(stage, done, figures)
        progress(stage, done, total, figures)

    return tell
