"""Dark runs that outlive the process that saw them, and those that only the catalog has."""

from collections.abc import Callable, Mapping
from typing import Any

from tiled.queries import Comparison, In, KeyPresent

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.recognise import DARK_ROLES, MAX_DARKS, Dark, Darks, Kind, recognise
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.ledger.darks import StoredDarks
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.sources.tiled_source import documents_of

MOST = 8
"""As many dark runs before one run are looked at, the latest first."""


class KeptDarks(Darks):
    """The dark runs that a ledger knows, and those to come, which it keeps.

    Parameters
    ----------
    kept
        Where they outlive this process.
    """

    def __init__(self, kept: StoredDarks) -> None:
        super().__init__()
        self._kept = kept
        for payload in kept.payloads():
            super().add(unpack(payload))

    def add(self, dark: Dark) -> None:
        """Remember a dark run, here and in the ledger."""
        super().add(dark)
        self._kept.put(dark.run_uid, pack(dark), ended=dark.ended, kept=MAX_DARKS)


class DarkRuns:
    """The dark runs of a catalog.

    Parameters
    ----------
    raw
        Returns the Tiled container of raw runs.
    instrument
        Tells which runs are dark, and of which detectors.
    """

    def __init__(self, raw: Callable[[], Client], instrument: Instrument) -> None:
        self._raw, self._instrument = raw, instrument
        self._wanted = {role for role in DARK_ROLES if getattr(instrument.roles, role)}

    def recall(self, start: Mapping[str, Any], into: Darks) -> None:
        """Add the dark runs that a run may need, so that any order of runs gives one answer.

        Parameters
        ----------
        start
            The run's start document.
        into
            Where they are added.

        Raises
        ------
        httpx.HTTPError
            If the server refuses or is away.
        """
        time = start.get("time")
        is_sample = recognise(start, self._instrument.recognise) is Kind.SAMPLE
        if is_sample and self._wanted and isinstance(time, int | float):
            self.recall_before(time, into)

    def recall_before(self, time: float, into: Darks) -> None:
        """Add the latest dark runs that began before a time; errors as for `recall`."""
        raw = self._raw()
        found: set[str] = set()
        for uid in self._before(raw, time):
            dark = into.get(uid) or self._read(raw, uid, into)
            if dark is not None and dark.ended <= time:
                found |= dark.means.keys()
            if found >= self._wanted:
                return

    def _before(self, raw: Client, time: float) -> list[str]:
        """Return the uids of dark runs, the latest first."""
        began: dict[str, float] = {}
        for key, value in self._instrument.recognise.dark.items():
            ended = raw.search(KeyPresent("stop.exit_status"))
            marked = ended.search(In(f"start.{key}", _spellings(value)))
            earlier = marked.search(Comparison("lt", "start.time", time))
            for uid, run in earlier.sort(("start.time", -1)).items().head(MOST):
                began[uid] = run.metadata["start"]["time"]
        return sorted(began, key=lambda uid: (began[uid], uid), reverse=True)[:MOST]

    def _read(self, raw: Client, uid: str, into: Darks) -> Dark | None:
        assembler = Assembler(self._instrument, emit=lambda measurement: None, darks=into)
        for name, doc in documents_of(raw, uid):
            assembler(name, doc)
        return into.get(uid)


def _spellings(value: str | bool | int) -> list[str | bool | int]:
    """Return the ways to write a value that `recognise` takes for the same; a query knows none."""
    if not isinstance(value, str):
        return [value]
    return list(dict.fromkeys([value, value.lower(), value.upper(), value.capitalize()]))
