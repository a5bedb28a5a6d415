"""What a run is for, told from its start document, and what dark runs leave for later ones."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from nearedge.callbacks.instrument import RecogniseSettings

DARK_ROLES = ("i0", "it", "ir", "if_", "spectrum", "low_loss")
"""Roles that have a dark: the intensities."""
MAX_DARKS = 64
"""As many dark runs are remembered; those added first are forgotten."""


class Kind(StrEnum):
    """What a run is for."""

    SAMPLE = "sample"
    DARK = "dark"
    REFERENCE = "reference"
    CALIBRATION = "calibration"


def recognise(start: Mapping[str, Any], entries: RecogniseSettings) -> Kind:
    """Return what a run is for.

    Parameters
    ----------
    start
        Its start document. An entry of a nested mapping is named with dots: ``plan_args.kind``.
    entries
        The metadata that mark darks, references and calibrations: one that matches is enough.
    """
    for kind in (Kind.DARK, Kind.REFERENCE, Kind.CALIBRATION):
        wanted = getattr(entries, kind.value)
        if any(_same(entry(start, key), value) for key, value in wanted.items()):
            return kind
    return Kind.SAMPLE


def entry(start: Mapping[str, Any], key: str) -> Any:
    """Return an entry of a start document; one of a nested mapping is named with dots."""
    if key in start:
        return start[key]
    head, _, rest = key.partition(".")
    inner = start.get(head)
    return entry(inner, rest) if rest and isinstance(inner, Mapping) else None


def _same(found: Any, wanted: str | bool | int) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return found.casefold() == wanted.casefold()
    # 1 is not True: a scan_type of 1 must not be read as a flag
    return type(found) is type(wanted) and bool(found == wanted)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dark:
    """What the detectors read without a beam.

    Attributes
    ----------
    run_uid
        The uid of the dark run.
    ended
        When it ended, seconds since the epoch.
    means
        For each role its mean over the run: (), (elements,) or (n,) for a whole spectrum.
    """

    run_uid: str
    ended: float
    means: dict[str, np.ndarray]


class Darks:
    """The dark runs seen so far; the latest that ended before a run is that run's dark.

    Chosen by the times in the documents and not by arrival, so that a replay that brings the dark
    runs first chooses the same. Threads may share them.
    """

    def __init__(self) -> None:
        self._darks: dict[str, Dark] = {}
        self._lock = threading.Lock()

    def add(self, dark: Dark) -> None:
        """Remember a dark run, and forget the one added first of many."""
        with self._lock:
            self._darks.pop(dark.run_uid, None)
            self._darks[dark.run_uid] = dark
            if len(self._darks) > MAX_DARKS:
                del self._darks[next(iter(self._darks))]

    def get(self, run_uid: str) -> Dark | None:
        """Return what a dark run left, or None."""
        return self._darks.get(run_uid)

    def before(
        self, time: float, columns: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return for each role its dark and the uids of the dark runs, latest before ``time``.

        A dark whose shape does not fit a role's column is of other detectors and is passed over.
        """
        with self._lock:
            darks = list(self._darks.values())
        earlier = sorted((dark for dark in darks if dark.ended <= time), key=_order)
        means: dict[str, np.ndarray] = {}
        source: dict[str, str] = {}
        for dark in earlier:
            for role, mean in dark.means.items():
                if role in columns and _fits(mean, columns[role]):
                    means[role], source[role] = mean, dark.run_uid
        return means, tuple(sorted(set(source.values())))


def _order(dark: Dark) -> tuple[float, str]:
    return dark.ended, dark.run_uid


def _fits(mean: np.ndarray, column: np.ndarray) -> bool:
    return mean.shape in (column.shape[1:], column.shape)
