"""Give the released weights the parts that are not released yet.

python benchmarks/refit.py OUT.safetensors [--shares] [--no-grown]

The density that grows clusters (`data/generator/placement.safetensors`) unless `--no-grown`:
`Inverter.load(OUT, start="grown")` then draws with it. With `--shares` the part that reads the mean
coordination number of averages is trained, too, its interval and the heads' calibration fitted:
some CPU-minutes. The released weights are those of `--shares --no-grown`.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
    parser.add_argument("--no-grown", dest="grown", action="store_false")
    told = parser.parse_args()
    torch.set_num_threads(1)
    card = refit(
        told.model,
        SharesRecipe() if told.shares else None,
        data=[DATA / "siox.parquet", DATA / "clusters.parquet"],
        path=told.out,
        **(grown() if told.grown else {}),
    )
    print(card.path, card.digest[:12])


def grown() -> dict[str, Any]:
    """Return the density that grows clusters, and what the card says of it."""
    placement = {
        name.removeprefix("placement."): value
        for name, value in load_file(DATA / "generator" / "placement.safetensors").items()
    }
    size = asdict(PlacementSize(atoms=len(placement["rank"]) - 1))
    start = {"kind": "library", "size": size, "temperature": TEMPERATURE, "surplus": SURPLUS}
    return {"placement": placement, "start": start}


if __name__ == "__main__":
    main()
