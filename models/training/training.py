"""Train a model from a recipe and data: encoder, denoiser, calibration, weights and card."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nearedge.models.answering.card import Card
from nearedge.models.data.instruments import InputCondition
from nearedge.models.data.rattle import Rattling
from nearedge.models.parts import diffusion
from nearedge.models.parts.device import choose_device
from nearedge.models.parts.diffusion import Diffusion, Noise
from nearedge.models.training import denoiser as atoms_side
from nearedge.models.training.checkpoint import Checkpoint
from nearedge.models.training.denoiser import DenoiserTraining
from nearedge.models.training.encoders import EncoderExam
from nearedge.models.training.log import Progress, TrainingLog, logged, silent
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.release import release
from nearedge.models.training.sites import Sites, load_sites
from nearedge.models.training.spectra import SpectrumSide, expected_of, read_spectra, set_exam

#: Figures of the finished model that are told and logged, by their names in the card.
HEADLINE = ("cn_accuracy_macro", "bond_error", "bond_mae", "angle_mae", "rdf_overlap")


def start_denoiser(
    sites: Sites, read: SpectrumSide, recipe: Recipe, *, exam: EncoderExam, device: torch.device
) -> DenoiserTraining:
    """Draw the clusters and begin the denoiser's training at step 0."""
    rng = np.random.default_rng([recipe.seed, 1])
    pool = atoms_side.draw_pool(
        sites.bare, recipe.denoiser.pool, rng=rng, edges=sites.edges, rattling=Rattling()
    )
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


def run_denoiser(
    training: DenoiserTraining, *, checkpoint: Checkpoint, report_every: int, progress: Progress
) -> Diffusion:
    """Train to the end, with a checkpoint and a report every so many steps."""
    descent, total, window = training.descent, training.recipe.steps, []
    while descent.step < total:
        window.append(training.advance())
        if descent.step % report_every == 0 or descent.step == total:
            figures = {"loss": float(np.mean(window)), "val_loss": training.examine()}
            progress("denoiser", descent.step, total, figures)
            checkpoint.set_denoiser(descent.state())
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
        they are, and the denoiser goes on from its last report.
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
    training = start_denoiser(sites, read, recipe, exam=exam, device=place)
    if checkpoint.denoiser:
        training.descent.restore(checkpoint.denoiser)
    every = recipe.report_every
    model = run_denoiser(training, checkpoint=checkpoint, report_every=every, progress=tell)
    tell("calibration", 0, 1, {})
    card = release(sites, read, model, recipe, path=out / f"{name}.safetensors")
    tell("calibration", 1, 1, _headline(card))
    return card


def _headline(card: Card) -> dict[str, float]:
    """Return the figures of the finished model on clean spectra of held-out families."""
    figures = card.figures["val"][InputCondition.CLEAN.value]
    return {f"val_{name}": figures[name] for name in HEADLINE if figures[name] is not None}
