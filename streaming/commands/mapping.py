"""The whole of ``nearedge map``: answer every pixel of a map, and draw clusters for its groups."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.callbacks.prepare_many import prepare_many
from nearedge.models import Array, Inversion, Rejected
from nearedge.models.answering.heads import HeadAnswers, answer_all
from nearedge.models.answering.map_groups import common_part
from nearedge.models.answering.several import Several
from nearedge.models.aside import written_aside
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.maps.denoising import denoise
from nearedge.models.maps.groups import Groups, group_pixels
from nearedge.models.maps.image import SpectrumImage
from nearedge.models.maps.mixtures import Mixtures, mixtures
from nearedge.models.maps.representative import Representative, mean_measured
from nearedge.streaming.answers.maps import MapFile
from nearedge.streaming.commands.inverting import seed_for
from nearedge.streaming.settings.profile import Profile

AT_ONCE = 512
"""Pixels that are answered between two looks at the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """What is done with the pixels before they are answered, and how they are grouped.

    Attributes
    ----------
    bin
        Pixels put together along each axis.
    denoise
        Whether to keep the principal components alone.
    groups
        Groups for which clusters are drawn; 0: none; None: as many as the map shows.
    most
        Groups at most, where they are not told.
    members
        Numbers of the groups whose mean spectra are the end members of a linear combination fit of
        every pixel; none: no fit.
    seed
        The seed of groups and clusters.
    """

    bin: int = 1
    denoise: bool = False
    groups: int | None = None
    most: int = 6
    members: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapReport:
    """What became of a map.

    Attributes
    ----------
    shape
        The shape of the map that was answered.
    answered
        Pixels with an answer.
    reasons, details
        Why the others have none, and how many; and for each reason what it was at one of them.
    flags
        How many answers have each.
    groups
        The groups of which clusters were drawn, the largest first.
    rank
        Principal components that were kept; None where nothing was denoised.
    seconds
        Spent on all pixels, reading and clusters excluded.
    """

    shape: tuple[int, ...]
    answered: int
    reasons: Counter[str]
    details: dict[str, str]
    flags: Counter[str]
    groups: tuple[Representative, ...]
    rank: int | None
    seconds: float


class Mapping:
    """Answers maps.

    Parameters
    ----------
    profile
        How to normalise, and the model.
    model
        Loaded.
    options
        What else is done.
    progress
        Called with the pixels that are done, and how many there are.
    """

    def __init__(
        self,
        profile: Profile,
        model: Several,
        options: MapOptions,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._profile, self._model, self._options = profile, model, options
        self._progress = progress

    @property
    def _instrument(self) -> Instrument:
        return self._profile.instrument

    def run(self, image: SpectrumImage, out: Path, *, source: str) -> MapReport:
        """Answer a map and write it.

        Parameters
        ----------
        image
            The map.
        out
            The HDF5 file.
        source
            Where the map comes from.

        Raises
        ------
        ValueError
            If too few spectra are whole for denoising.
        """
        image, rank = self._ready(image)
        began = time.monotonic()
        with written_aside(out) as part, h5py.File(part, "w") as file:
            target = MapFile(file, image, about=self._about(source, rank))
            told = _Told()
            read = self._answer(image, target, told)
            seconds = time.monotonic() - began
            common = common_part(read)
            groups = self._grouped(common)
            mixed = self._mixed(common, groups)
            found = tuple(self._representatives(image, groups))
            target.finish(groups, found, mixed=mixed)
        return MapReport(
            shape=image.shape,
            answered=len(image.spectra) - told.reasons.total(),
            reasons=told.reasons,
            details=told.details,
            flags=told.flags,
            groups=found,
            rank=rank,
            seconds=seconds,
        )

    def _ready(self, image: SpectrumImage) -> tuple[SpectrumImage, int | None]:
        if self._options.bin > 1:
            image = image.binned(self._options.bin)
        if not self._options.denoise:
            return image, None
        found = denoise(image.spectra)
        return replace(image, spectra=found.spectra), found.rank

    def _about(self, source: str, rank: int | None) -> dict[str, str | float]:
        about: dict[str, str | float] = {
            "program": "nearedge",
            "version": version("nearedge"),
            "model": self._model.digest,
            "source": source,
            "bin": self._options.bin,
            "members": ", ".join(map(str, self._options.members)),
            "seed": self._options.seed,
            "instrument": self._instrument.model_dump_json(),
        }
        return about if rank is None else about | {"denoised_rank": rank}

    def _answer(self, image: SpectrumImage, target: MapFile, told: "_Told") -> Array:
        """Answer all pixels; return what the model read of them."""
        count = len(image.spectra)
        read: list[Array] = []
        for begin in range(0, count, AT_ONCE):
            rows = slice(begin, min(begin + AT_ONCE, count))
            spectra, answers = self._some(image, rows)
            target.put(rows, spectra, answers)
            read.append(np.where(answers.mask > 0, answers.condition, np.nan))
            told.add(answers)
            self._progress(rows.stop, count)
        return np.concatenate(read)

    def _some(self, image: SpectrumImage, rows: slice) -> tuple[NormalisedSpectra, HeadAnswers]:
        spectra = prepare_many(
            image.spectra.some(rows), self._instrument, supports=self._model.supports
        )
        return spectra, answer_all(self._model, spectra, span=self._model.cards.grid)

    def _mixed(self, common: Array, groups: Groups) -> Mixtures | None:
        """Fit every pixel by the mean spectra of chosen groups."""
        wanted = self._options.members
        if not wanted:
            return None
        if max(wanted) >= groups.count:
            raise ValueError(
                f"found {groups.count} groups, numbered from 0; expected end members among them: "
                f"{', '.join(map(str, wanted))}"
            )
        members = [common[groups.labels == number].mean(axis=0) for number in wanted]
        return mixtures(common, np.array(members))

    def _grouped(self, common: Array) -> Groups:
        return group_pixels(
            common,
            most=self._options.groups or self._options.most,
            count=self._options.groups or None,
            rng=np.random.default_rng(self._options.seed),
        )

    def _representatives(self, image: SpectrumImage, groups: Groups) -> Iterator[Representative]:
        if self._options.groups == 0:
            return
        for number in range(groups.count):
            yield self._representative(image, np.flatnonzero(groups.labels == number))

    def _representative(self, image: SpectrumImage, rows: NDArray[np.intp]) -> Representative:
        """Invert the mean of the raw spectra of some pixels."""
        one = image.spectra.one(int(rows[0]))
        raw = replace(one, mu=mean_measured(image.spectra.mu, rows), flags=image.spectra.flags)
        spectrum = prepare(raw, self._instrument, supports=self._model.supports)
        if isinstance(spectrum, Rejected):
            return Representative(pixels=len(rows), spectrum=None, answer=spectrum)
        worker = self._profile.worker
        answer: Inversion
        (answer,) = self._model.invert(
            [spectrum],
            seeds=[seed_for(raw, seed=self._options.seed)],
            samples=worker.samples,
            quality=worker.quality,
        )
        return Representative(pixels=len(rows), spectrum=spectrum, answer=answer)


class _Told:
    """Counts refusals and flags."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.details: dict[str, str] = {}
        self.flags: Counter[str] = Counter()

    def add(self, answers: HeadAnswers) -> None:
        for why in answers.rejected.values():
            self.reasons[str(why.reason)] += 1
            self.details.setdefault(str(why.reason), why.detail)
        self.flags.update(flag for own in answers.flags for flag in own)


def in_words(report: MapReport) -> Iterator[str]:
    """Yield what became of a map, a line for each thing."""
    shape = " × ".join(map(str, report.shape))
    total = int(np.prod(report.shape))
    rate = total / max(report.seconds, 1e-9)
    yield f"{shape} pixels: {report.answered} answered, {total - report.answered} rejected"
    for reason, count in report.reasons.most_common():
        yield f"  rejected, {reason}: {count}, such as: {report.details[reason]}"
    for flag, count in report.flags.most_common():
        yield f"  {flag}: {count}"
    if report.rank is not None:
        yield f"denoised: {report.rank} principal components kept"
    yield f"{report.seconds:.1f} s for all pixels, {rate:.0f} a second"
    for number, one in enumerate(report.groups):
        yield f"group {number}, {one.pixels} pixels: {_of_group(one)}"


def _of_group(one: Representative) -> str:
    if isinstance(one.answer, Rejected):
        return f"rejected, {one.answer.reason}: {one.answer.detail}"
    found = one.answer.estimates
    figures = [f"CN {found.cn_mean:.2f} [{found.cn_mean_lo:.2f}, {found.cn_mean_hi:.2f}]"]
    if found.bond is not None:
        bond = found.bond
        figures.append(f"bond {bond.mean:.3f} Å [{bond.lo:.3f}, {bond.hi:.3f}]")
    flags = f"; {', '.join(one.answer.flags)}" if one.answer.flags else ""
    return ", ".join(figures) + flags
