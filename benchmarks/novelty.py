"""How the errors depend on how far the nearest training arrangement is.

python benchmarks/novelty.py [--model siox] [--splits test glass] [--samples 8] [--no-docs]

Every clean spectrum is answered, and its site compared with the training sites of its absorber:
`nearedge.models.evaluation.novelty` says how. The table goes between its marks of docs/accuracy.md,
the plot into docs/figures.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearedge.models.answering.several import Several
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import InputCondition
from nearedge.models.evaluation.evaluate import EvaluationPlan, evaluate
from nearedge.models.evaluation.novelty import novelty
from nearedge.models.evaluation.report import ReportRow

ROOT = Path(__file__).parent.parent
DATA = ROOT / "benchmarks" / "data" / "siox.parquet"
MARKS = re.compile(r"(?<=<!-- novelty -->\n).*?(?=<!-- end of novelty -->)", re.DOTALL)
#: Figures by their names in `Score`, what they are called, their factor and digits.
FIGURES = (
    ("cn_correct", "CN right, %", 100, 0),
    ("bond_error", "bond off by, Å", 1, 3),
    ("angle_mae", "angles off by, °", 1, 1),
    ("rdf_overlap", "RDF overlap", 1, 3),
)
#: Groups of as many sites each.
GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Sites of a split that are about as new, and the mean and standard error of each figure."""

    split: str
    new: NDArray[np.float64]
    figures: list[tuple[float, float]]

    @classmethod
    def of(cls, rows: Sequence[ReportRow], new: NDArray[np.float64]) -> "Group":
        """Take the means; what a row does not define is left out."""
        found = [np.array([getattr(row.score, name) for row in rows]) for name, *_ in FIGURES]
        return cls(split=rows[0].split, new=new, figures=[_mean(one) for one in found])

    def line(self) -> str:
        """Write a line of the table."""
        cells = [
            f"{factor * mean:.{digits}f} ± {factor * error:.{digits}f}"
            for (mean, error), (_, _, factor, digits) in zip(self.figures, FIGURES, strict=True)
        ]
        span = f"{self.new.min():.2f}–{self.new.max():.2f}"
        return f"| {self.split} | {span} | {len(self.new)} | {' | '.join(cells)} |"


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    return float(known.mean()), float(known.std(ddof=1) / len(known) ** 0.5)


def groups(rows: Sequence[ReportRow], new: NDArray[np.float64]) -> Iterator[Group]:
    """Part each split's answers into groups of as many, the most familiar first."""
    for split in dict.fromkeys(row.split for row in rows):
        own = np.array([k for k, row in enumerate(rows) if row.split == split])
        for part in np.array_split(own[new[own].argsort()], GROUPS):
            yield Group.of([rows[k] for k in part], new[part])


def table(found: Sequence[Group]) -> str:
    """Write a Markdown table."""
    names = " | ".join(name for _, name, *_ in FIGURES)
    head = [f"| split | novelty | sites | {names} |", "| --- | --- |" + " ---: |" * 5]
    return "\n".join([*head, *(group.line() for group in found)])


def plot(found: Sequence[Group], path: Path) -> None:
    """Draw each figure against novelty."""
    figure = Figure(figsize=(4.2 * len(FIGURES), 3.6), layout="constrained")
    for k, (axis, (_, name, factor, _)) in enumerate(
        zip(figure.subplots(1, len(FIGURES)), FIGURES, strict=True)
    ):
        for split, marker in zip(dict.fromkeys(g.split for g in found), "os^v", strict=False):
            own = [group for group in found if group.split == split]
            at = [float(np.median(group.new)) for group in own]
            mean, error = factor * np.array([group.figures[k] for group in own]).T
            axis.errorbar(at, mean, error, marker=marker, capsize=3, label=split)
        axis.set(xlabel="novelty", ylabel=name)
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Answer, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--splits", nargs="+", default=["test", "glass"])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--no-docs", dest="docs", action="store_false")
    told = parser.parse_args()
    plan = EvaluationPlan(
        splits=tuple(told.splits),
        conditions=(InputCondition.CLEAN,),
        samples=told.samples,
        baselines=False,
        noise=False,
    )
    sites = read_dataset(DATA)
    inverter = Several.load(told.model, device="cpu", threads=1)
    report = evaluate(inverter, [s for s in sites if s.split in told.splits], plan=plan)
    rows = [row for row in report.rows if row.score.cn_true > 0]
    asked = {site.id: site for site in sites}
    new = novelty([asked[row.id] for row in rows], [s for s in sites if s.split == "train"])
    found = list(groups(rows, new))
    text = f"model {report.settings['model']}, samples {told.samples}\n\n{table(found)}"
    print(text)
    if told.docs:
        page = ROOT / "docs" / "accuracy.md"
        page.write_text(MARKS.sub(lambda _: f"\n{text}\n\n", page.read_text()))
        plot(found, ROOT / "docs" / "figures" / "novelty.png")


if __name__ == "__main__":
    main()
