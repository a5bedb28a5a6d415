"""Give weights that exist other parts, without training the rest again.

The density that clusters grow by, and what reads spectra, are put in as they were trained
(`benchmarks/train_placement.py`, `benchmarks/refit.py`); the part that reads averages is trained
here. All other networks stay as they are. What a model needs before it can be believed is then
fitted anew, on the held-out families.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from nearedge.models.answering.card import Card, read_card, write_card
from nearedge.models.answering.estimate import Calibration
from nearedge.models.aside import written_aside
from nearedge.models.training.calibrating import cn_temperature
from nearedge.models.training.recipe import PlacementRecipe, Recipe
from nearedge.models.training.release import (
    calibrated,
    examination,
    half,
    learn_averages,
    ridge_tensors,
    start_entry,
)
from nearedge.models.training.sites import load_sites
from nearedge.models.training.spectra import SpectrumSide

#: What a card says of its own file.
_OWN = ("name", "path", "digest")


def refit(
    model: str,
    *,
    data: Sequence[Path],
    path: Path,
    placement: tuple[PlacementRecipe, dict[str, Tensor]] | None = None,
    reading: tuple[Recipe, SpectrumSide] | None = None,
    shares: Recipe | None = None,
    samples: int = 16,
) -> Card:
    """Write new weights and their card.

    Parameters
    ----------
    model
        Weights to start from.
    data
        What the weights were trained on, in the same order.
    path
        ``.safetensors`` file to write; its card goes beside it.
    placement
        The density that clusters grow by: its recipe and its tensors. None leaves what there is.
    reading
        What reads spectra, trained on the same data, and its recipe. None leaves what there is.
    shares
        How the part that reads averages is trained; None leaves what there is.
    samples
        Clusters per spectrum in calibration.
    """
    card = read_card(model)
    tensors = load_file(card.path)
    entries = {name: value for name, value in asdict(card).items() if name not in _OWN}
    sites = load_sites(data, span=card.grid)
    if placement is not None:
        grows, own = placement
        tensors = _with(tensors, "placement.", own)
        entries["start"] = start_entry(grows, atoms=card.atoms)
        entries["recipe"] |= {"placement": grows.model_dump(mode="json")}
    if reading is not None:
        how, read = reading
        tensors = _with(tensors, "encoder.", half(read.reader.ensemble))
        tensors = _with(tensors, "ridge.", ridge_tensors(read.reader))
        entries["encoder"] = asdict(read.reader.ensemble.size)
        entries["members"] = len(read.reader.ensemble.members)
        temperature = cn_temperature(read.expected, read.known.cn)
        entries["calibration"] |= {"cn_temperature": temperature}
        parts = {"views", "mixture", "distant", "residuals", "encoder"}
        entries["recipe"] |= how.model_dump(mode="json", include=parts, exclude_none=True)
    if shares is not None and (averages := learn_averages(sites, shares)) is not None:
        tensors = _with(tensors, "shares.", half(averages))
        entries["shares"] = asdict(averages.size)
        parts = {"shares", "residuals"}
        entries["recipe"] |= shares.model_dump(mode="json", include=parts, exclude_none=True)
    recipe = Recipe.model_validate(entries["recipe"])
    packed = save(tensors)
    entries = calibrated(
        _uncalibrated(entries), packed, examination(sites, recipe), samples=samples
    )
    with written_aside(path) as part:
        part.write_bytes(packed)
    return write_card(path, **entries)


def _uncalibrated(entries: dict[str, Any]) -> dict[str, Any]:
    """Return a card's entries as they are before calibration."""
    weight = float(entries["recipe"].get("shares", {}).get("weight", 0.0))
    estimates = Calibration(shares_weight=weight).to_dict()
    return entries | {
        "surrogate": entries["surrogate"] | {"sharpness": 0.0},
        "outlier": {"misfit": 1.0, "threshold": float("inf")},
        "calibration": entries["calibration"] | {"estimates": estimates},
    }


def _with(tensors: dict[str, Tensor], prefix: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the tensors of one part."""
    kept = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    return kept | {prefix + name: value.detach().contiguous() for name, value in own.items()}
