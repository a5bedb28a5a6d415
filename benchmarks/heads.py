"""How well the descriptor heads alone answer, beside the whole model, on families held out.

python benchmarks/heads.py [--model siox] [--fit] [--json]

Split ``val``: calculated spectra as measured, single sites and averages over unlike ones. ``--fit``
prints the calibration that is fitted on the same spectra: what it then covers is no test.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from output import options, show

from nearedge.models.answering.heads import HeadAnswers, answer_all
from nearedge.models.answering.inverter import Inverter
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import read_dataset
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.spectrum import NormalisedSpectrum, Technique
from nearedge.models.training.calibrating import CONDITIONS, Question, mixtures, questions
from nearedge.models.training.heads import fit_heads

DATA = Path(__file__).parent / "data" / "siox.parquet"


def alone(spectrum: NormalisedSpectrum) -> NormalisedSpectra:
    """Return one spectrum as a block of its own."""
    nan = np.full((1, len(spectrum.energy)), np.nan)
    return NormalisedSpectra(
        energy=spectrum.energy,
        norm=nan,
        flat=nan,
        e0=np.array([spectrum.e0]),
        edge_step=np.array([spectrum.edge_step]),
        edge_step_error=np.zeros(1),
        energy_shift=np.zeros(1),
        flags=(spectrum.flags,),
        technique=Technique.XANES,
        absorber=spectrum.absorber,
        edge=spectrum.edge,
        alone={0: spectrum},
    )


def figures(inverter: Inverter, asked: Sequence[Question], *, samples: int) -> list[dict[str, Any]]:
    """Mean errors and coverage, of the heads and of the whole model."""
    heads = [answer_all(inverter, alone(s), span=inverter.card.grid) for s, _ in asked]
    rows = [_row("heads", [_of_heads(h) for h in heads], asked)]
    if samples:
        whole = inverter.invert([s for s, _ in asked], seeds=range(len(asked)), samples=samples)
        rows.append(
            _row(
                "whole model",
                [
                    {
                        "cn": (e.cn_mean, e.cn_mean_lo, e.cn_mean_hi),
                        "bond": (e.bond.mean, e.bond.lo, e.bond.hi) if e.bond else None,
                        "angle": (e.angle.mean, e.angle.lo, e.angle.hi) if e.angle else None,
                        "ood": a.ood_flag,
                    }
                    for a in whole
                    for e in [a.estimates]
                ],
                asked,
            )
        )
    return rows


def _of_heads(found: HeadAnswers) -> dict[str, Any]:
    names = {"cn": "cn_mean", "bond": "bond", "angle": "angle"}
    return {
        short: tuple(float(getattr(found, f"{name}{end}")[0]) for end in ("", "_lo", "_hi"))
        for short, name in names.items()
    } | {"ood": bool(found.ood_flag[0])}


def _truth(question: Question) -> dict[str, float]:
    sites = question[1].sites
    of = {
        "cn": [float(s.cn) for s in sites],
        "bond": [float(geometry.mean_bond(s.absorber, s.species, s.positions)) for s in sites],
        "angle": [float(geometry.mean_angle(s.absorber, s.species, s.positions)) for s in sites],
    }
    return {name: float(np.mean(values)) for name, values in of.items()}


def _row(name: str, found: Sequence[dict[str, Any]], asked: Sequence[Question]) -> dict[str, Any]:
    row: dict[str, Any] = {"answers": name, "spectra": len(asked)}
    truths = [_truth(question) for question in asked]
    for figure in ("cn", "bond", "angle"):
        pairs = [
            (one[figure], truth[figure])
            for one, truth in zip(found, truths, strict=True)
            if one[figure] is not None and np.isfinite(truth[figure])
        ]
        row[f"{figure} error"] = float(np.mean([abs(m - t) for (m, _, _), t in pairs]))
        row[f"{figure} inside"] = float(np.mean([lo <= t <= hi for (_, lo, hi), t in pairs]))
        row[f"{figure} width"] = float(np.median([hi - lo for (_, lo, hi), _ in pairs]))
    row["unlike"] = float(np.mean([one["ood"] for one in found]))
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the figures as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += [
        "| "
        + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        + " |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--samples", type=int, default=0, help="of the whole model; 0: heads only")
    parser.add_argument("--most", type=int, default=300, help="spectra of each kind")
    parser.add_argument("--fit", action="store_true")
    told = parser.parse_args()
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    sites = [
        s
        for s in read_dataset(told.data, split="val")
        if inverter.card.supports(s.absorber, s.edge)
    ]
    asked = list(questions(sites, CONDITIONS, seed=7))
    mixed = list(mixtures(sites, 400, seed=7))
    if told.fit:
        print(json.dumps(fit_heads(inverter, asked, mixed).to_dict(), indent=1))
    rng = np.random.default_rng(0)
    rows = []
    for kind, some in (("single site", asked), ("average", mixed)):
        chosen = [some[k] for k in rng.permutation(len(some))[: told.most]]
        rows += [{"kind": kind} | row for row in figures(inverter, chosen, samples=told.samples)]
    show(rows, {"split": "val", "samples": told.samples}, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
