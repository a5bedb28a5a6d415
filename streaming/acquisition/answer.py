"""One answer as a session takes it: numbers and words, each the value of a signal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

NAN = float("nan")

LEFT_OUT = "left-out"
"""Status of a run that has no spectrum: a count, an alignment scan."""
LAST = frozenset({"complete", "degraded", "rejected", "failed", LEFT_OUT})
"""Statuses after which a spectrum gets no other answer, or only a finer one."""
TIMEOUT = "timeout"
"""Status where no answer came in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFigure:
    """One number of an answer.

    Attributes
    ----------
    units
        The units, as Bluesky spells them; empty for a pure number.
    precision
        Decimal places that tables show.
    hinted
        Whether tables and plots show it without being asked.
    """

    units: str = ""
    precision: int = 2
    hinted: bool = False


_LENGTH = LiveFigure(units="angstrom", precision=3)
_ANGLE = LiveFigure(units="degree", precision=1)

FIGURES: dict[str, LiveFigure] = {
    "cn_mean": LiveFigure(hinted=True),
    "cn_mean_lo": LiveFigure(),
    "cn_mean_hi": LiveFigure(),
    "cn_map": LiveFigure(precision=0),
    "cn_lo": LiveFigure(precision=0),
    "cn_hi": LiveFigure(precision=0),
    "bond_mean": LiveFigure(units="angstrom", precision=3, hinted=True),
    "bond_lo": _LENGTH,
    "bond_hi": _LENGTH,
    "angle_mean": _ANGLE,
    "angle_lo": _ANGLE,
    "angle_hi": _ANGLE,
    "misfit": LiveFigure(precision=3),
    "ood_score": LiveFigure(),
}
"""The numbers, by the names that they bear on the bus; NaN where an answer has none."""
WORDS = ("status", "raw_uid", "spectrum", "key", "flags", "detail")
"""The texts; empty where there is nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAnswer:
    """The answer to one spectrum, final or while it grows.

    Attributes
    ----------
    status
        ``partial``, ``degraded``, ``complete``, ``rejected``, ``failed``, ``left-out`` or
        ``timeout``; empty before the first answer.
    raw_uid, raw_time
        Uid of the raw run, and when it began, seconds since the epoch.
    spectrum
        Which spectrum of the run.
    key
        Name of the result in the catalog; empty for an answer that is not stored.
    flags
        Comma-separated.
    detail
        Why there is no answer, where there is none.
    ood_flag
        Whether the spectrum is unlike all that the model has learned.
    numbers
        The numbers by the names of `FIGURES`; what is undefined is left out.
    time
        When it was published, seconds since the epoch.
    """

    status: str = ""
    raw_uid: str = ""
    raw_time: float = 0.0
    spectrum: str = ""
    key: str = ""
    flags: str = ""
    detail: str = ""
    ood_flag: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)
    time: float = 0.0

    @property
    def is_last(self) -> bool:
        """Whether the spectrum has been dealt with."""
        return self.status in LAST

    def values(self) -> Iterator[tuple[str, float | str | bool]]:
        """Yield the name and the value of every signal."""
        for name in FIGURES:
            yield name, self.numbers.get(name, NAN)
        for name in WORDS:
            yield name, getattr(self, name)
        yield "ood_flag", self.ood_flag


def answer_from(start: Mapping[str, Any], event: Mapping[str, Any]) -> LiveAnswer:
    """Return the answer in the start document and the event that the service published."""
    data, raw = event["data"], start.get("raw") or {}
    why = [start.get("reason"), start.get("detail"), start.get("error")]
    return LiveAnswer(
        status=data["status"],
        raw_uid=data["raw_uid"],
        raw_time=float(raw.get("time") or 0.0),
        spectrum=data.get("spectrum", ""),
        key=start.get("key") or "",
        flags=", ".join(start.get("flags") or ()),
        detail=": ".join(text for text in why if text),
        ood_flag=bool(data.get("ood_flag", False)),
        numbers={name: float(data[name]) for name in FIGURES if name in data},
        time=event["time"],
    )
