"""Give weights other parts, and calibrate them again: some CPU-minutes.

python benchmarks/refit.py OUT.safetensors [--model siox] [--placement density.safetensors]
[--shares]

`--placement` puts in the density that clusters grow by, of `benchmarks/train_placement.py`;
`--shares` trains the part that reads the mean coordination number of averages. The card says what
the weights were trained by.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from nearedge.models.training.recipe import PlacementRecipe, SharesRecipe
from nearedge.models.training.refit import refit

DATA = Path(__file__).parent / "data"


def main() -> None:
    """Write the weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="siox")
    parser.add_argument("--placement", type=Path)
    parser.add_argument("--shares", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    card = refit(
        told.model,
        data=[DATA / "siox.parquet", DATA / "clusters.parquet"],
        path=told.out,
        placement=(PlacementRecipe(), load_file(told.placement)) if told.placement else None,
        shares=SharesRecipe() if told.shares else None,
    )
    print(card.path, card.digest[:12])


if __name__ == "__main__":
    main()
