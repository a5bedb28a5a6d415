"""What the flags `cn-undecided` and `not-explained` are worth, on families held out.

python benchmarks/doubts.py [--model siox] [--split val] [--json]

Single sites as measured, and averages over two to eight unlike ones: how many are flagged, how
often the most probable CN of a single site is right with the flag and without, and how many means
are off by more than half a neighbour unflagged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from output import options, show

from nearedge.models.answering.inverter import Inverter
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import InputCondition
from nearedge.models.data.views import usable
from nearedge.models.inversion import Inversion
from nearedge.models.training.calibrating import Question, mixtures, questions

DATA = Path(__file__).parent / "data" / "siox.parquet"
UNDECIDED, UNEXPLAINED = "cn-undecided", "not-explained"
#: Neighbours that a mean may be off by.
FAR = 0.5


def worth(asked: Sequence[Question], answers: Sequence[Inversion]) -> dict[str, Any]:
    """Count flags and errors of answers about bonded sites, in %."""
    true = np.array([np.mean([site.cn for site in case.sites]) for _, case in asked])
    mean = np.array([answer.estimates.cn_mean for answer in answers])
    likely = np.array([answer.estimates.cn_map for answer in answers]) == true
    open_, odd = (
        np.array([flag in answer.flags for answer in answers]) for flag in (UNDECIDED, UNEXPLAINED)
    )
    far = np.abs(mean - true) > FAR

    def right(some: np.ndarray) -> float | None:
        single = all(len(case.sites) == 1 for _, case in asked)
        return 100 * float(likely[some].mean()) if single and some.any() else None

    return {
        "spectra": len(asked),
        UNDECIDED: 100 * float(open_.mean()),
        UNEXPLAINED: 100 * float(odd.mean()),
        "either": 100 * float((open_ | odd).mean()),
        "right, decided": right(~open_),
        "right, undecided": right(open_),
        "far off": 100 * float(far.mean()),
        "far off, unflagged": 100 * float((far & ~open_ & ~odd).mean()),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the figures as a Markdown table."""
    names = list(rows[0])

    def text(value: Any) -> str:
        return "–" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(text(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Ask, and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--split", default="val")
    parser.add_argument("--averages", type=int, default=300)
    parser.add_argument("--samples", type=int, default=16)
    told = parser.parse_args()
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    sites = usable([s for s in read_dataset(told.data, split=told.split) if s.cn])
    asked = {
        "single site": list(questions(sites, [InputCondition.MEASURED], seed=7)),
        "average": list(mixtures(sites, told.averages, seed=7)),
    }
    rows = []
    for kind, some in asked.items():
        answers = inverter.invert(
            [s for s, _ in some], seeds=range(len(some)), samples=told.samples
        )
        for absorber in sorted({answer.absorber for answer in answers}):
            own = [k for k, answer in enumerate(answers) if answer.absorber == absorber]
            part = worth([some[k] for k in own], [answers[k] for k in own])
            rows.append({"kind": kind, "edge": f"{absorber} K"} | part)
    show(rows, {"split": told.split, "samples": told.samples}, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
