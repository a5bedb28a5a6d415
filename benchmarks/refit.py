"""Give the released weights the parts that are not released yet.

python benchmarks/refit.py OUT.safetensors [--shares]

The density that grows clusters (`data/generator/placement.safetensors`) always: `Inverter.load(OUT,
start="grown")` then draws with it. With `--shares` the part that reads the mean coordination number
of averages is trained, too, and its interval fitted: some CPU-minutes.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from nearedge.models.parts.placement import PlacementSize
from nearedge.models.training.recipe import SharesRecipe
from nearedge.models.training.refit import refit

DATA = Path(__file__).parent / "data"
#: How clusters grow, as chosen on `val`.
TEMPERATURE, SURPLUS = 0.45, 2


def main() -> None:
    """Write the weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="siox")
    parser.add_argument("--shares", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    placement = {
        name.removeprefix("placement."): value
        for name, value in load_file(DATA / "generator" / "placement.safetensors").items()
    }
    size = asdict(PlacementSize(atoms=len(placement["rank"]) - 1))
    start = {"kind": "library", "size": size, "temperature": TEMPERATURE, "surplus": SURPLUS}
    card = refit(
        told.model,
        SharesRecipe() if told.shares else None,
        data=[DATA / "siox.parquet", DATA / "clusters.parquet"],
        path=told.out,
        placement=placement,
        start=start,
    )
    print(card.path, card.digest[:12])


if __name__ == "__main__":
    main()
