"""Invert stored runs with the code of the live service."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from nearedge.models.answering.cards import read_cards
from nearedge.streaming.catalog.connection import raw_container, results_container
from nearedge.streaming.catalog.map_comparing import OTHER_GROUPS, ComparingMaps
from nearedge.streaming.catalog.storing import Comparing
from nearedge.streaming.catalog.trouble import told
from nearedge.streaming.commands.opening import (
    Server,
    archive_of,
    client_of,
    connected,
    ledger_for,
    maps_box,
    maps_of,
    method_of,
    results_of,
    serving,
)
from nearedge.streaming.commands.stopping import stop_signals
from nearedge.streaming.commands.table import showing
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.map_row import MapRow, MapStatus
from nearedge.streaming.service.known import Known
from nearedge.streaming.service.map_work import MapStore
from nearedge.streaming.service.recovery import Archive
from nearedge.streaming.service.service import Audience, Listener, Service
from nearedge.streaming.service.writing import Put
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.jsonl_source import JsonlSource
from nearedge.streaming.sources.source import Source
from nearedge.streaming.sources.tiled_source import TiledSource

logger = logging.getLogger(__name__)

LOOK_S = 0.5
UNREADABLE = "unreadable runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which documents to replay.

    Attributes
    ----------
    uids
        Raw runs; none: all that have ended.
    since
        Only runs that began from then on, seconds since the epoch.
    files
        Files of JSON lines, instead of the catalog.
    """

    uids: tuple[str, ...] = ()
    since: float | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOutcome:
    """How a replay ended.

    Attributes
    ----------
    counts
        Spectra by what became of them.
    interrupted
        Whether it was stopped before its end.
    differences
        By how much figures of pixels differ at most, in words.
    """

    counts: dict[str, int]
    interrupted: bool
    differences: str = ""

    @property
    def good(self) -> bool:
        """Whether everything was done and nothing failed, differed or was missing."""
        bad = (State.FAILED, "different", OTHER_GROUPS, "missing", UNREADABLE)
        return not self.interrupted and not any(self.counts.get(name) for name in bad)

    def text(self) -> str:
        """Return the counts in words."""
        counted = ", ".join(f"{n} {name}" for name, n in self.counts.items()) or "no spectra"
        if self.differences:
            counted = f"{counted}; largest differences of a figure: {self.differences}"
        return f"{counted} (interrupted)" if self.interrupted else counted


def moment(text: str) -> float:
    """Return the seconds since the epoch of an ISO date and time; local unless it says otherwise.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as e:
        raise ValueError(
            f"{text!r} is no date and time: expected the form 2026-11-22 or 2026-11-22T10:30"
        ) from e


def replay(profile: Profile, selection: Selection, *, console: Console) -> ReplayOutcome:
    """Invert what has no result yet, and write it.

    Parameters
    ----------
    profile
        Names catalog, instrument and model.
    selection
        Which documents.
    console
        Where rows are shown as they come.

    Notes
    -----
    A run that cannot be read is counted, and the next one is read.
    """
    done: Counter[str] = Counter()
    with connected(profile) as server, ledger_for(profile, server) as ledger:
        archive = archive_of(profile, server)
        ledger.align(archive.finished())
        method = method_of(profile, card=read_cards(profile.worker.model))
        known = Known(ledger, settings=method.settings, keys=method.only_keys)
        with _replaying(
            profile,
            _source(profile, server, selection, known=known, done=done),
            ledger=ledger,
            put=results_of(profile, server).put,
            maps=maps_of(profile, server),
            archive=archive,
            console=console,
            count=lambda row: done.update([row.status]),
            count_map=lambda row: done.update(_whole(row)),
        ) as service:
            interrupted = not _drain(service)
            done["known before"] = service.known + known.spectra
            done[UNREADABLE] += len(service.unreadable)
    return ReplayOutcome(counts=dict(+done), interrupted=interrupted)


def verify(profile: Profile, selection: Selection, *, console: Console) -> ReplayOutcome:
    """Invert again what was inverted, and compare; nothing is written.

    Single spectra and the groups of maps are compared bit by bit, figures of pixels within
    `nearedge.streaming.catalog.map_comparing.TOLERANCE`.

    Parameters as for `replay`.
    """
    done: Counter[str] = Counter(equal=0)
    with connected(profile) as server, closing(Ledger(":memory:")) as ledger:
        comparing = Comparing(results_container(client_of(server), profile.catalog.results))
        maps = ComparingMaps(maps_box(profile, server)) if _makes_maps(profile) else None
        with _replaying(
            profile,
            _source(profile, server, selection, known=Known(ledger), done=done),
            ledger=ledger,
            put=comparing.put,
            maps=maps,
            archive=archive_of(profile, server),
            console=console,
            count=lambda row: done.update(["failed"] if row.status is State.FAILED else []),
        ) as service:
            interrupted = not _drain(service)
            done[UNREADABLE] += len(service.unreadable)
    done.update(comparing.counts)
    differences = ""
    if maps is not None:
        done.update(maps.counts)
        differences = maps.told()
    return ReplayOutcome(counts=dict(done), interrupted=interrupted, differences=differences)


def _makes_maps(profile: Profile) -> bool:
    return profile.instrument.finish.when == "pixel"


def _whole(row: MapRow) -> list[str]:
    return ["complete maps"] if row.status is MapStatus.COMPLETE else []


@contextmanager
def _replaying(
    profile: Profile,
    source: Source,
    *,
    ledger: Ledger,
    put: Put,
    maps: MapStore | None = None,
    archive: Archive,
    console: Console,
    count: Listener,
    count_map: Callable[[MapRow], None] = lambda row: None,
) -> Iterator[Service]:
    with (
        showing(console, counts=ledger.backlog.counts) as show,
        serving(
            profile,
            source=source,
            ledger=ledger,
            put=put,
            maps=maps,
            live=False,
            archive=archive,
            audience=Audience(rows=[count, show], maps=[count_map, show.map]),
        ) as service,
    ):
        yield service


def _drain(service: Service) -> bool:
    """Wait until everything is done; return False when a signal asks to stop first."""
    with stop_signals() as stopped:
        while not service.drain(LOOK_S):
            if stopped.is_set():
                return False
    if service.broken is not None:
        raise service.broken
    return True


def _source(
    profile: Profile, server: Server, selection: Selection, *, known: Known, done: Counter[str]
) -> Source:
    if selection.files:
        return JsonlSource(selection.files)

    def pass_over(uid: str, error: Exception) -> None:
        done[UNREADABLE] += 1
        reason = error.args[0] if isinstance(error, KeyError) else told(error)
        logger.error("run %s is passed over: %s", uid, reason, extra={"run_uid": uid})

    raw = raw_container(client_of(server), profile.catalog.raw)
    return TiledSource(
        raw,
        uids=selection.uids or None,
        since=selection.since,
        skip=known.among,
        on_unreadable=pass_over,
    )
