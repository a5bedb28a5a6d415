"""The log of a training: the figures of each report as a line of CSV."""

import csv
from pathlib import Path


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
        with self._path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows.values())
