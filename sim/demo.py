"""The whole system on one machine: proxy, Tiled, service and beamline, none of them mocked."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from nearedge.models.answering.cards import read_cards
from nearedge.sim.beamline_process import (
    BeamlineOutcome,
    BeamlineProcess,
    Storage,
    running_beamline,
)
from nearedge.sim.comparison import compare, summary_table, verdict
from nearedge.sim.proxy import ProxyAddress, running_proxy
from nearedge.streaming.commands.opening import (
    Server,
    archive_of,
    connected,
    ledger_for,
    maps_of,
    page_of,
    results_of,
    serving,
)
from nearedge.streaming.commands.starting import Starting
from nearedge.streaming.commands.stopping import stop_signals
from nearedge.streaming.commands.table import showing
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.map_row import MapRow
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.doorstep import Doorstep
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.service.bus import beating, opened_bus
from nearedge.streaming.service.service import Audience
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.zmq_source import ZmqSource

BACKUP = "raw-backup"  # documents that Tiled did not take
LOOK_S = 0.25
PATIENCE_S = 180.0  # without any new result, after the beamline has ended
READY_S = 120.0  # on a machine that does much else


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """How a demo ended.

    Attributes
    ----------
    profile
        The profile, with the addresses and folders that it used.
    rows
        Every result, in the order in which they came.
    expected
        How many spectra were measured.
    outcome
        How the beamline ended; None when it was interrupted.
    """

    profile: Profile
    rows: tuple[Row, ...]
    expected: int
    outcome: BeamlineOutcome | None

    @property
    def good(self) -> bool:
        """Whether every spectrum has its complete result, and every raw run was stored."""
        complete = sum(row.status is State.COMPLETE for row in self.rows)
        return self.outcome is not None and self.outcome.good and complete == self.expected > 0


class DemoResults:
    """Rows of measured specimens, as the service's threads bring them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows: list[Row] = []
        self._maps: list[MapRow] = []
        self._clock = clock
        self._lock = threading.Lock()
        self.newest_at = clock()

    def add(self, row: Row) -> None:
        """Take one row; darks, which are never inverted, do not count."""
        if "simulation" in row.measurement.run.start:
            with self._lock:
                self._rows.append(row)
                self.newest_at = self._clock()

    def add_map(self, row: MapRow) -> None:
        """Take how far a map is."""
        with self._lock:
            self._maps.append(row)
            self.newest_at = self._clock()

    def maps(self) -> tuple[MapRow, ...]:
        """Return what has come of maps so far."""
        with self._lock:
            return tuple(self._maps)

    def rows(self) -> tuple[Row, ...]:
        """Return those that have come so far."""
        with self._lock:
            return tuple(self._rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDemo:
    """A demo whose service answers and whose beamline measures.

    Attributes
    ----------
    profile
        The profile, with the addresses and folders that it uses.
    server, beamline
        The catalog's server, and the process that measures.
    stopped
        Set once somebody wants the end.
    console
        Where results are printed.
    """

    profile: Profile
    server: Server
    beamline: BeamlineProcess
    stopped: threading.Event
    console: Console

    def stay(self) -> None:
        """Keep the page until somebody wants the end."""
        if not self.stopped.is_set():
            self.console.print("everything is measured; the page stays until Ctrl-C")
            self.stopped.wait()


@contextmanager
def running_demo(
    profile: Profile,
    directory: Path,
    console: Console,
    tell: Starting,
    results: DemoResults,
    *,
    note: str = "",
) -> Iterator[RunningDemo]:
    """Start proxy, server, service and beamline one after the other; stop them at the end.

    Parameters and errors as for `run_demo`; ``results`` takes the results as they come, and
    ``note`` goes behind what is said of the beamline.
    """
    read_cards(profile.worker.model)  # a missing model is told before anything is started
    with ExitStack() as stack:
        stopped = stack.enter_context(stop_signals())
        tell("starting a 0MQ proxy …")
        proxy = stack.enter_context(running_proxy())
        profile = placed(profile, directory, proxy)
        tell("starting a Tiled server …")
        server = stack.enter_context(connected(profile))
        tell("starting the service and its worker …")
        stack.enter_context(serving_demo(profile, server, console, results, tell.waiting))
        tell(f"starting the simulated beamline{note} …")
        beamline = stack.enter_context(
            running_beamline(profile, storage(profile, server, directory))
        )
        yield RunningDemo(
            profile=profile, server=server, beamline=beamline, stopped=stopped, console=console
        )


def run_demo(
    profile: Profile,
    directory: Path,
    console: Console,
    tell: Starting,
    *,
    stay: bool = False,
) -> DemoReport:
    """Run everything until each simulated spectrum has its result.

    Parameters
    ----------
    profile
        What is simulated; its addresses and folders are replaced.
    directory
        The folder of the catalog, the ledger and the camera's files.
    console
        Where results are printed.
    tell
        Says what is being started, also at the page's address until the page answers there.
    stay
        Whether the page stays once everything is measured.

    Raises
    ------
    nearedge.models.answering.card.CardError
        If the model's weights or card are missing.
    """
    results = DemoResults()
    started = running_demo(
        profile, directory, console, tell, results, note="; its first scan takes some seconds"
    )
    with started as demo:
        outcome = await_end(demo.beamline, results, demo.profile, demo.stopped)
        if stay:
            demo.stay()
    return DemoReport(
        profile=demo.profile,
        rows=results.rows(),
        expected=expected_spectra(demo.profile),
        outcome=outcome,
    )


def placed(profile: Profile, directory: Path, proxy: ProxyAddress) -> Profile:
    """Return the profile with the demo's own addresses and folders."""
    frames = str(directory / "frames")
    prefix = profile.simulator.prefix
    changes = {
        "source": {"address": proxy.outward, "prefix": prefix},
        "simulator": {"publish": proxy.inward},
        "catalog": {
            "uri": None,
            "directory": str(directory / "catalog"),
            "readable": (frames,),
        },
        "service": {"ledger": str(directory / "ledger.sqlite")},
        "bus": {"address": "127.0.0.1:0"},  # beside a service that runs
        "instrument": {"readable_roots": (frames,)},
    }
    return profile.model_copy(
        update={
            name: getattr(profile, name).model_copy(update=update)
            for name, update in changes.items()
        }
    )


@contextmanager
def serving_demo(
    profile: Profile,
    server: Server,
    console: Console,
    results: DemoResults,
    waiting: Doorstep | None,
) -> Iterator[None]:
    """Run the service, as `nearedge run` does."""
    source, feed = ZmqSource(profile.source), Feed()
    with (
        opened_bus(profile.bus) as bus,
        ledger_for(profile, server) as ledger,
        showing(console, counts=ledger.backlog.counts) as show,
        serving(
            profile,
            source=source,
            ledger=ledger,
            put=results_of(profile, server).put,
            maps=maps_of(profile, server),
            archive=archive_of(profile, server),
            audience=Audience(
                rows=[results.add, show, feed, bus.row],
                answers=[feed],
                partials=[feed.show_partial, bus.partial],
                left_out=[bus.left_out],
                maps=[results.add_map, show.map, feed.show_map, bus.map],
            ),
        ) as service,
        beating(bus, service, every_s=profile.bus.heartbeat_s),
        page_of(profile, service=service, feed=feed, server=server, waiting=waiting),
    ):
        service.metrics.watch_live(source, service.worker)
        if not source.ready.wait(READY_S):
            raise RuntimeError(f"no connection to the 0MQ proxy at {profile.source.address}")
        yield


def storage(profile: Profile, server: Server, directory: Path) -> Storage:
    """Return where the beamline stores its raw runs."""
    return Storage(
        uri=server.uri,
        key=server.api_key,
        container=profile.catalog.raw,
        backup=directory / BACKUP,
        files=directory / "frames",
    )


def expected_spectra(profile: Profile) -> int:
    """Return how many spectra the simulated runs hold."""
    settings, finish = profile.simulator, profile.instrument.finish
    events = settings.frames if settings.mode.startswith("eels") else settings.points
    if finish.when in ("stop", "stream"):
        return settings.scans
    return settings.scans * -(-events // (finish.n if finish.when == "events" else 1))


def await_end(
    beamline: BeamlineProcess, results: DemoResults, profile: Profile, stopped: threading.Event
) -> BeamlineOutcome | None:
    """Wait until the beamline has ended and its results are there, or nothing comes any more."""
    expected = expected_spectra(profile)
    outcome = None
    while outcome is None and not stopped.is_set():
        outcome = beamline.outcome(wait_s=LOOK_S)
    ended_at = time.monotonic()
    while outcome is not None and len(results.rows()) < expected and not stopped.wait(LOOK_S):
        if outcome.error or time.monotonic() - max(ended_at, results.newest_at) > PATIENCE_S:
            break
    return None if stopped.is_set() else outcome


def print_report(report: DemoReport, console: Console) -> None:
    """Print the comparison with the truth."""
    comparisons = compare(report.rows)
    console.print(summary_table(comparisons))
    for line in verdict(comparisons, expected=report.expected):
        console.print(line, highlight=False)
    for line in troubles(report):
        console.print(f"[red]{line}")


def troubles(report: DemoReport) -> Iterator[str]:
    """Yield what else went wrong."""
    if report.outcome is None:
        yield "interrupted before the end"
        return
    if report.outcome.error:
        yield f"the beamline ended early: {report.outcome.error}"
    if report.outcome.not_stored:
        yield f"{report.outcome.not_stored} raw documents were not stored in Tiled"


def keep_files(report: DemoReport, directory: Path) -> None:
    """Write a profile that replays the demo, and its picture."""
    from nearedge.sim.figure import draw
    from nearedge.sim.silica import silica

    settings = report.profile.model_dump(mode="json")
    (directory / "profile.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    instrument = report.profile.instrument
    specimen = silica(instrument.absorber, instrument.edge)
    draw(compare(report.rows), specimen, directory / "demo.png")
    backup = directory / BACKUP
    if backup.is_dir() and not any(backup.iterdir()):
        backup.rmdir()
