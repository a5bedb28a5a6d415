"""The figures of an answer: the one list that catalog, page, bus, tables, plots and exports use.

A figure has three forms. *Plain* is what JSON carries, in the catalog and on the page: several
named parts, or one bare number. *Columns* are the same parts side by side, ``bond_mean``,
``bond_lo`` …, for tables and events. *Text* is for people.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from nearedge.models import Estimates, Interval
from nearedge.models.answering.estimate import STATED_CN_CLASSES
from nearedge.models.clusters.geometry import BRIDGING

Plain: TypeAlias = Any
"""A figure as JSON carries it; None where the samples define none."""

DASH = "–"


class Answered(Protocol):
    """What has figures: an inversion, or an answer made of one."""

    @property
    def estimates(self) -> Estimates:
        """The figures drawn from the samples."""

    @property
    def misfit(self) -> float | None:
        """Edge steps; None where the model has no forward part."""

    @property
    def ood_score(self) -> float:
        """How far the spectrum lies from what the model learned."""

    @property
    def ood_flag(self) -> bool:
        """Whether that is too far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of an answer.

    Attributes
    ----------
    name
        Its name in metadata, columns, addresses and on the command line.
    symbol
        What heads a column or stands beside a number.
    title
        What stands on an axis.
    unit
        Å, ° or nothing.
    digits
        Decimal places that are shown.
    parts
        The names of its plain form's numbers; none where it is one bare number. ``mean``, ``lo``
        and ``hi`` are its 90 % interval (``mean_lo`` and ``mean_hi`` where the set has ends, too),
        ``set`` holds the integers of a 90 % set.
    per_sample
        Whether each sample has one of its own.
    meaning
        What it is, in one line.
    span
        The least range of an axis, in its unit: a shorter one would show noise as change.
    read
        Takes its plain form from an answer.
    """

    name: str
    symbol: str
    title: str
    unit: str = ""
    digits: int = 3
    parts: tuple[str, ...] = ()
    per_sample: bool = False
    meaning: str
    span: float
    read: Callable[[Answered], Plain]

    @property
    def heading(self) -> str:
        """Symbol and unit: ``bond, Å``."""
        return f"{self.symbol}, {self.unit}" if self.unit else self.symbol

    @property
    def label(self) -> str:
        """Title and unit, as on an axis: ``mean bond / Å``."""
        return f"{self.title} / {self.unit}" if self.unit else self.title

    @property
    def unit_word(self) -> str:
        """The unit as Bluesky and NeXus spell it; empty where there is none."""
        return {"Å": "angstrom", "°": "degree"}.get(self.unit, self.unit)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(f"{self.name}_{part}" for part in self.parts) or (self.name,)

    def as_columns(self, plain: Plain) -> dict[str, Any]:
        """Return the plain form by column, None where there is nothing."""
        if not self.parts:
            return {self.name: plain}
        return {f"{self.name}_{part}": (plain or {}).get(part) for part in self.parts}

    def decimals(self, plain: Plain) -> int:
        """Return the decimal places to show.

        A mean of whole numbers has those that its interval bears: where all samples have six
        neighbours, their mean is 6.00, however unsure. It keeps one, for without any it reads as
        a count.
        """
        match plain:
            case {"mean_lo": float(lo), "mean_hi": float(hi)}:
                unsure = (hi - lo) / 2
                bears = (n for n in range(1, self.digits) if unsure >= 10.0**-n)
                return next(bears, self.digits)
            case {"set": _}:
                return min(self.digits, 1)
        return self.digits

    def text(self, plain: Plain) -> str:
        """Return the number itself, rounded, or a dash."""
        value = plain if not isinstance(plain, Mapping) else plain[self.parts[0]]
        return DASH if value is None else f"{value:.{self.decimals(plain)}f}"

    def bounds_text(self, plain: Plain) -> str:
        """Return the 90 % interval or set; empty where there is none."""
        match plain:
            case {"set": members}:
                return "{" + ", ".join(map(class_text, members)) + "}"
        return self.interval_text(plain)

    def interval_text(self, plain: Plain) -> str:
        """Return the 90 % interval; empty where there is none."""
        match plain:
            case {"lo": float(lo), "hi": float(hi)} | {"mean_lo": float(lo), "mean_hi": float(hi)}:
                digits = self.decimals(plain)
                return f"[{lo:.{digits}f}, {hi:.{digits}f}]"
        return ""


def class_text(cn: int) -> str:
    """Return a coordination number as a class of answers: the highest holds all above it, too."""
    return f"{cn}+" if cn >= STATED_CN_CLASSES - 1 else str(cn)


def _cn(answer: Answered) -> Plain:
    found = answer.estimates
    return {
        "mean": found.cn_mean,
        "mean_lo": found.cn_mean_lo,
        "mean_hi": found.cn_mean_hi,
        "map": found.cn_map,
        "set": list(found.cn_set),
    }


def _interval(name: str) -> Callable[[Answered], Plain]:
    def read(answer: Answered) -> Plain:
        interval: Interval | None = getattr(answer.estimates, name)
        return None if interval is None else asdict(interval)

    return read


_MEAN_LO_HI = ("mean", "lo", "hi")

CN = Figure(
    name="cn",
    symbol="CN",
    title="coordination number",
    digits=2,
    parts=("mean", "mean_lo", "mean_hi", "map", "set"),
    per_sample=True,
    meaning="coordination number: mean over the sites with its 90 % interval; most probable one of "
    "a site, and its 90 % set",
    span=1.0,
    read=_cn,
)
BOND = Figure(
    name="bond",
    symbol="bond",
    title="mean bond",
    unit="Å",
    parts=_MEAN_LO_HI,
    per_sample=True,
    meaning="mean distance from the absorber to its first shell, with its 90 % interval",
    span=0.05,
    read=_interval("bond"),
)
ANGLE = Figure(
    name="angle",
    symbol="angle",
    title="mean bond angle",
    unit="°",
    digits=1,
    parts=_MEAN_LO_HI,
    per_sample=True,
    meaning="mean angle between the bonds of the absorber, with its 90 % interval",
    span=5.0,
    read=_interval("angle"),
)
BRIDGE_ANGLE = Figure(
    name="bridge",
    symbol="bridge angle",
    title="bridge angle",
    unit="°",
    digits=1,
    parts=_MEAN_LO_HI,
    meaning="mean angle between the absorber's bonds to atoms of other elements (Si-O-Si)",
    span=5.0,
    read=_interval("bridge"),
)
NEXT_SHELL = Figure(
    name="bridge",
    symbol="next shell",
    title="next shell",
    unit="Å",
    digits=2,
    parts=_MEAN_LO_HI,
    meaning="mean distance to the nearest atoms of the absorber's own element (Si…Si)",
    span=0.1,
    read=_interval("bridge"),
)
MISFIT = Figure(
    name="misfit",
    symbol="misfit",
    title="misfit",
    meaning="root-mean-square difference, in edge steps, to the spectrum that the clusters imply",
    span=0.05,
    read=lambda answer: answer.misfit,
)
OOD = Figure(
    name="ood",
    symbol="OOD score",
    title="out-of-distribution score",
    parts=("score", "flag"),
    meaning="how far the spectrum lies from what the model learned; flagged where too far",
    span=0.5,
    read=lambda answer: {"score": answer.ood_score, "flag": answer.ood_flag},
)
BRIDGE = Figure(
    name="bridge",
    symbol="bridge",
    title="bridge",
    parts=_MEAN_LO_HI,
    meaning=f"{BRIDGE_ANGLE.symbol}, °, of an absorber that bridges; else {NEXT_SHELL.symbol}, Å",
    span=0.1,
    read=_interval("bridge"),
)
"""The figure of spectra whose absorbers differ, which therefore has no unit."""


def figures_of(absorber: str | None = None) -> tuple[Figure, ...]:
    """Return all figures of the answers for one absorber, or for any.

    Parameters
    ----------
    absorber
        Symbol of the element, on which it depends what the figure ``bridge`` is; None where the
        answers have several.
    """
    if absorber is None:
        bridge = BRIDGE
    else:
        bridge = BRIDGE_ANGLE if absorber in BRIDGING else NEXT_SHELL
    return (CN, BOND, ANGLE, bridge, MISFIT, OOD)


FIGURES = figures_of()
INTERVALS = tuple(one.name for one in FIGURES if one.parts == _MEAN_LO_HI)


def plain_figures(answer: Answered | None) -> dict[str, Plain]:
    """Return the plain form of each figure by name; None each where there is no answer."""
    return {one.name: None if answer is None else one.read(answer) for one in FIGURES}


def stored_figures(metadata: Mapping[str, Any]) -> dict[str, Plain]:
    """Return the same of an entry of the catalog (docs/results.md)."""
    return {one.name: _without_others(one, metadata.get(one.name)) for one in FIGURES}


def _without_others(figure: Figure, stored: Plain) -> Plain:
    """Return the parts of a figure, without what the catalog has besides them."""
    return {part: stored.get(part) for part in figure.parts} if figure.parts and stored else stored


def as_columns(plain: Mapping[str, Plain]) -> dict[str, Any]:
    """Return the figures side by side, every part of each."""
    return {k: value for one in FIGURES for k, value in one.as_columns(plain[one.name]).items()}


def per_sample(weights: np.ndarray, estimates: Estimates) -> dict[str, np.ndarray]:
    """Return each sample's weight and its own figures, (samples,) each; NaN where undefined."""
    own = {one.name: getattr(estimates, f"sample_{one.name}") for one in FIGURES if one.per_sample}
    return {"weight": weights, **own}


def described() -> dict[str, Any]:
    """Return what a page needs to show figures, as JSON carries it."""
    return {
        "figures": {one.name: _described(one) for one in FIGURES},
        "bridge": {
            "angle": _described(BRIDGE_ANGLE),
            "distance": _described(NEXT_SHELL),
            "angle_of": sorted(BRIDGING),
        },
    }


def _described(figure: Figure) -> dict[str, Any]:
    names = ("name", "symbol", "title", "heading", "unit", "digits", "meaning", "span")
    return {name: getattr(figure, name) for name in names}
