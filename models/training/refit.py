"""Learn to tell the sites of an average apart for weights that exist, and calibrate them again.

Encoders, ridges, denoiser, library and surrogates stay as they are.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load, load_file, save

from nearedge.models.answering.card import Card, read_card, write_card
from nearedge.models.answering.inverter import Inverter, assemble, load_parts
from nearedge.models.aside import written_aside
from nearedge.models.parts.device import CPU
from nearedge.models.training import calibrating
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.release import MIXTURES, half, shares_of
from nearedge.models.training.sites import load_sites
from nearedge.models.training.spectra import read_again

#: Of a recipe, what must be as the weights were trained: else members see what they should not.
KEPT = ("seed", "species", "encoder")
#: What a card says of its own file.
_OWN = ("name", "path", "digest")


def refit(
    model: str, recipe: Recipe, *, data: Sequence[Path], path: Path, samples: int = 16
) -> Card:
    """Write new weights and card.

    Parameters
    ----------
    model
        The weights to start from.
    recipe
        Seed, species and encoder as they were trained; views, their mixture and ``site`` as they
        shall be.
    data
        What the weights were trained on, in the same order.
    path
        The ``.safetensors`` file to write; its card goes beside it.
    samples
        Clusters per spectrum in calibration and figures.

    Raises
    ------
    ValueError
        If the recipe's seed, species or encoder are not the weights'.
    """
    card = read_card(model)
    _check(card, recipe)
    sites = load_sites(data, span=recipe.grid)
    read = read_again(sites, load_parts(card, CPU).reader, recipe)
    kept = {k: v for k, v in load_file(card.path).items() if not k.startswith("site.")}
    packed = save(kept | {f"site.{name}": value for name, value in half(read.site).items()})
    entries = {k: v for k, v in asdict(card).items() if k not in _OWN}
    entries |= {"site_width": recipe.site.width, "recipe": recipe.model_dump(mode="json")}
    temperature = calibrating.cn_temperature(read.expected, shares_of(read))
    entries["calibration"]["cn_temperature"] = temperature
    seed = recipe.seed + 1
    asked = list(calibrating.questions(sites.held_out, calibrating.CONDITIONS, seed=seed))
    mixed = list(calibrating.mixtures(sites.held_out, MIXTURES, seed=seed))
    entries = _calibrated(entries, packed, asked, mixed, samples=samples)
    with written_aside(path) as part:
        part.write_bytes(packed)
    return write_card(path, **entries)


def _check(card: Card, recipe: Recipe) -> None:
    told = recipe.model_dump(mode="json")
    for name in KEPT:
        if told[name] != card.recipe[name]:
            raise ValueError(
                f"the recipe's {name} is {told[name]}, that of {card.name} was "
                f"{card.recipe[name]}: it must be the same, or encoders see families that they should be blind to"
            )


def _calibrated(
    entries: dict[str, Any],
    packed: bytes,
    asked: Sequence[calibrating.Question],
    mixed: Sequence[calibrating.Question],
    *,
    samples: int,
) -> dict[str, Any]:
    """Return the entries with estimates calibrated anew, and the figures that come of it."""

    def model() -> Inverter:
        draft = Card(name="draft", path=Path(), digest="", **entries)
        return Inverter(draft, assemble(draft, load(packed), CPU), device=CPU)

    answers = calibrating.ask(model(), [*asked, *mixed], samples=samples)
    estimates = calibrating.calibrate(model(), [*asked, *mixed], answers)
    entries = entries | {"calibration": entries["calibration"] | {"estimates": estimates}}
    answers = calibrating.estimated_again(model(), asked, answers[: len(asked)])
    return entries | {"figures": {"val": calibrating.figures(asked, answers)}}
