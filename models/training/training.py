"""Train a model from a recipe and data: encoder, denoiser, calibration, weights and card."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from nearedge.models.answering.card import Card, write_card
from nearedge.models.answering.estimate import Calibration
from nearedge.models.answering.inverter import Inverter
from nearedge.models.answering.reader import Reader
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import Site, describe, read_dataset
from nearedge.models.data.instruments import InputCondition
from nearedge.models.data.rattle import Rattling
from nearedge.models.data.views import Bank, Mixture, make_bank, usable
from nearedge.models.parts import diffusion
from nearedge.models.parts.device import CPU, choose_device
from nearedge.models.parts.diffusion import Diffusion, Noise
from nearedge.models.parts.library import Library
from nearedge.models.parts.outlier import Familiar
from nearedge.models.parts.ridge import Ridge
from nearedge.models.parts.surrogate import Surrogate
from nearedge.models.spectrum import Array
from nearedge.models.training import calibrating, library, surrogates
from nearedge.models.training import denoiser as atoms_side
from nearedge.models.training import encoders as spectrum_side
from nearedge.models.training.denoiser import DenoiserTraining
from nearedge.models.training.encoders import EncoderExam, Targets
from nearedge.models.training.familiarity import familiarise
from nearedge.models.training.log import TrainingLog
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.ridges import fit_ridges
from nearedge.models.training.surrogates import SurrogateError

#: Called with what is being done, how much is done, how much there is, and the newest figures.
Progress = Callable[[str, int, int, dict[str, float]], None]

#: Views of the held-out spectra that a training is watched by.
VIEWS = 4
#: Figures of the finished model that are told and logged, by their names in the card.
HEADLINE = ("cn_accuracy_macro", "bond_error", "bond_mae", "angle_mae", "rdf_overlap")

LIMITS = (
    "Trained on calculated (FEFF10) spectra only.",
    "Structures of the elements in `species` only; a spectrum of others is flagged at best.",
    "Handedness is not determined: a spectrum of unoriented matter cannot fix it.",
)


def _silent(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    """Progress for callers that show none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sites:
    """The data of a training.

    Attributes
    ----------
    train, held_out
        Sites with a spectrum that passes normalisation, of ``train`` and ``val`` families.
    bare
        Sites of ``train`` families that may lack a spectrum: clusters to rattle.
    edges
        The (absorber, edge) pairs.
    """

    train: list[Site]
    held_out: list[Site]
    bare: list[Site]
    edges: tuple[tuple[str, str], ...]


def load_sites(data: Sequence[Path], *, span: Sequence[float]) -> Sites:
    """SpectrumSide training and held-out sites; no other split is ever read.

    Raises
    ------
    ValueError
        If there is nothing to train or to calibrate on.
    """
    sites = read_dataset(data)
    train = usable([s for s in sites if s.split == "train" and len(s.energy)], span=span)
    edges = tuple(sorted({(s.absorber, s.edge) for s in train}))
    held_out = [s for s in sites if s.split == "val" and (s.absorber, s.edge) in edges]
    held_out = usable([s for s in held_out if len(s.energy)], span=span)
    if not train or not held_out:
        raise ValueError(
            f"found {len(train)} sites of split train and {len(held_out)} of val with a usable "
            "spectrum; training needs both: see `nearedge dataset describe`"
        )
    bare = [s for s in sites if s.split == "train" and s.rattle == 0]
    return Sites(train=train, held_out=held_out, bare=bare, edges=edges)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumSide:
    """What the spectrum side made of the data.

    Attributes
    ----------
    reader
        Trained encoders, and the ridges beside them, for each edge.
    bank, known
        Views of the training spectra, and what is to be answered.
    expected
        For each view what both, where they never saw a site's family, expect of it.
    """

    reader: Reader
    bank: Bank
    known: Targets
    expected: list[Expectation]


def _views(
    sites: Sequence[Site], recipe: Recipe, *, views: int, cells: NDArray[np.int64] | None
) -> Bank:
    return make_bank(
        sites,
        views=views,
        seed=recipe.seed,
        mix=Mixture(**recipe.mixture.model_dump()),
        span=recipe.grid,
        cells=cells,
    )


def set_exam(sites: Sites, recipe: Recipe) -> EncoderExam:
    """Make views of the held-out spectra, to watch a training by."""
    return EncoderExam(
        bank=_views(sites.held_out, recipe, views=min(VIEWS, recipe.views), cells=None),
        known=spectrum_side.targets(sites.held_out, vocabulary=recipe.species, edges=sites.edges),
    )


def read_spectra(
    sites: Sites,
    recipe: Recipe,
    *,
    exam: EncoderExam | None = None,
    progress: Progress = _silent,
    device: torch.device = CPU,
) -> SpectrumSide:
    """Train encoders and ridges, and let them answer blindly for their own training data."""
    # whoever never saw a site must not have seen it in an average either
    bank = _views(sites.train, recipe, views=recipe.views, cells=_cells(sites, recipe))
    known = spectrum_side.targets(sites.train, vocabulary=recipe.species, edges=sites.edges)
    total = recipe.encoder.folds * recipe.encoder.rounds
    ensemble, blind = spectrum_side.train_ensemble(
        sites.train,
        bank,
        known,
        recipe=recipe.encoder,
        edges=len(sites.edges),
        seed=recipe.seed,
        device=device,
        exam=exam,
        progress=lambda done, figures: progress("encoder", done, total, figures),
    )
    expected = spectrum_side.expect(ensemble, bank, known.edge, weights=blind)
    folds = _folds(sites, recipe)
    views = recipe.encoder.ridge_views
    ridges, expected = fit_ridges(bank, known, folds, expected, views=views, device=device)
    trained = Reader(ensemble=ensemble, ridges=ridges)
    return SpectrumSide(reader=trained, bank=bank, known=known, expected=expected)


def _folds(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Part of every training site's family, (sites,): the encoders' first partition."""
    first: NDArray[np.int64] = _partitions(sites, recipe)[0]
    return first


def _cells(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Group the training sites, (sites,), into what no round of partitions divides."""
    return np.unique(_partitions(sites, recipe), axis=1, return_inverse=True)[1].ravel()


def _partitions(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Divide the families as the encoders do, (rounds, sites)."""
    size = {"folds": recipe.encoder.folds, "rounds": recipe.encoder.rounds}
    return spectrum_side.partition(sites.train, **size, seed=recipe.seed)


def _expected_of(exam: EncoderExam, reader: Reader) -> Expectation:
    """Give what is expected of the held-out spectra, view by view."""
    parts = [
        reader(torch.from_numpy(values[None]), torch.from_numpy(mask[None]), int(edge))
        for view in zip(exam.bank.values, exam.bank.mask, strict=True)
        for values, mask, edge in zip(*view, exam.known.edge, strict=True)
    ]
    return descriptors.join(parts)


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
            expected=_expected_of(exam, read.reader),
        ),
        recipe=recipe.denoiser,
        seed=recipe.seed,
        device=device,
    )


def run_denoiser(
    training: DenoiserTraining, *, out: Path, report_every: int, progress: Progress
) -> Diffusion:
    """Train to the end, with a checkpoint and a report every so many steps."""
    total, window = training.recipe.steps, []
    while training.step < total:
        window.append(training.advance())
        if training.step % report_every == 0 or training.step == total:
            torch.save(training.state(), out / "checkpoint.pt")
            figures = {"loss": float(np.mean(window)), "val_loss": training.examine()}
            progress("denoiser", training.step, total, figures)
            window = []
    return training.average()


def restore(training: DenoiserTraining, out: Path) -> None:
    """Take up a checkpoint if there is one."""
    path = out / "checkpoint.pt"
    if path.exists():
        training.restore(torch.load(path, map_location="cpu", weights_only=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forward:
    """The forward surrogates, one for each (absorber, edge) pair, and their errors."""

    surrogates: list[Surrogate]
    errors: list[SurrogateError]


def learn_forward(sites: Sites, read: SpectrumSide, recipe: Recipe) -> Forward:
    """Fit the forward surrogates to the clean spectra of some sites."""
    folds = _folds(sites, recipe)
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


def collect(sites: Sites, read: SpectrumSide, recipe: Recipe) -> Library:
    """Put together the clusters that samples start from: all of ``train``, rattled ones too."""
    rattled = [site for site in sites.train if site.rattle]
    known = [site for site in sites.bare if (site.absorber, site.edge) in sites.edges]
    own = [*known, *rattled]
    clusters = atoms_side.as_clusters(
        own, atoms=recipe.atoms, vocabulary=recipe.species, edges=sites.edges
    )
    around = library.surroundings(own, vocabulary=recipe.species)
    expected = [descriptors.tidy(e, species=len(recipe.species)) for e in read.expected]
    return library.build(clusters, around, expected, torch.from_numpy(read.known.described).float())


def _fields(part: Ridge | Library) -> dict[str, Tensor]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def _tensors(
    read: SpectrumSide, model: Diffusion, forward: Forward, familiar: Familiar, known: Library
) -> dict[str, Tensor]:
    parts = {
        "encoder.": {
            name: value.half() if name.endswith("weight") else value
            for name, value in read.reader.ensemble.state_dict().items()
        },
        "diffusion.": model.cpu().state_dict(),
        "library.": _fields(known),
    }
    for k, (back, own) in enumerate(zip(forward.surrogates, read.reader.ridges, strict=True)):
        parts[f"surrogate.{k}."] = back.state()
        parts[f"ridge.{k}."] = {"share": own.share}
        for number, one in enumerate(own.bands):
            parts[f"ridge.{k}.{number}."] = _fields(one)
    tensors = {p + name: value for p, state in parts.items() for name, value in state.items()}
    tensors["outlier.mean"] = torch.tensor(familiar.mean, dtype=torch.float32)
    tensors["outlier.covariance"] = torch.tensor(familiar.covariance, dtype=torch.float32)
    return {name: value.detach().contiguous() for name, value in tensors.items()}


def _familiar(bank: Bank, edge: Array, edges: int) -> Familiar:
    views, sites, size = bank.values.shape
    flat = bank.values.reshape(views * sites, size), bank.mask.reshape(views * sites, size)
    return familiarise(*flat, np.tile(edge, views).astype(np.int64), edges=edges)


def data_entry(sites: Sites) -> dict[str, Any]:
    """Say what a model was trained on: a digest of the rows, and their make-up."""
    rows = [*sites.train, *sites.held_out, *sites.bare]
    digest = hashlib.sha256("\n".join(sorted(site.id for site in rows)).encode()).hexdigest()
    made_of = describe([*sites.train, *sites.held_out])
    return {"digest": digest, "bare_sites": len(sites.bare), **made_of}


def _surrogate_entry(sites: Sites, forward: Forward, *, sharpness: float) -> dict[str, Any]:
    errors = {
        f"{absorber} {edge}": asdict(error)
        for (absorber, edge), error in zip(sites.edges, forward.errors, strict=True)
    }
    return {"sharpness": sharpness, "errors": errors}


def release(
    sites: Sites,
    read: SpectrumSide,
    model: Diffusion,
    recipe: Recipe,
    *,
    path: Path,
    samples: int = 32,
) -> Card:
    """Write weights and card, calibrated on the held-out families.

    Parameters
    ----------
    sites, read, model
        Data and trained networks.
    recipe
        What they were trained by.
    path
        The ``.safetensors`` file to write; its card goes beside it.
    samples
        Clusters per spectrum in calibration and figures.
    """
    edges = len(sites.edges)
    familiar = _familiar(read.bank, read.known.edge.astype(np.float64), edges)
    forward = learn_forward(sites, read, recipe)
    known = collect(sites, read, recipe)
    save_file(_tensors(read, model, forward, familiar, known), path)
    bare = atoms_side.as_clusters(
        sites.train, atoms=recipe.atoms, vocabulary=recipe.species, edges=sites.edges
    )
    calibration: dict[str, Any] = {
        "cn_temperature": calibrating.cn_temperature(read.expected, read.known.cn),
        "nearest": calibrating.nearest_distances(bare.atoms, recipe.species),
        "estimates": Calibration().to_dict(),
    }
    asked = list(
        calibrating.questions(sites.held_out, calibrating.CONDITIONS, seed=recipe.seed + 1)
    )
    entries: dict[str, Any] = {
        "edges": sites.edges,
        "species": recipe.species,
        "atoms": recipe.atoms,
        "grid": recipe.grid,
        "network": recipe.denoiser.model_dump(include={"channels", "layers", "radial", "degree"}),
        "encoder": asdict(read.reader.ensemble.size),
        "surrogate": _surrogate_entry(sites, forward, sharpness=0.0),
        "diffusion": asdict(model.noise),
        "members": len(read.reader.ensemble.members),
        "outlier": {"misfit": 1.0, "threshold": 0.0},
        "data": data_entry(sites),
        "recipe": recipe.model_dump(mode="json"),
        "limits": LIMITS,
    }
    write_card(path, **entries, calibration=calibration)
    raw = Inverter.load(str(path), device="cpu")
    answers = calibrating.ask(raw, asked, samples=samples)
    sharpness = calibrating.sharpness(raw, asked, answers)
    entries["surrogate"] = _surrogate_entry(sites, forward, sharpness=sharpness)
    answers = calibrating.reweigh(raw, asked, answers, sharpness=sharpness)
    calibration["estimates"] = calibrating.calibrate(raw, asked, answers)
    write_card(path, **entries, calibration=calibration)
    answers = calibrating.ask(Inverter.load(str(path), device="cpu"), asked, samples=samples)
    entries["outlier"] = calibrating.outlier_scale(answers)
    entries["figures"] = {"val": calibrating.figures(asked, answers)}
    return write_card(path, **entries, calibration=calibration)


def train(
    recipe: Recipe,
    *,
    data: Sequence[Path],
    out: Path,
    name: str = "model",
    device: str = "auto",
    resume: bool = False,
    progress: Progress = _silent,
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
        Folder for ``<name>.safetensors``, ``<name>.json``, ``log.csv`` and ``checkpoint.pt``.
    name
        Of the weights.
    device
        Where networks train and ridges are solved: ``auto``, ``cpu``, ``cuda``.
    resume
        Go on from the checkpoint in ``out``, if there is one.
    progress
        Called as things get done.

    Raises
    ------
    ValueError
        If the data hold nothing to train or to calibrate on.
    """
    out.mkdir(parents=True, exist_ok=True)
    tell = _logged(progress, TrainingLog(out / "log.csv", resume=resume))
    sites, place = load_sites(data, span=recipe.grid), choose_device(device)
    exam = set_exam(sites, recipe)
    read = read_spectra(sites, recipe, exam=exam, progress=tell, device=place)
    training = start_denoiser(sites, read, recipe, exam=exam, device=place)
    if resume:
        restore(training, out)
    model = run_denoiser(training, out=out, report_every=recipe.report_every, progress=tell)
    tell("calibration", 0, 1, {})
    card = release(sites, read, model, recipe, path=out / f"{name}.safetensors")
    tell("calibration", 1, 1, _headline(card))
    return card


def _logged(progress: Progress, log: TrainingLog) -> Progress:
    """Tell progress, and write down its figures."""

    def tell(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
        if figures:
            log.add(stage, done, figures)
        progress(stage, done, total, figures)

    return tell


def _headline(card: Card) -> dict[str, float]:
    """Figures of the finished model on clean spectra of held-out families."""
    figures = card.figures["val"][InputCondition.CLEAN.value]
    return {f"val_{name}": figures[name] for name in HEADLINE if figures[name] is not None}
