"""How good answers are to spectra that lie as far from the calculation as measurements do.

python benchmarks/distant.py [--model siox] [--split val] [--samples 16] [--json]

Calculated spectra of held-out families go through random functions of the size and shape of what
lies between FEFF and measurement (`nearedge.models.data.gap`), and then through normalisation. Of
silica there is one measured scan with known structure, and it is for reporting alone; this says of
many sites what to expect of measurements.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from output import options, show

from nearedge.models.answering.inverter import Inverter
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.distant import distant_spectra
from nearedge.models.data.gap import residual_modes
from nearedge.models.data.views import usable
from nearedge.models.evaluation.figures import answer_of, score, truth_of
from nearedge.models.inversion import Inversion
from nearedge.models.spectrum import Rejected

DATA = Path(__file__).parent / "data" / "siox.parquet"
RESIDUALS = DATA.with_name("residuals.parquet")
#: Figures of an answer that are summed up.
SCORED = ("cn_correct", "cn_covered", "bond_error", "bond_covered")


def figures(sites: Sequence[Site], answers: Sequence[Inversion]) -> dict[str, Any]:
    """Sum up answers about bonded sites; shares in %."""
    scores = [
        score(answer_of(a.samples, a.estimates, absorber=a.absorber), truth_of((site,)))
        for site, a in zip(sites, answers, strict=True)
    ]
    found = {name: np.array([getattr(one, name) for one in scores]) for name in SCORED}
    sure = np.array(["cn-undecided" not in answer.flags for answer in answers])
    right = found["cn_correct"]
    return {
        "sites": len(sites),
        "CN right": 100 * right.mean(),
        "CN held": 100 * found["cn_covered"].mean(),
        "unflagged": 100 * sure.mean(),
        "of these right": 100 * right[sure].mean() if sure.any() else np.nan,
        "bond error, Å": np.nanmean(found["bond_error"]),
        "median, Å": np.nanmedian(found["bond_error"]),
        "bond held": 100 * np.nanmean(found["bond_covered"]),
        "unlike": 100 * np.mean([answer.ood_flag for answer in answers]),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the figures as a Markdown table."""

    def text(value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:.3f}" if value < 1 else f"{value:.0f}"

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(text(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Ask, and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--split", default="val")
    parser.add_argument("--samples", type=int, default=16)
    told = parser.parse_args()
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    sites = usable([site for site in read_dataset(told.data, split=told.split) if site.cn])
    seen = distant_spectra(sites, seed=7, residuals=residual_modes(RESIDUALS))
    kept = [(s, one) for s, one in zip(sites, seen, strict=True) if not isinstance(one, Rejected)]
    spectra = [one for _, one in kept]
    answers = inverter.invert(spectra, seeds=range(len(spectra)), samples=told.samples)
    rows = []
    for absorber in sorted({site.absorber for site, _ in kept}):
        own = [k for k, (site, _) in enumerate(kept) if site.absorber == absorber]
        found = figures([kept[k][0] for k in own], [answers[k] for k in own])
        rows.append({"edge": f"{absorber} K"} | found)
    where = {"model": inverter.card.digest, "split": told.split, "rejected": len(seen) - len(kept)}
    show(rows, where, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
