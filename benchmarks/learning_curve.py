"""How the error of what the encoder expects falls with the number of families it learned from.

python benchmarks/learning_curve.py [--shares 0.25 0.5 1.0]

Every site of `train` and `val` is judged by members that never saw its family. Only the encoder is
trained, on parts of the families; `test` and `glass` are not read. Prints a Markdown table.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.views import usable
from nearedge.models.training.encoders import Targets
from nearedge.models.training.recipe import Recipe, read_recipe
from nearedge.models.training.sites import Sites
from nearedge.models.training.spectra import read_spectra

ROOT = Path(__file__).parent.parent
#: What the table tells apart: groups of structures, absorber, coordination number.
KINDS = [
    ("crystals, O", ("amcsd", "iza"), "O", 2),
    ("crystals, Si", ("amcsd", "iza"), "Si", 4),
    ("hypothetical, 2-fold O", ("hypo",), "O", 2),
    ("hypothetical, 3-fold O", ("hypo",), "O", 3),
    ("hypothetical, 4-fold Si", ("hypo",), "Si", 4),
    ("hypothetical, 5- and 6-fold Si", ("hypo",), "Si", (5, 6)),
]


def load(path: Path, recipe: Recipe) -> list[Site]:
    """Read the usable sites that a model may learn from."""
    sites = [s for s in read_dataset(path) if s.split in ("train", "val") and len(s.energy)]
    return usable(sites, span=recipe.grid)


def part(sites: Sequence[Site], share: float, *, seed: int) -> list[Site]:
    """Return the sites of a share of the families."""
    families = sorted({site.family for site in sites})
    rng = np.random.default_rng(seed)
    kept = set(rng.choice(families, round(share * len(families)), replace=False))
    return [site for site in sites if site.family in kept]


def judge(sites: Sequence[Site], recipe: Recipe) -> tuple[Targets, Expectation]:
    """Train on the sites and say what is expected of each clean spectrum whose family is unseen."""
    edges = tuple(sorted({(s.absorber, s.edge) for s in sites}))
    lesson = Sites(train=list(sites), held_out=[], bare=[], edges=edges)
    read = read_spectra(lesson, recipe)
    return read.known, read.expected[0]


def row(sites: Sequence[Site], known: Targets, found: Expectation, kind: tuple) -> str:
    """Return the table's cell of one kind: sites, bond error, share of right CN."""
    _, groups, absorber, cn = kind
    wanted = cn if isinstance(cn, tuple) else (cn,)
    chosen = [
        k
        for k, site in enumerate(sites)
        if site.group in groups and site.absorber == absorber and site.cn in wanted
    ]
    if not chosen:
        return "–"
    place = -descriptors.SHELL
    error = np.abs(found.mean[chosen, place].numpy() - known.described[chosen, place])
    right = found.cn[chosen].argmax(1).numpy() == known.cn[chosen]
    return f"{len(chosen)}: {np.nanmean(error):.3f} Å, {100 * right.mean():.0f} %"


def main() -> None:
    """Train for each share and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "benchmarks" / "data" / "siox.parquet")
    parser.add_argument("--recipe", type=Path, default=ROOT / "models" / "weights" / "siox.yaml")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--views", type=int, default=9)
    told = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read_recipe(told.recipe).model_copy(update={"views": told.views})
    sites = [replace(site, split="train") for site in load(told.data, recipe)]
    print("| share of families, sites |", " | ".join(name for name, *_ in KINDS), "|")
    print("| --- |", " | ".join("---:" for _ in KINDS), "|")
    for share in told.shares:
        chosen = part(sites, share, seed=0)
        known, found = judge(chosen, recipe)
        cells = [row(chosen, known, found, kind) for kind in KINDS]
        print(f"| {100 * share:.0f} %, {len(chosen)} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
