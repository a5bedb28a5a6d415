"""Give weights that exist another part, without training the others again.

The part that reads averages is trained anew, and the interval of the mean CN and the heads'
calibration are fitted again; the density that grows clusters is added as it was trained
(`benchmarks/train_placement.py`). All other parts, and the calibration of all other figures, stay
as they are.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from nearedge.models.answering.card import Card, read_card, write_card
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.loading import assemble
from nearedge.models.aside import written_aside
from nearedge.models.data.instruments import InputCondition
from nearedge.models.parts.device import CPU
from nearedge.models.training import calibrating
from nearedge.models.training.heads import fit_heads
from nearedge.models.training.recipe import SharesRecipe
from nearedge.models.training.release import MIXTURES, half
from nearedge.models.training.shares import train_shares
from nearedge.models.training.sites import Sites, load_sites

#: What a card says of its own file.
_OWN = ("name", "path", "digest")


def refit(
    model: str,
    recipe: SharesRecipe | None,
    *,
    data: Sequence[Path],
    path: Path,
    placement: dict[str, Tensor] | None = None,
    start: dict[str, Any] | None = None,
    seed: int = 0,
    samples: int = 16,
) -> Card:
    """Write new weights and their card.

    Parameters
    ----------
    model
        Weights to start from.
    recipe
        How the part that reads averages is trained; None leaves the mean CN as it is.
    data
        What the weights were trained on, in the same order.
    path
        ``.safetensors`` file to write; its card goes beside it.
    placement
        Tensors of the density that grows clusters; None leaves what there is.
    start
        Entry of the card on where drawing starts; None leaves what there is.
    seed
        Seed of weights, averages and questions.
    samples
        Clusters per spectrum in calibration.
    """
    card = read_card(model)
    tensors = load_file(card.path)
    entries = {k: v for k, v in asdict(card).items() if k not in _OWN}
    if placement is not None:
        tensors = _with(tensors, "placement.", placement)
    if start is not None:
        entries["start"] = start
    if recipe is not None:
        sites = load_sites(data, span=card.grid)
        averages = train_shares(sites.train, card.edges, recipe=recipe, span=card.grid, seed=seed)
        tensors = _with(tensors, "shares.", half(averages))
        entries["shares"] = asdict(averages.size)
        entries["recipe"] = entries["recipe"] | {"shares": recipe.model_dump(mode="json")}
        estimates = entries["calibration"]["estimates"] | {"shares_weight": recipe.weight}
        entries["calibration"]["estimates"] = estimates
        entries["calibration"] |= _calibration(entries, tensors, sites, seed=seed, samples=samples)
    with written_aside(path) as part:
        part.write_bytes(save(tensors))
    return write_card(path, **entries)


def _calibration(
    entries: dict[str, Any], tensors: dict[str, Tensor], sites: Sites, *, seed: int, samples: int
) -> dict[str, Any]:
    """Fit the interval of the mean CN, and the heads, to held-out single sites and averages."""
    every = list(calibrating.questions(sites.held_out, calibrating.CONDITIONS, seed=seed + 1))
    measured = [one for one in every if one[1].condition is InputCondition.MEASURED]
    count = min(MIXTURES, len(measured))
    mixed = list(calibrating.mixtures(sites.held_out, count, seed=seed + 1))
    asked = [*measured, *mixed]
    draft = Card(name="draft", path=Path(), digest="", **entries)
    inverter = Inverter(draft, assemble(draft, tensors, CPU), device=CPU)
    answers = calibrating.ask(inverter, asked, samples=samples)
    mean = calibrating.calibrate_mean(inverter, asked, answers)
    return {
        "estimates": entries["calibration"]["estimates"] | mean,
        "heads": fit_heads(inverter, every, mixed).to_dict(),
    }


def _with(tensors: dict[str, Tensor], prefix: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the tensors of one part."""
    kept = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    return kept | {prefix + name: value.detach().contiguous() for name, value in own.items()}
