"""Single numbers that a run tells besides its spectra: what trends can be drawn against.

Documents may hold any number of them, under names of any length. Those that the profile names are
always carried into a result, and of the others only so many: chosen by their names alone, since a
catalog may give the entries of a document back in another order.
"""

import logging
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from nearedge.callbacks.columns import Point, mean_of
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.readings import Files, Readings

logger = logging.getLogger(__name__)

MAX_SCALARS = 64
"""As many numbers of the start document, and as many of the baseline, besides those declared."""
MAX_NAME = 128
"""As many characters their names may have."""
MAX_DEPTH = 4
"""So many levels of dictionaries are looked through: ``a.b.c.d``."""
LEFT_OUT = "scalars-left-out"
OF_THE_RUN = frozenset({"time", "scan_id"})
"""Entries of the start document that every result has in places of their own."""

Named: TypeAlias = tuple[dict[str, float], dict[str, str]]
"""Values and units by name; what has no unit is in the first alone."""


class Scalars:
    """The single numbers of one run: in its start document, its baseline and its readings.

    Parameters
    ----------
    run_uid
        The uid of the run, for the log.
    declared
        Names that the profile asks for: they come first, and are never left out.
    """

    def __init__(self, run_uid: str, declared: Sequence[str]) -> None:
        self._run_uid, self._declared = run_uid, declared
        self._metadata: dict[str, float] = {}
        self._keys: list[str] = []
        self._averaged: tuple[tuple[float | None, int], ...] = ()
        self._baseline: Named = {}, {}

    def begin(self, start: Mapping[str, Any]) -> str | None:
        """Take a start document, in JSON's own types; tell whether something is left out."""
        numbers, too_deep = metadata_numbers(start)
        declared = [name for name in self._declared if name in numbers]
        others = numbers.keys() - set(declared) - OF_THE_RUN
        names = chosen(others)
        self._metadata = {name: numbers[name] for name in (*declared, *names)}
        return self._left_out(len(others) - len(names) + too_deep, "start document")

    def describe(self, doc: Descriptor, baseline: Readings) -> str | None:
        """Have the scalars of the baseline kept; tell whether something is left out."""
        others = scalar_keys(doc).difference(self._declared, self._keys)
        names = chosen(others, room=MAX_SCALARS - len(self._keys))
        baseline.want(names)
        self._keys += names
        return self._left_out(len(others) - len(names), "baseline")

    def along(
        self,
        points: Sequence[Point],
        streams: Sequence[Readings],
        *,
        baseline: Readings | None,
        files: Files,
        until: float,
        axes: Sequence[str] = (),
    ) -> Named:
        """Return what was measured along with a spectrum, those first that the profile names.

        Those are means of the spectrum's own readings where these have them. All others are the
        means of the baseline, or else what the start document says.

        Parameters
        ----------
        points, streams
            Readings of the spectrum, and the streams that hold spectra.
        baseline
            The stream of that name.
        files
            The files of the run.
        until
            When the spectrum was finished, seconds since the epoch: whether a later reading of the
            baseline has come already depends on the source.
        axes
            Data keys that tell its place from that of the run's other spectra: they come right
            after those that the profile names.
        """
        named = tuple(dict.fromkeys((*self._declared, *axes)))
        measured = _means(points, named)
        before, units = self._means_of_baseline(baseline, files, until)
        values = {**self._metadata, **before, **measured}
        found = {
            name: values[name] for name in (*named, *before, *self._metadata) if name in values
        }
        return found, {**units, **_units(measured, streams)}

    def _means_of_baseline(self, baseline: Readings | None, files: Files, until: float) -> Named:
        if baseline is None:
            return {}, {}
        points = baseline.points(baseline.waiting(), files)
        before = [point for point in points if point.time is None or point.time <= until]
        known = tuple((point.time, len(point.values)) for point in before)
        if known != self._averaged:  # the same for most spectra of a run that has many
            means = _means(before, (*self._declared, *self._keys))
            self._averaged, self._baseline = known, (means, _units(means, [baseline]))
        return self._baseline

    def _left_out(self, count: int, where: str) -> str | None:
        if not count:
            return None
        logger.info(
            "run %s: %d numbers of its %s are left out; instrument.roles.context can name those "
            "that matter",
            *(self._run_uid, count, where),
        )
        return LEFT_OUT


def metadata_numbers(start: Mapping[str, Any]) -> tuple[dict[str, float], int]:
    """Return the finite numbers of a start document, in JSON's own types.

    Returns
    -------
    dict
        The numbers by name; one within a dictionary has a dotted name, such as
        ``sample.temperature``.
    int
        How many dictionaries are nested too deep to be looked through.
    """
    found: dict[str, float] = {}
    too_deep = 0
    for name, value in _leaves(start):
        number = _finite(value)
        if number is not None:
            found.setdefault(name, number)
        too_deep += isinstance(value, dict)
    return found, too_deep


def scalar_keys(descriptor: Descriptor) -> set[str]:
    """Return the data keys that hold one number each, in the events themselves."""
    return {
        key
        for key, told in descriptor.data_keys.items()
        if told.get("dtype") in ("number", "integer")
        and not told.get("shape")
        and "external" not in told
    }


def chosen(names: Collection[str], *, room: int = MAX_SCALARS) -> list[str]:
    """Return at most so many of the names: those nested least deep, in alphabetical order."""
    fit = [name for name in names if _is_fit(name)]
    return sorted(fit, key=lambda name: (name.count("."), name))[:room]


def _leaves(mapping: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Yield what nested dictionaries hold, and those dictionaries that are nested too deep."""
    for name, value in mapping.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(value, depth + 1))
        else:
            yield name, value


def _finite(value: Any) -> float | None:
    if type(value) not in (int, float):  # a bool is no number here
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_fit(name: str) -> bool:
    return len(name) <= MAX_NAME and name.isprintable() and all(name.split("."))


def _means(points: Sequence[Point], keys: Iterable[str]) -> dict[str, float]:
    means = ((key, mean_of(points, key)) for key in keys)
    return {key: mean for key, mean in means if mean is not None}


def _units(keys: Iterable[str], streams: Sequence[Readings]) -> dict[str, str]:
    found = ((key, next(filter(None, (s.unit(key) for s in streams)), None)) for key in keys)
    return {key: unit for key, unit in found if unit}
