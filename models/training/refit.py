"""Train the side of a model that reads spectra further; what draws atoms stays as it is.

Encoders go on from the weights' own, and the part that tells the sites of an average apart is new;
ridges, denoiser, library and surrogates are kept. The calibration is made again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from nearedge.models.answering.card import Card, read_card, write_card
from nearedge.models.answering.inverter import Inverter, load_parts
from nearedge.models.parts.device import CPU
from nearedge.models.training import calibrating
from nearedge.models.training.encoders import mix
from nearedge.models.training.log import TrainingLog
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.training import (
    MIXTURES,
    Progress,
    Sites,
    SpectrumSide,
    encoder_tensors,
    load_sites,
    logged,
    read_further,
    set_exam,
    silent,
)

#: Clusters per spectrum in calibration and figures.
SAMPLES = 16


def train_further(
    start: str,
    recipe: Recipe,
    *,
    data: Sequence[Path],
    out: Path,
    name: str = "model",
    progress: Progress = silent,
) -> Card:
    """Train the encoders of weights further, and write new weights, card and log.

    Parameters
    ----------
    start
        The weights, as `nearedge.models.answering.card.read_card` finds them.
    recipe
        How to go on. Seed, partitions and sizes must be those that the weights were trained with,
        or members see families that they should be blind to.
    data, out, name, progress
        As in `nearedge.models.training.training.train`.

    Raises
    ------
    ValueError
        If the recipe's seed, partitions or vocabulary are not the weights'.
    """
    card = read_card(start)
    check(card, recipe)
    out.mkdir(parents=True, exist_ok=True)
    tell = logged(progress, TrainingLog(out / "log.csv", resume=False))
    sites = load_sites(data, span=recipe.grid)
    read = read_further(
        sites,
        recipe,
        reader=load_parts(card, CPU).reader,
        exam=set_exam(sites, recipe),
        progress=tell,
    )
    path = out / f"{name}.safetensors"
    kept = {k: v for k, v in load_file(card.path).items() if not k.startswith(("encoder.", "members."))}
    save_file(kept | encoder_tensors(read), path)
    return calibrate_further(card, path, sites, read, recipe, progress=tell)


def check(card: Card, recipe: Recipe) -> None:
    """Refuse a recipe whose partitions or sizes are not those of the weights."""
    was = card.recipe
    parts = {name: was["encoder"][name] for name in ("folds", "rounds", "width", "filters")}
    wanted = {"seed": was["seed"], "species": tuple(was["species"]), **parts}
    told = {
        "seed": recipe.seed,
        "species": recipe.species,
        **recipe.encoder.model_dump(include=set(parts)),
    }
    if told != wanted:
        raise ValueError(
            f"the recipe says {told}, but {card.name} was trained with {wanted}: members would see "
            "families that they should be blind to; use the same"
        )


def calibrate_further(
    card: Card, path: Path, sites: Sites, read: SpectrumSide, recipe: Recipe, *, progress: Progress
) -> Card:
    """Write the card of the weights at ``path``, calibrated on held-out families and averages."""
    entries: dict[str, Any] = asdict(card)
    for entry in ("name", "path", "digest"):
        del entries[entry]
    entries["site_width"] = recipe.members.width
    entries["recipe"] = {"start": card.digest, **recipe.model_dump(mode="json")}
    entries["calibration"]["cn_temperature"] = calibrating.cn_temperature(
        read.expected, mix(read.known, read.bank.members, read.bank.shares).cn
    )
    write_card(path, **entries)
    raw = Inverter.load(str(path), device="cpu")
    seed = recipe.seed + 1
    asked = list(calibrating.questions(sites.held_out, calibrating.CONDITIONS, seed=seed))
    mixed = list(calibrating.mixtures(sites.held_out, MIXTURES, seed=seed))
    progress("calibration", 0, 1, {})
    answers = calibrating.ask(raw, [*asked, *mixed], samples=SAMPLES)
    entries["calibration"]["estimates"] = calibrating.calibrate(raw, [*asked, *mixed], answers)
    write_card(path, **entries)
    answers = calibrating.estimated_again(
        Inverter.load(str(path), device="cpu"), asked, answers[: len(asked)]
    )
    entries["figures"] = {"val": calibrating.figures(asked, answers)}
    progress("calibration", 1, 1, {})
    return write_card(path, **entries)
