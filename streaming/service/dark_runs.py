"""Dark runs that outlive the process that saw them, and those that only the catalog has."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from tiled.client.utils import ClientError
from tiled.queries import Comparison, In, KeyPresent

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.recognise import DARK_ROLES, MAX_DARKS, Dark, Darks, Kind, recognise
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.raw_runs import is_unsupported, looked_through
from nearedge.streaming.ledger.darks import StoredDarks
from nearedge.streaming.ledger.packing import pack, unpack
from nearedge.streaming.sources.run_documents import documents_of

MOST = 8
"""As many dark runs before one run are looked at, the latest first."""
LOOK_S = 300.0
"""Between two looks through a whole catalog that cannot be asked for dark runs, s."""


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
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        raw: Callable[[], Client],
        instrument: Instrument,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raw, self._instrument, self._clock = raw, instrument, clock
        self._looked: dict[str, float] = {}
        self._look_again = float("-inf")
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
        began = start.get("time")
        is_sample = recognise(start, self._instrument.recognise) is Kind.SAMPLE
        if is_sample and self._wanted and isinstance(began, int | float):
            self.recall_before(began, into)

    def recall_before(self, moment: float, into: Darks) -> None:
        """Add the latest dark runs that began before a time; errors as for `recall`."""
        raw = self._raw()
        found: set[str] = set()
        for uid in self._before(raw, moment):
            dark = into.get(uid) or self._read(raw, uid, into)
            if dark is not None and dark.ended <= moment:
                found |= dark.means.keys()
            if found >= self._wanted:
                return

    def _before(self, raw: Client, moment: float) -> list[str]:
        """Return the uids of dark runs, the latest first."""
        try:
            began = self._found(raw, moment)
        except ClientError as e:
            if not is_unsupported(e):
                raise
            began = {uid: t for uid, t in self._all(raw).items() if t < moment}
        return sorted(began, key=lambda uid: (began[uid], uid), reverse=True)[:MOST]

    def _found(self, raw: Client, moment: float) -> dict[str, float]:
        """Return the dark runs that the server finds, and when they began."""
        began: dict[str, float] = {}
        for key, value in self._instrument.recognise.dark.items():
            ended = raw.search(KeyPresent("stop.exit_status"))
            marked = ended.search(In(f"start.{key}", _spellings(value)))
            earlier = marked.search(Comparison("lt", "start.time", moment))
            for uid, run in earlier.sort(("start.time", -1)).items().head(MOST):
                began[uid] = run.metadata["start"]["time"]
        return began

    def _all(self, raw: Client) -> dict[str, float]:
        """Return all dark runs of a catalog that cannot be asked for them; not often anew."""
        if self._clock() >= self._look_again:

            def dark(start: dict[str, Any], stop: dict[str, Any]) -> bool:
                marked = recognise(start, self._instrument.recognise) is Kind.DARK
                return marked and bool(stop.get("exit_status"))

            self._looked = {uid: began for began, uid in looked_through(raw, dark)}
            self._look_again = self._clock() + LOOK_S
        return self._looked

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
