"""What the assembler makes of documents: one measurement per finished spectrum."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where a measurement comes from.

    Attributes
    ----------
    uid, scan_id
        The uid and the scan id of the run's start document.
    time
        The start document's, seconds since the epoch.
    start
        The whole start document.
    """

    uid: str
    scan_id: int | None
    time: float
    start: dict[str, Any]

    @property
    def sample(self) -> str | None:
        """Name of the sample where the start document gives one, its first characters."""
        found = self.start.get("sample_name") or self.start.get("sample")
        name = found.get("name") if isinstance(found, dict) else found
        return name[:LONGEST_NAME] if isinstance(name, str) and name else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """The columns of one spectrum, by role, as they were measured.

    Attributes
    ----------
    run, stream
        The run and the stream whose spectrum this is.
    spectrum
        Its name within the stream: ``"0"`` for the only one of a run, else the ``seq_num`` of the
        event that finished it. Of several places whose readings come mixed, ``"0.1"``, ``"0.2"`` …
        in the order of their positions. Part of the result's key, so it must not depend on the
        order in which documents of several runs arrive.
    columns
        For each role of the profile (``energy``, ``i0``, ``spectrum`` …) an array (n,), or
        (n, elements) for a multi-element detector.
    complete
        False for a spectrum of a scan that aborted, or that still runs.
    final
        False while more may come: a partial answer is shown and never stored as a result.
    time
        When the last of it was measured, seconds since the epoch.
    flags
        Short words: ``aborted``, ``gap`` …
    context
        Single numbers for trends: those that the profile names first (pressure, temperature …),
        then those of the baseline and of the start document.
    units
        The units of those to which the documents give one.
    dark
        For the roles that a dark run measured before, its mean: what ``reduce`` subtracts. A
        scalar (), or (n,) for a whole spectrum, or (elements,).
    dark_runs
        The uids of those dark runs.
    keys
        Data keys that the stream has, for telling why a role is empty.
    problems
        Sentences on data that could not be read.
    unlike
        Why its readings are no repeats of one spectrum, a sentence; empty where they are.
    merged_from
        For a merge of stored spectra: of each its ``key``, ``run_uid``, ``scan_id``, ``stream``,
        ``spectrum`` and the figures of `nearedge.callbacks.merging.Share`. Empty for what was
        measured.
    """

    run: Run
    stream: str
    spectrum: str
    columns: dict[str, np.ndarray]
    complete: bool
    final: bool
    time: float
    flags: tuple[str, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    dark: dict[str, np.ndarray] = field(default_factory=dict)
    dark_runs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unlike: str = ""
    merged_from: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Documents of a run that should have come and did not.

    Attributes
    ----------
    run_uid
        The uid of the run, as far as known (a descriptor's uid where no start was seen).
    detail
        What was missing.
    """

    run_uid: str
    detail: str
