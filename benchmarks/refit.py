"""Give weights other parts, and calibrate them again: some CPU-minutes.

python benchmarks/refit.py OUT.safetensors [--model siox] [--placement density.safetensors]
[--reading RECIPE.yaml] [--shares RECIPE.yaml]

`--placement` puts in the density that clusters grow by, of `benchmarks/train_placement.py`;
`--reading` trains what reads spectra, as a recipe says, and `--shares` the part that reads the mean
coordination number of averages. The card says what the weights were trained by. A training of the
reading that was stopped goes on from its checkpoint beside OUT.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from nearedge.models.training.checkpoint import Checkpoint
from nearedge.models.training.recipe import PlacementRecipe, Recipe, read_recipe
from nearedge.models.training.refit import refit
from nearedge.models.training.sites import load_sites
from nearedge.models.training.spectra import SpectrumSide, read_spectra, set_exam

DATA = Path(__file__).parent / "data"
FILES = (DATA / "siox.parquet", DATA / "clusters.parquet")


def main() -> None:
    """Write the weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="siox")
    parser.add_argument("--placement", type=Path)
    parser.add_argument("--reading", type=Path)
    parser.add_argument("--shares", type=Path)
    told = parser.parse_args()
    torch.set_num_threads(1)
    card = refit(
        told.model,
        data=FILES,
        path=told.out,
        placement=(PlacementRecipe(), load_file(told.placement)) if told.placement else None,
        reading=trained_reading(told.reading, told.out) if told.reading else None,
        shares=read_recipe(told.shares) if told.shares else None,
    )
    print(card.path, card.digest[:12])


def trained_reading(path: Path, out: Path) -> tuple[Recipe, SpectrumSide]:
    """Train what reads spectra as a recipe says."""
    recipe = read_recipe(path)
    sites = load_sites(FILES, span=recipe.grid)
    origin = {"recipe": recipe.model_dump(mode="json", exclude_none=True), "data": sites.digest()}
    checkpoint = Checkpoint(out.with_suffix(".reading.pt"), origin=origin, resume=True)
    return recipe, read_spectra(
        sites,
        recipe,
        checkpoint=checkpoint,
        exam=set_exam(sites, recipe),
        progress=lambda *told: print(*told, flush=True),
    )


if __name__ == "__main__":
    main()
