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
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.distant import distant_spectra
from nearedge.models.data.gap import residual_modes
from nearedge.models.data.views import usable
from nearedge.models.inversion import Inversion
from nearedge.models.spectrum import Rejected

DATA = Path(__file__).parent / "data" / "siox.parquet"
RESIDUALS = DATA.with_name("residuals.parquet")


def figures(sites: Sequence[Site], answers: Sequence[Inversion]) -> dict[str, Any]:
    """Sum up answers about bonded sites; shares in %."""
    cn = np.array([site.cn for site in sites])
    bond = np.array([float(geometry.mean_bond(s.absorber, s.species, s.positions)) for s in sites])
    found = [answer.estimates for answer in answers]
    right = np.array([one.cn_map for one in found]) == cn
    sure = np.array(["cn-undecided" not in answer.flags for answer in answers])
    bonds = np.array([(b.mean, b.lo, b.hi) if (b := one.bond) else [np.nan] * 3 for one in found])
    off = np.abs(bonds[:, 0] - bond)
    inside = (bonds[:, 1] <= bond) & (bond <= bonds[:, 2])
    held = [true in one.cn_set for true, one in zip(cn.tolist(), found, strict=True)]
    return {
        "sites": len(sites),
        "CN right": 100 * right.mean(),
        "CN held": 100 * np.mean(held),
        "unflagged": 100 * sure.mean(),
        "of these right": 100 * right[sure].mean() if sure.any() else np.nan,
        "bond error, Å": np.nanmean(off),
        "median, Å": np.nanmedian(off),
        "bond held": 100 * inside.mean(),
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
