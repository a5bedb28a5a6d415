"""From trained parts to a released model: calibrated first, and only then written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import Module

from nearedge.models.answering.card import Card, write_card
from nearedge.models.answering.estimate import Calibration
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.loading import assemble
from nearedge.models.answering.reader import Reader
from nearedge.models.aside import written_aside
from nearedge.models.data.dataset import describe
from nearedge.models.data.instruments import InputCondition
from nearedge.models.data.views import Bank
from nearedge.models.inversion import Inversion
from nearedge.models.parts.device import CPU
from nearedge.models.parts.diffusion import Diffusion
from nearedge.models.parts.outlier import Familiar
from nearedge.models.parts.placement import Placement
from nearedge.models.parts.ridge import Ridge
from nearedge.models.parts.shares import Shares
from nearedge.models.parts.surrogate import Surrogate
from nearedge.models.spectrum import Array
from nearedge.models.training import calibrating, surrogates
from nearedge.models.training import denoiser as atoms_side
from nearedge.models.training.familiarity import familiarise
from nearedge.models.training.heads import fit_heads
from nearedge.models.training.placement import placement_size
from nearedge.models.training.recipe import PlacementRecipe, Recipe
from nearedge.models.training.shares import train_shares
from nearedge.models.training.sites import Sites, folds_of
from nearedge.models.training.spectra import SpectrumSide
from nearedge.models.training.surrogates import SurrogateError

#: Most averages over unlike sites that the interval of the mean CN is fitted on, beside as many
#: single sites or more.
MIXTURES = 300
LIMITS = (
    "Trained on calculated (FEFF10) spectra only.",
    "Structures of the elements in `species` only; a spectrum of others is flagged at best.",
    "Handedness is not determined: a spectrum of unoriented matter cannot fix it.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forward:
    """The forward surrogates, one for each (absorber, edge) pair, and their errors."""

    surrogates: list[Surrogate]
    errors: list[SurrogateError]


def learn_forward(sites: Sites, read: SpectrumSide, recipe: Recipe) -> Forward:
    """Fit the forward surrogates to the clean spectra of some sites."""
    folds = folds_of(sites, recipe)
    fitted, errors = [], []
    for k in range(len(sites.edges)):
        rows = np.random.default_rng(recipe.seed).permutation(np.flatnonzero(read.known.edge == k))
        rows = rows[: surrogates.MOST]
        own, values = [sites.train[i] for i in rows], read.bank.values[0, rows]
        atoms = surrogates.as_tensors(own, atoms=recipe.atoms, vocabulary=recipe.species)
        fitted.append(surrogates.fit(*atoms, values, species=len(recipe.species)))
        errors.append(
            surrogates.cross_validate(
                own, values, folds[rows], atoms=recipe.atoms, vocabulary=recipe.species
            )
        )
    return Forward(surrogates=fitted, errors=errors)


def learn_averages(sites: Sites, recipe: Recipe) -> Shares | None:
    """Train what reads the mean of averages, if the recipe has it."""
    if not recipe.shares:
        return None
    return train_shares(
        sites.train,
        sites.edges,
        recipe=recipe.shares,
        span=recipe.grid,
        seed=recipe.seed,
        residuals=recipe.residual_modes(),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """The networks that clusters are drawn with: they grow, and are then denoised."""

    placement: Placement
    denoiser: Diffusion


def half(part: Module) -> dict[str, Tensor]:
    """Return the tensors of a part, its weights in half precision."""
    return {
        name: value.half() if name.endswith("weight") else value
        for name, value in part.state_dict().items()
    }


def _fields(part: Ridge) -> dict[str, Tensor]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def ridge_tensors(reader: Reader) -> dict[str, Tensor]:
    """Return the tensors of a reader's ridges, by edge and band."""
    found = {}
    for k, own in enumerate(reader.ridges):
        found[f"{k}.share"] = own.share
        for number, one in enumerate(own.bands):
            found |= {f"{k}.{number}.{name}": tensor for name, tensor in _fields(one).items()}
    return found


def _tensors(
    read: SpectrumSide,
    drawing: Drawing,
    forward: Forward,
    familiar: Familiar,
    averages: Shares | None,
) -> dict[str, Tensor]:
    parts = {
        "encoder.": half(read.reader.ensemble),
        "diffusion.": drawing.denoiser.cpu().state_dict(),
        "placement.": half(drawing.placement),
        "shares.": half(averages) if averages else {},
    }
    for k, back in enumerate(forward.surrogates):
        parts[f"surrogate.{k}."] = back.state()
    parts["ridge."] = ridge_tensors(read.reader)
    tensors = {p + name: value for p, state in parts.items() for name, value in state.items()}
    tensors["outlier.mean"] = torch.tensor(familiar.mean, dtype=torch.float32)
    tensors["outlier.covariance"] = torch.tensor(familiar.covariance, dtype=torch.float32)
    return {name: value.detach().contiguous() for name, value in tensors.items()}


def _familiar(bank: Bank, edge: Array, edges: int, *, views: int) -> Familiar:
    """Tell from the first views, those that are not distant, what is familiar."""
    _, sites, size = bank.values.shape
    flat = [part[:views].reshape(views * sites, size) for part in (bank.values, bank.mask)]
    return familiarise(flat[0], flat[1], np.tile(edge, views).astype(np.int64), edges=edges)


def start_entry(recipe: PlacementRecipe, *, atoms: int) -> dict[str, Any]:
    """Say how clusters grow."""
    size = asdict(placement_size(recipe, atoms=atoms))
    return {"size": size, **recipe.model_dump(include={"temperature", "surplus"})}


def data_entry(sites: Sites) -> dict[str, Any]:
    """Say what a model was trained on: a digest of the rows, and their make-up."""
    made_of = describe([*sites.train, *sites.held_out])
    return {"digest": sites.digest(), "bare_sites": len(sites.bare), **made_of}


def _surrogate_entry(sites: Sites, forward: Forward, *, sharpness: float) -> dict[str, Any]:
    errors = {
        f"{absorber} {edge}": asdict(error)
        for (absorber, edge), error in zip(sites.edges, forward.errors, strict=True)
    }
    return {"sharpness": sharpness, "errors": errors}


def _entries(
    sites: Sites,
    read: SpectrumSide,
    drawing: Drawing,
    forward: Forward,
    averages: Shares | None,
    recipe: Recipe,
) -> dict[str, Any]:
    """Return a card's entries before calibration: samples weigh alike, none is flagged."""
    bare = atoms_side.as_clusters(
        sites.train, atoms=recipe.atoms, vocabulary=recipe.species, edges=sites.edges
    )
    return {
        "edges": sites.edges,
        "species": recipe.species,
        "atoms": recipe.atoms,
        "grid": recipe.grid,
        "network": recipe.denoiser.model_dump(include={"channels", "layers", "radial", "degree"}),
        "encoder": asdict(read.reader.ensemble.size),
        "surrogate": _surrogate_entry(sites, forward, sharpness=0.0),
        "diffusion": asdict(drawing.denoiser.noise),
        "start": start_entry(recipe.placement, atoms=recipe.atoms),
        "members": len(read.reader.ensemble.members),
        "shares": asdict(averages.size) if averages else {},
        "outlier": {"misfit": 1.0, "threshold": float("inf")},
        "calibration": {
            "cn_temperature": calibrating.cn_temperature(read.expected, read.known.cn),
            "nearest": calibrating.nearest_distances(bare.atoms, recipe.species),
            "estimates": Calibration(
                shares_weight=recipe.shares.weight if recipe.shares else 0.0
            ).to_dict(),
        },
        "data": data_entry(sites),
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "limits": LIMITS,
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examination:
    """What a model is calibrated on: questions of known truth about held-out families.

    Attributes
    ----------
    asked
        Single sites, as calculated and as instruments show them.
    distant
        Single sites as far from the calculation as measurements are, if the model learned from
        such spectra. They count for what is estimated, not for what is familiar.
    mixed
        Averages over unlike sites, on which the interval of the mean CN is fitted too.
    """

    asked: Sequence[calibrating.Question]
    distant: Sequence[calibrating.Question]
    mixed: Sequence[calibrating.Question]


def examination(sites: Sites, recipe: Recipe) -> Examination:
    """Make up the questions that a model of a recipe is calibrated on."""
    seed = recipe.seed + 1
    asked = list(calibrating.questions(sites.held_out, calibrating.CONDITIONS, seed=seed))
    count = min(MIXTURES, len(asked) // len(calibrating.CONDITIONS))
    modes = recipe.residual_modes()
    far = (
        calibrating.distant_questions(sites.held_out, seed=seed, residuals=modes)
        if recipe.distant
        else ()
    )
    return Examination(
        asked=asked,
        distant=list(far),
        mixed=list(calibrating.mixtures(sites.held_out, count, seed=seed)),
    )


def calibrated(
    entries: dict[str, Any],
    packed: bytes,
    exam: Examination,
    *,
    samples: int,
) -> dict[str, Any]:
    """Return a card's entries with what answers to questions of known truth say of the model.

    Parameters
    ----------
    entries
        Those before calibration: samples weigh alike, none is flagged.
    packed
        The file of weights.
    exam
        The questions.
    samples
        Clusters per spectrum.
    """

    def model() -> Inverter:
        draft = Card(name="draft", path=Path(), digest="", **entries)
        return Inverter(draft, assemble(draft, load(packed), CPU), device=CPU)

    raw, every = model(), [*exam.asked, *exam.distant]
    answers = calibrating.ask(raw, every, samples=samples)
    sharpness = calibrating.sharpness(raw, every, answers)
    entries = entries | {"surrogate": entries["surrogate"] | {"sharpness": sharpness}}
    answers = calibrating.reweigh(raw, every, answers, sharpness=sharpness)
    estimates = calibrating.calibrate(raw, every, answers)
    entries = entries | {"calibration": entries["calibration"] | {"estimates": estimates}}
    answers = calibrating.ask(model(), every, samples=samples)
    mean = mean_interval(model(), every, answers, exam.mixed, samples=samples)
    estimates = estimates | mean
    heads = fit_heads(model(), every, exam.mixed).to_dict()
    asked = exam.asked
    answers = answers[: len(asked)]
    told = {"estimates": estimates, "heads": heads}
    entries = entries | {"calibration": entries["calibration"] | told}
    explained = calibrating.explained_scale(answers, raw.scatter([s for s, _ in asked]))
    return entries | {
        "outlier": calibrating.outlier_scale(answers) | {"explained": explained},
        "figures": {"val": calibrating.figures(asked, answers)},
    }


def mean_interval(
    inverter: Inverter,
    asked: Sequence[calibrating.Question],
    answers: Sequence[Inversion],
    mixed: Sequence[calibrating.Question],
    *,
    samples: int,
) -> dict[str, Any]:
    """Fit the interval of the mean CN to answers about single sites, and to averages as well."""
    kept = [k for k, (_, case) in enumerate(asked) if case.condition is InputCondition.MEASURED]
    return calibrating.calibrate_mean(
        inverter,
        [*(asked[k] for k in kept), *mixed],
        [*(answers[k] for k in kept), *calibrating.ask(inverter, mixed, samples=samples)],
    )


def release(
    sites: Sites,
    read: SpectrumSide,
    drawing: Drawing,
    recipe: Recipe,
    *,
    path: Path,
    samples: int = 32,
) -> Card:
    """Calibrate a model on the held-out families, and then write its weights and card.

    Nothing is written before everything is known. The card, without which weights cannot be read,
    comes last.

    Parameters
    ----------
    sites, read, drawing
        Data and trained networks.
    recipe
        What they were trained by.
    path
        The ``.safetensors`` file to write; its card goes beside it.
    samples
        Clusters per spectrum in calibration and figures.
    """
    edges = len(sites.edges)
    familiar = _familiar(read.bank, read.known.edge.astype(np.float64), edges, views=recipe.views)
    forward = learn_forward(sites, read, recipe)
    averages = learn_averages(sites, recipe)
    packed = save(_tensors(read, drawing, forward, familiar, averages))
    entries = _entries(sites, read, drawing, forward, averages, recipe)
    entries = calibrated(entries, packed, examination(sites, recipe), samples=samples)
    with written_aside(path) as part:
        part.write_bytes(packed)
    return write_card(path, **entries)
