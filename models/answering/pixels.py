"""What is known of some pixels of a map, as arrays: a worker makes it, the catalog keeps it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearedge.models.answering.estimate import STATED_CN_CLASSES
from nearedge.models.answering.heads import HeadAnswers, Reads, answer_all
from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.spectrum import Array, Rejected, freeze_arrays

AT_ONCE = 512
"""Pixels that are normalised and read together."""
OF_HEADS = (
    *("cn_mean", "cn_mean_lo", "cn_mean_hi", "bond", "bond_lo", "bond_hi"),
    *("angle", "angle_lo", "angle_hi", "ood_score"),
)
OF_NORMALISATION = ("e0", "edge_step", "edge_step_error", "energy_shift")
NUMBERS = (*OF_HEADS, *OF_NORMALISATION)
"""Figures of a pixel, in the order of their column in `PixelAnswers.figures`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelAnswers:
    """Answers of the heads to some pixels; NaN where one was rejected.

    Attributes
    ----------
    energy
        (n,) eV, strictly increasing: of ``norm``.
    norm
        (p, n) normalised and flattened spectra.
    figures
        (p, k) the `NUMBERS` of each.
    cn_prob
        (p, c) probability of CN = 0, 1, … `STATED_CN_CLASSES` - 1.
    flags
        The flags of each.
    reasons
        (p,) why there is no answer, a number into ``reason_names``; -1: there is one.
    reason_names, details
        The reasons, and for each what it was at one of the pixels.
    model
        Digest of the weights; empty where nothing was read.
    elements
        Symbols of what is in the sample, sorted; empty where not known.
    """

    energy: Array
    norm: NDArray[np.float32]
    figures: Array
    cn_prob: NDArray[np.float32]
    flags: tuple[tuple[str, ...], ...]
    reasons: NDArray[np.int16]
    reason_names: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def answered(self) -> int:
        """How many have an answer."""
        return int((self.reasons < 0).sum())


def answer_pixels(
    model: Reads,
    spectra: Spectra,
    *,
    prepare: Callable[[Spectra], NormalisedSpectra],
    span: Sequence[float],
) -> PixelAnswers:
    """Normalise many spectra and answer each by the heads.

    Parameters
    ----------
    model
        Loaded.
    spectra
        Any number of them.
    prepare
        Normalises some of them.
    span
        The grid that the model reads.

    Raises
    ------
    ValueError
        If the model doesn't support the edge.
    """
    parts = [spectra.some(slice(at, at + AT_ONCE)) for at in range(0, len(spectra), AT_ONCE)]
    found = [_answered(model, prepare(part), span=span) for part in parts]
    return found[0] if len(found) == 1 else _joined(found)


def refused_pixels(count: int, refusal: Rejected) -> PixelAnswers:
    """Return what is known of so many pixels that could not even be read."""
    return PixelAnswers(
        energy=np.empty(0),
        norm=np.empty((count, 0), np.float32),
        figures=np.full((count, len(NUMBERS)), np.nan),
        cn_prob=np.full((count, STATED_CN_CLASSES), np.nan, np.float32),
        flags=((),) * count,
        reasons=np.zeros(count, np.int16),
        reason_names=(str(refusal.reason),),
        details={str(refusal.reason): refusal.detail},
    )


def _answered(model: Reads, spectra: NormalisedSpectra, *, span: Sequence[float]) -> PixelAnswers:
    answers = answer_all(model, spectra, span=span)
    names = tuple(dict.fromkeys(str(why.reason) for why in answers.rejected.values()))
    reasons = np.full(len(answers), -1, np.int16)
    for k, why in answers.rejected.items():
        reasons[k] = names.index(str(why.reason))
    return PixelAnswers(
        energy=spectra.energy,
        norm=spectra.flat.astype(np.float32),
        figures=_figures(spectra, answers),
        cn_prob=answers.cn_prob.astype(np.float32),
        flags=answers.flags,
        reasons=reasons,
        reason_names=names,
        details=_details(answers),
        model=answers.model,
        elements=spectra.elements,
    )


def _figures(spectra: NormalisedSpectra, answers: HeadAnswers) -> Array:
    columns = [getattr(answers, name) for name in OF_HEADS]
    columns += [getattr(spectra, name) for name in OF_NORMALISATION]
    return np.column_stack(columns)


def _details(answers: HeadAnswers) -> dict[str, str]:
    found: dict[str, str] = {}
    for why in answers.rejected.values():
        found.setdefault(str(why.reason), why.detail)
    return found


def _joined(parts: Sequence[PixelAnswers]) -> PixelAnswers:
    names = tuple(dict.fromkeys(name for part in parts for name in part.reason_names))
    details: dict[str, str] = {}
    for part in parts:
        details = {**part.details, **details}
    energy = parts[0].energy
    return PixelAnswers(
        energy=energy,
        norm=np.concatenate([on_axis(part.norm, part.energy, energy) for part in parts]),
        figures=np.concatenate([part.figures for part in parts]),
        cn_prob=np.concatenate([part.cn_prob for part in parts]),
        flags=tuple(own for part in parts for own in part.flags),
        reasons=np.concatenate([renumbered(part, names) for part in parts]),
        reason_names=names,
        details=details,
        model=next((part.model for part in parts if part.model), ""),
        elements=parts[0].elements,
    )


def renumbered(answers: PixelAnswers, names: Sequence[str]) -> NDArray[np.int16]:
    """Return the reasons of pixels as numbers into another list of names, which has them all."""
    table = np.array([*(names.index(name) for name in answers.reason_names), -1], np.int16)
    return np.asarray(table[answers.reasons])


def on_axis(spectra: NDArray[np.float32], energy: Array, wanted: Array) -> NDArray[np.float32]:
    """Return spectra (p, n) on other energies; NaN where they were not measured."""
    if energy.shape == wanted.shape and np.array_equal(energy, wanted):
        return spectra
    if not len(energy):
        return np.full((len(spectra), len(wanted)), np.nan, np.float32)
    rows = [np.interp(wanted, energy, row, left=np.nan, right=np.nan) for row in spectra]
    return np.asarray(rows, np.float32).reshape(len(spectra), len(wanted))
