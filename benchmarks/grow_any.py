"""Train what grows clusters of any element, and compare with that of the released weights.

python benchmarks/grow_any.py benchmarks/data/any-*.parquet -o OUT [--go-on 24000 [--lists]]

It can be stopped: the same command goes on from the checkpoints in OUT. It learns from the
surroundings without spectra (`crystal_surroundings.py`) and the calculated sites; with --go-on only
the places learn, so many steps more, and with --lists the lists from the start as well. At the end
OUT has weights with which `nearedge --model` answers so. Both ways of drawing are then told the
same readings of prototypes that were held out, composition known.

Released were lists and places of the recipe (1,720 CPU-s); the places then went on as --go-on 24000
has them do (2,200 CPU-s). Both learned oxygen afterwards: --go-on 12000 --lists.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from train_any import HERE, held_out, report_shells

from nearedge.models.answering.card import read_card
from nearedge.models.answering.general import GeneralInverter
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.gap import TheoryGap, residual_modes
from nearedge.models.parts.general_growth import GeneralGrowth, closest
from nearedge.models.training.general_growth import (
    GrowthRecipe,
    surrounded,
    train_lists,
    train_places,
    usable,
)
from nearedge.models.training.general_release import regrown

#: The highest rate of places that go on.
GO_ON_RATE = 1.2e-3


def growth_of(
    sites: list[Site], recipe: GrowthRecipe, out: Path, *, start: GeneralGrowth | None, anew: bool
) -> GeneralGrowth:
    """Train what grows clusters, from sites of the training split.

    Of a start the places go on; its lists stay, unless they are to be trained anew.
    """
    rng = np.random.default_rng(recipe.seed)
    some = [s for s in sites if s.rattle == 0 and usable(s, atoms=recipe.atoms)]
    data = surrounded(some, atoms=recipe.atoms, copies=recipe.copies, rng=rng)
    print(f"{len(some)} sites", flush=True)

    def progress(done: int, total: int, loss: float) -> None:
        print(f"{done} of {total}, {loss:.3f} nats", flush=True)

    if start and not anew:
        lists = start.listing
    else:
        lists = train_lists(data, recipe, checkpoint=out / "lists.pt", progress=progress)
    places = train_places(
        data,
        recipe,
        start=start and start.placement,
        checkpoint=out / "places.pt",
        progress=progress,
    )
    nearest = torch.from_numpy(closest(data.positions, data.kinds)).float()
    return GeneralGrowth(listing=lists, placement=places, nearest=nearest)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path, nargs="+")
    asked.add_argument("-o", "--out", type=Path, required=True)
    asked.add_argument("--networks", default="any", help="weights whose networks read spectra")
    asked.add_argument("--go-on", type=int, metavar="STEPS", help="of the places of these weights")
    asked.add_argument("--lists", action="store_true", help="train lists anew beside --go-on")
    args = asked.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    sites = read_dataset(args.data)
    train = [s for s in sites if s.split == "train"]
    known = read_dataset(sorted((HERE / "data").glob("surroundings*.parquet")))
    before, recipe, start = read_card(args.networks), GrowthRecipe(), None
    if args.go_on:
        start = GeneralInverter.load(before).clusters
        recipe = replace(recipe, seed=2, places=args.go_on, place_rate=GO_ON_RATE)
    growth = growth_of([*known, *train], recipe, args.out, start=start, anew=args.lists)
    after = regrown(before, growth, out=args.out)
    residuals = residual_modes(HERE / "data" / "residuals.parquet")
    unseen = held_out(sites)["test, unseen prototypes"]
    for card in (before, after):
        judged = [site for site in unseen if card.supports(site.absorber, "K")]
        report_shells(card, judged, gap=TheoryGap(), residuals=residuals)


if __name__ == "__main__":
    main()
