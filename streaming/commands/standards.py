"""Invert the measured standards of a folder, and put the answers beside the truth."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.models.answering.cards import Cards
from nearedge.models.data.dataset import Site
from nearedge.models.evaluation.standard_baselines import (
    LEARNED,
    NEAREST,
    nearest_calculated,
    trees_left_out,
)
from nearedge.models.evaluation.standards import (
    Compound,
    Standard,
    StandardAnswer,
    compounds,
    found_of,
    marked,
    read_truth,
)
from nearedge.streaming.commands.inverting import InvertOptions, invert
from nearedge.streaming.sources.files import FileSpectrum, read_spectra
from nearedge.streaming.workers.worker import Inverts

TRUTH = "truth.csv"

Track = Callable[[Iterable[Standard]], Iterable[Standard]]


def read_standards(folder: Path) -> list[tuple[Standard, FileSpectrum]]:
    """Read ``truth.csv`` of a folder and the first spectrum of each file that it names.

    Raises
    ------
    ValueError
        If the table is missing or wrong.
    """
    path = folder / TRUTH
    if not path.is_file():
        raise ValueError(f"{folder} has no {TRUTH}: expected a table of its spectra and structures")
    return [(one, _first(folder / one.file, one)) for one in read_truth(path)]


def marked_standards(folder: Path, cards: Cards) -> list[tuple[Standard, FileSpectrum]]:
    """Read the standards of a folder, those marked from which one of the models has learned."""
    learned = [tuple(one) for card in cards.cards for one in card.data.get("standards", ())]
    asked = read_standards(folder)
    return [
        (one, file)
        for one, (_, file) in zip(
            marked([standard for standard, _ in asked], learned), asked, strict=True
        )
    ]


def _first(path: Path, one: Standard) -> FileSpectrum:
    return read_spectra(path, _instrument(one))[0]


def _instrument(one: Standard) -> Instrument:
    return Instrument(absorber=one.absorber, edge=one.edge)


def answer_standards(
    asked: Sequence[tuple[Standard, FileSpectrum]],
    *,
    inverter: Inverts,
    supports: Callable[[str, str], bool],
    effort: InvertOptions,
    track: Track = lambda standards: standards,
) -> list[Compound]:
    """Invert every scan, as ``nearedge invert`` does, and gather the compounds."""
    spectra = {one.file: spectrum for one, spectrum in asked}
    standards = [one for one, _ in asked]
    answers: dict[str, StandardAnswer | str] = {}
    for one in track(standards):
        (outcome,) = invert(
            [spectra[one.file]],
            _instrument(one),
            inverters=[inverter],
            supports=supports,
            effort=effort,
        )
        answers[one.file] = found_of(outcome.answer)
    return compounds(standards, answers)


def answer_by_baselines(
    asked: Sequence[tuple[Standard, FileSpectrum]], sites: Sequence[Site]
) -> dict[str, list[Compound]]:
    """Return the compounds as the baselines see them; the nearest only where there are sites."""
    standards = [one for one, _ in asked]
    spectra = {one.file: s for one, file in asked if (s := _normalised(one, file)) is not None}
    found = {LEARNED: trees_left_out(standards, spectra)}
    if sites:
        found = {NEAREST: nearest_calculated(standards, spectra, sites)} | found
    return {name: compounds(standards, answers) for name, answers in found.items()}


def _normalised(one: Standard, file: FileSpectrum) -> NormalisedSpectrum | None:
    if isinstance(file.spectrum, Rejected):
        return None
    outcome = prepare(file.spectrum, _instrument(one), supports=lambda absorber, edge: True)
    return None if isinstance(outcome, Rejected) else outcome
