"""Measure the accuracy of the released model and write it into docs/accuracy.md.

python benchmarks/accuracy.py [--model siox] [--splits test glass]

The tables go between the marks of docs/accuracy.md, the figures as JSON into
docs/accuracy.json and the plots into docs/figures. A run on the splits `test` and `glass` belongs
at the end, once the model is final; to choose between models take `--splits val --no-docs`.
"""

import argparse
import re
from pathlib import Path

from rich.progress import Progress

from nearedge.models.answering.several import Several
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import InputCondition
from nearedge.models.evaluation.evaluate import EvaluationPlan, evaluate
from nearedge.models.evaluation.plots import plot
from nearedge.models.evaluation.report import Report

ROOT = Path(__file__).parent.parent
DATA = [ROOT / "benchmarks" / "data" / name for name in ("siox.parquet", "foreign.parquet")]
MARKS = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


def write_docs(report: Report) -> None:
    """Put the tables into docs/accuracy.md, the figures beside it, and draw the plots."""
    page = ROOT / "docs" / "accuracy.md"
    told = {name: value for name, value in report.settings.items() if value is not None}
    settings = ", ".join(f"{name} {value}" for name, value in told.items())
    text = f"\n{settings}\n\n{report.to_markdown()}\n"
    page.write_text(MARKS.sub(lambda _: text, page.read_text()))
    (ROOT / "docs" / "accuracy.json").write_text(report.to_json() + "\n")
    plot(report, ROOT / "docs" / "figures")


def main() -> None:
    """Evaluate, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--data", type=Path, nargs="+", default=DATA)
    parser.add_argument("--splits", nargs="+", default=["test", "glass"])
    parser.add_argument("--conditions", nargs="+", default=[c.value for c in InputCondition])
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--most", type=int, help="rows of a split, but for clean and measured")
    parser.add_argument("--no-docs", dest="docs", action="store_false")
    told = parser.parse_args()
    plan = EvaluationPlan(
        splits=tuple(told.splits),
        conditions=tuple(InputCondition(name) for name in told.conditions),
        samples=told.samples,
        most=told.most,
        composition=False,  # the flags are to find foreign materials by their spectra alone
    )
    inverter = Several.load(told.model, device="cpu", threads=1)
    with Progress() as bar:
        tasks: dict[str, int] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        report = evaluate(inverter, read_dataset(told.data), plan=plan, progress=show)
    print(report.to_markdown())
    if told.docs:
        write_docs(report)


if __name__ == "__main__":
    main()
