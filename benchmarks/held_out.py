"""Are arrangements found of which nothing was learned? Train the density of places without some.

python -m benchmarks.held_out KIND OUT.pt [--minutes 12] [--sites 24] [--samples 8] [--reading]

KIND says which structures are left out of the training, with all of their sites:

- ``five-fold``, ``six-fold``: those with five- or sixfold silicon (stishovite is one of these);
- ``coesite``: those with a site nearer than 0.25 to one of coesite, by
  `nearedge.models.evaluation.novelty` (coesite itself is never trained on);
- ``nearest-third``: the third of all structures that have the sites nearest to `test` and `glass`;
- ``none``: nothing.

A density is trained from the start; it takes the released one's place, and draws clusters of the
sites in question: those left out, coesite's, or `test` and `glass`. So does the released one. Their
true descriptors are told, as in `benchmarks/soundness.py`, whose figures are printed: what is asked
is whether the generator can make them, not whether a spectrum is read rightly. For ``none`` and
``nearest-third`` the spectra of `test` and `glass` are answered, too. With ``--reading`` what reads
spectra is trained without these structures as well, and takes the place of the released reading
where spectra are answered (both with the density without them, and with the released one).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.soundness import KINDS as ASKED
from benchmarks.soundness import chosen, from_spectrum, from_truth, table
from benchmarks.train_placement import (
    ATOMS,
    ELEMENTS,
    FILES,
    RANDOM,
    begun,
    trained,
)
from nearedge.models.answering.card import Card, read_card
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.loading import Parts, load_parts
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.evaluation.novelty import novelty
from nearedge.models.evaluation.soundness import SoundnessRule
from nearedge.models.parts.device import CPU
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.release import learn_averages
from nearedge.models.training.sites import Sites, load_sites
from nearedge.models.training.spectra import read_spectra

#: How near a site of a like structure is.
NEAR = 0.25
FOLD = {"five-fold": 5, "six-fold": 6}


def without(kind: str, known: Sequence[Site], asked: Sequence[Site]) -> frozenset[str]:
    """Return the structures that a kind leaves out, of known sites; see the module."""
    if kind in FOLD:
        cn = FOLD[kind]
        return frozenset(s.structure for s in known if (s.absorber, s.cn) == ("Si", cn))
    if kind == "none":
        return frozenset()
    nearest: dict[str, float] = {}
    for site, new in zip(known, novelty(known, asked), strict=True):
        nearest[site.structure] = min(new, nearest.get(site.structure, np.inf))
    limit = NEAR if kind == "coesite" else float(np.quantile(list(nearest.values()), 1 / 3))
    return frozenset(structure for structure, new in nearest.items() if new < limit)


def questions(kind: str, known: Sequence[Site], most: int) -> dict[str, list[Site]]:
    """Return the sites that are asked about, by what they are."""
    if kind in FOLD:
        cn = FOLD[kind]
        own = [s for s in known if s.rattle == 0 and len(s.species) >= ATOMS]
        found = {f"Si, {cn}-fold": chosen(own, "Si", cn, most)}
        left = without(kind, known, ())
        near = [s for s in own if s.structure in left]
        return found | {"O, 3-fold, beside them": chosen(near, "O", 3, most)}
    if kind == "coesite":
        own = [s for s in read_dataset(FILES[0], split="test") if s.family == "coesite"]
        return {f"{a}, {cn}-fold": chosen(own, a, cn, most) for a, cn in (("Si", 4), ("O", 2))}
    return {
        f"{split}: {a}, {cn}-fold": sites
        for split in ("test", "glass")
        for a, cn in ASKED
        if (sites := chosen(list(read_dataset(FILES[0], split=split)), a, cn, most))
    }


def read_without(parts: Parts, card: Card, sites: Sites, left: frozenset[str]) -> Parts:
    """Return the parts with a reading of spectra that has not learned from some structures."""
    recipe = Recipe.model_validate(card.recipe)
    kept = replace(sites, train=[s for s in sites.train if s.structure not in left])
    print(f"reading: {len(kept.train)} of {len(sites.train)} sites", flush=True)
    read = read_spectra(
        kept, recipe, progress=lambda stage, done, total, _: print(stage, done, total, flush=True)
    )
    return replace(parts, reader=read.reader, shares=learn_averages(kept, recipe))


def report(
    title: str, inverter: Inverter, asked: dict[str, list[Site]], *, samples: int, spectra: bool
) -> None:
    """Print what is drawn for the sites."""
    rule = SoundnessRule.of(read_dataset(FILES, split="train"))

    table(f"{title}, true descriptors told", from_truth(inverter, samples), asked, rule)
    if spectra:
        table(f"{title}, from spectra", from_spectrum(inverter, samples), asked, rule)


def main() -> None:
    """Train a density without some structures, and draw those."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=[*FOLD, "coesite", "nearest-third", "none"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12, help="CPU time, all calls together")
    parser.add_argument("--pool", type=int, default=14000)
    parser.add_argument("--sites", type=int, default=24, help="of each kind, at most")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--reading", action="store_true", help="train the reading without, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    card = read_card("siox")
    parts = load_parts(card, CPU)
    sites = load_sites(FILES, span=card.grid)
    known = [*sites.train, *sites.bare, *read_dataset(RANDOM)]
    asked = questions(options.kind, known, options.sites)
    every = [site for own in asked.values() for site in own]
    left = without(options.kind, known, every)
    print(f"{len(left)} of {len({s.structure for s in known})} structures left out", flush=True)
    model = Placement(PlacementSize(atoms=ATOMS), elements=ELEMENTS)
    training = begun(model, sites, card, pool=options.pool, without=left)
    trained(training, options.out, minutes=options.minutes)
    if options.reading:
        parts = read_without(parts, card, sites, left)
    spectra = options.kind in ("nearest-third", "none")
    how = {"samples": options.samples, "spectra": spectra}
    report("The released density", Inverter(card, parts, device=CPU), asked, **how)
    parts.start.placement.load_state_dict(
        {k: v.float() for k, v in load_file(options.out.with_suffix(".safetensors")).items()}
    )
    report(f"A density without: {options.kind}", Inverter(card, parts, device=CPU), asked, **how)


if __name__ == "__main__":
    main()
