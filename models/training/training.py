"""Train a model from a recipe and data: reading, drawing, calibration, weights and card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from nearedge.models.answering.card import Card
from nearedge.models.clusters.descriptors import tidy
from nearedge.models.data.dataset import Site
from nearedge.models.data.instruments import InputCondition
from nearedge.models.data.rattle import RattledCluster, Rattling
from nearedge.models.parts import diffusion
from nearedge.models.parts.device import choose_device
from nearedge.models.parts.diffusion import Noise
from nearedge.models.parts.placement import Placement
from nearedge.models.training import denoiser as atoms_side
from nearedge.models.training.checkpoint import Checkpoint
from nearedge.models.training.denoiser import DenoiserTraining
from nearedge.models.training.descent import Descent, Net
from nearedge.models.training.encoders import EncoderExam
from nearedge.models.training.log import Progress, TrainingLog, logged, silent
from nearedge.models.training.placement import (
    PlacementTraining,
    make_lesson,
    placement_size,
    surroundings,
    told_by,
)
from nearedge.models.training.recipe import DenoiserRecipe, PlacementRecipe, Recipe
from nearedge.models.training.release import Drawing, release
from nearedge.models.training.sites import Sites, load_sites
from nearedge.models.training.spectra import SpectrumSide, expected_of, read_spectra, set_exam

#: Figures of the finished model that are told and logged, by their names in the card.
HEADLINE = ("cn_accuracy_macro", "bond_error", "bond_mae", "angle_mae", "rdf_overlap")


class NetTraining(Protocol[Net]):
    """The training of a network that has begun."""

    @property
    def descent(self) -> Descent[Net]:
        """How far it has come."""

    @property
    def recipe(self) -> DenoiserRecipe | PlacementRecipe:
        """How long it lasts."""

    def advance(self) -> float:
        """Make one step and return its loss."""

    def examine(self) -> float:
        """Return the loss on the held-out families."""


def _pool(
    sites: Sequence[Site], recipe: Recipe, size: int, edges: Sequence[tuple[str, str]]
) -> list[RattledCluster]:
    rng = np.random.default_rng([recipe.seed, 1])
    return atoms_side.draw_pool(sites, size, rng=rng, edges=edges, rattling=Rattling())


def start_denoiser(
    sites: Sites, read: SpectrumSide, recipe: Recipe, *, exam: EncoderExam, device: torch.device
) -> DenoiserTraining:
    """Draw the clusters and begin the denoiser's training at step 0."""
    pool = _pool(sites.bare, recipe, recipe.denoiser.pool, sites.edges)
    scale = read.reader.ensemble.get_buffer("scale")
    lesson = atoms_side.make_lesson(
        sites.train,
        pool,
        read.expected,
        read.known,
        atoms=recipe.atoms,
        vocabulary=recipe.species,
        edges=sites.edges,
        scale=scale,
        donors=recipe.denoiser.donors,
    )
    torch.manual_seed(recipe.seed)
    size = recipe.denoiser.model_dump(include={"channels", "layers", "radial", "degree"})
    model = diffusion.build(
        species=len(recipe.species),
        edges=len(sites.edges),
        atoms=recipe.atoms,
        noise=Noise(sigma_max=recipe.denoiser.start),
        **size,
    )
    model.get_buffer("centre").copy_(read.reader.ensemble.get_buffer("centre"))
    model.get_buffer("scale").copy_(scale)
    held_out = atoms_side.as_clusters(
        sites.held_out, atoms=recipe.atoms, vocabulary=recipe.species, edges=sites.edges
    )
    return DenoiserTraining.start(
        model,
        lesson,
        exam=atoms_side.DenoiserExam(
            atoms=held_out.atoms.repeat(len(exam.bank.values), 1, 1),
            expected=expected_of(exam, read.reader),
        ),
        recipe=recipe.denoiser,
        seed=recipe.seed,
        device=device,
    )


def start_placement(
    sites: Sites, read: SpectrumSide, recipe: Recipe, *, exam: EncoderExam
) -> PlacementTraining:
    """Draw the clusters and begin the training of the density that they grow by at step 0."""
    own = recipe.placement
    whole = [site for site in sites.bare if len(site.species) >= recipe.atoms]
    pool = _pool(whole, recipe, own.pool, sites.edges)
    torch.manual_seed(recipe.seed)
    model = Placement(placement_size(own, atoms=recipe.atoms), elements=recipe.species)
    clusters = surroundings(sites.held_out, elements=recipe.species)
    rows = torch.arange(len(sites.held_out)).repeat(len(exam.bank.values))
    expected = tidy(expected_of(exam, read.reader), species=len(recipe.species))
    return PlacementTraining.start(
        model,
        make_lesson(sites, pool, read, elements=recipe.species, donors=own.donors),
        exam=[told_by(model, expected, clusters.cn[rows], *clusters[rows])],
        recipe=own,
        seed=recipe.seed,
    )


def run(
    training: NetTraining[Net],
    stage: str,
    *,
    checkpoint: Checkpoint,
    report_every: int,
    progress: Progress,
) -> Net:
    """Train to the end, from the checkpoint on, with a report every so many steps."""
    descent, total = training.descent, training.recipe.steps
    window: list[float] = []
    if state := checkpoint.training(stage):
        descent.restore(state)
    while descent.step < total:
        window.append(training.advance())
        if descent.step % report_every == 0 or descent.step == total:
            figures = {"loss": float(np.mean(window)), "val_loss": training.examine()}
            progress(stage, descent.step, total, figures)
            checkpoint.keep(stage, descent.state())
            window = []
    return descent.average()


def train(
    recipe: Recipe,
    *,
    data: Sequence[Path],
    out: Path,
    name: str = "model",
    device: str = "auto",
    resume: bool = False,
    progress: Progress = silent,
) -> Card:
    """Train a model and write its weights, card and log.

    The same recipe, data and machine give the same weights; so does a training that was cut off
    and resumed.

    Parameters
    ----------
    recipe
        What to train.
    data
        Parquet files in the form of `nearedge.models.data.dataset`; rows without a spectrum serve
        as clusters.
    out
        Folder for ``<name>.safetensors``, ``<name>.json``, ``log.csv`` and ``checkpoint.pt``. The
        weights and their card are written at the end, calibrated; until then there are none.
    name
        The name of the weights.
    device
        Where networks train and ridges are solved: ``auto``, ``cpu``, ``cuda``.
    resume
        Go on from the checkpoint in ``out``, if there is one: encoders that are trained stay as
        they are, and the other networks go on from their last reports.
    progress
        Called as things get done.

    Raises
    ------
    ValueError
        If the data hold nothing to train or to calibrate on.
    nearedge.models.training.checkpoint.CheckpointError
        If the training is to go on from a checkpoint of another recipe or of other data.
    """
    sites, place = load_sites(data, span=recipe.grid), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    origin = {"recipe": recipe.model_dump(mode="json", exclude_none=True), "data": sites.digest()}
    checkpoint = Checkpoint(out / "checkpoint.pt", origin=origin, resume=resume)
    tell = logged(progress, TrainingLog(out / "log.csv", resume=resume))
    exam = set_exam(sites, recipe)
    read = read_spectra(
        sites, recipe, checkpoint=checkpoint, exam=exam, progress=tell, device=place
    )
    told: dict[str, Any] = {
        "checkpoint": checkpoint,
        "report_every": recipe.report_every,
        "progress": tell,
    }
    atoms = start_denoiser(sites, read, recipe, exam=exam, device=place)
    denoiser = run(atoms, "denoiser", **told)
    places = start_placement(sites, read, recipe, exam=exam)
    drawing = Drawing(denoiser=denoiser, placement=run(places, "placement", **told))
    tell("calibration", 0, 1, {})
    card = release(sites, read, drawing, recipe, path=out / f"{name}.safetensors")
    tell("calibration", 1, 1, _headline(card))
    return card


def _headline(card: Card) -> dict[str, float]:
    """Return the figures of the finished model on clean spectra of held-out families."""
    figures = card.figures["val"][InputCondition.CLEAN.value]
    return {f"val_{name}": figures[name] for name in HEADLINE if figures[name] is not None}
