"""Train what reads spectra: the ensemble of encoders and the ridges beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nearedge.models.answering.reader import Reader
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import Site
from nearedge.models.data.distant import make_distant_bank
from nearedge.models.data.views import Bank, Mixture, make_bank
from nearedge.models.parts.device import CPU
from nearedge.models.training import encoders
from nearedge.models.training.checkpoint import Checkpoint
from nearedge.models.training.encoders import EncoderExam, Targets
from nearedge.models.training.log import Progress, silent
from nearedge.models.training.recipe import Recipe
from nearedge.models.training.ridges import fit_ridges
from nearedge.models.training.sites import Sites, cells_of, folds_of

#: Views of the held-out spectra that a training is watched by.
VIEWS = 4


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


def _bank(sites: Sites, recipe: Recipe) -> Bank:
    """Make the views that are learned from: the usual ones first, then the distant ones."""
    # whoever never saw a site must not have seen it in an average either
    cells, distant = cells_of(sites, recipe), recipe.distant
    usual = _views(sites.train, recipe, views=recipe.views, cells=cells)
    if distant is None:
        return usual
    mix = recipe.mixture.model_copy(update={"partial": distant.partial})
    return usual + make_distant_bank(
        sites.train,
        views=distant.views,
        seed=recipe.seed,
        mix=Mixture(**mix.model_dump()),
        residuals=recipe.residual_modes(),
        span=recipe.grid,
        cells=cells,
    )


def set_exam(sites: Sites, recipe: Recipe) -> EncoderExam:
    """Make views of the held-out spectra, to watch a training by."""
    return EncoderExam(
        bank=_views(sites.held_out, recipe, views=min(VIEWS, recipe.views), cells=None),
        known=encoders.targets(sites.held_out, vocabulary=recipe.species, edges=sites.edges),
    )


def read_spectra(
    sites: Sites,
    recipe: Recipe,
    *,
    checkpoint: Checkpoint | None = None,
    exam: EncoderExam | None = None,
    progress: Progress = silent,
    device: torch.device = CPU,
) -> SpectrumSide:
    """Train encoders and ridges, and let them answer blindly for their own training data.

    Parameters
    ----------
    sites, recipe
        The training data, and what the encoders are told.
    checkpoint
        Where trained encoders are found and kept; None keeps none.
    exam
        What the encoders are examined on as they are done, if on anything.
    progress
        Called as encoders are done.
    device
        Where encoders train and ridges are solved.
    """
    bank = _bank(sites, recipe)
    known = encoders.targets(sites.train, vocabulary=recipe.species, edges=sites.edges)
    total = recipe.encoder.folds * recipe.encoder.rounds
    ensemble, blind = encoders.train_ensemble(
        sites.train,
        bank,
        known,
        recipe=recipe.encoder,
        edges=len(sites.edges),
        seed=recipe.seed,
        device=device,
        checkpoint=checkpoint,
        exam=exam,
        progress=lambda done, figures: progress("encoder", done, total, figures),
    )
    expected = encoders.expect(ensemble, bank, known.edge, weights=blind)
    folds = folds_of(sites, recipe)
    views = recipe.encoder.ridge_views
    ridges, expected = fit_ridges(bank, known, folds, expected, views=views, device=device)
    trained = Reader(ensemble=ensemble, ridges=ridges)
    return SpectrumSide(reader=trained, bank=bank, known=known, expected=expected)


def read_blindly(sites: Sites, reader: Reader, recipe: Recipe) -> SpectrumSide:
    """Ask a reader that is trained about views of its own training spectra, blindly.

    The ridges are left out, as they were not fitted without a site's family.

    Parameters
    ----------
    sites, reader
        Data that the reader was trained on, and the reader.
    recipe
        Recipe with the seed and the folds of the reader; its views may be others.
    """
    bank = _bank(sites, recipe)
    known = encoders.targets(sites.train, vocabulary=recipe.species, edges=sites.edges)
    size = {"folds": recipe.encoder.folds, "rounds": recipe.encoder.rounds}
    folds = encoders.partition(sites.train, **size, seed=recipe.seed)
    blind = encoders.blind_weights(folds, parts=recipe.encoder.folds)
    expected = encoders.expect(reader.ensemble, bank, known.edge, weights=blind)
    return SpectrumSide(reader=reader, bank=bank, known=known, expected=expected)


def expected_of(exam: EncoderExam, reader: Reader) -> Expectation:
    """Give what is expected of the held-out spectra, view by view."""
    parts = [
        reader(torch.from_numpy(values[None]), torch.from_numpy(mask[None]), int(edge))
        for view in zip(exam.bank.values, exam.bank.mask, strict=True)
        for values, mask, edge in zip(*view, exam.known.edge, strict=True)
    ]
    return descriptors.join(parts)
