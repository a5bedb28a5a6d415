"""A simulated map from the RunEngine to the catalog while it is measured, and its truth."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nearedge.sim.beamline_process import BeamlineOutcome, BeamlineProcess
from nearedge.sim.demo import LOOK_S, PATIENCE_S, DemoResults, running_demo
from nearedge.sim.map_beamline import map_of
from nearedge.sim.maps import COMPARED, MapComparison, compare_figures
from nearedge.streaming.catalog.maps import Maps
from nearedge.streaming.commands.opening import Server, maps_box
from nearedge.streaming.commands.starting import Starting
from nearedge.streaming.settings.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class MapDemoReport:
    """How the demo of a live map ended.

    Attributes
    ----------
    profile
        The profile, with the addresses and folders that it used.
    comparisons
        Each map against the truth.
    outcome
        How the beamline ended; None when it was interrupted.
    lag_s
        The longest time from the measurement of a pixel until the catalog had it, s.
    finish_s
        Seconds from the end of the last run until its map was complete; None if it never was.
    """

    profile: Profile
    comparisons: tuple[MapComparison, ...]
    outcome: BeamlineOutcome | None
    lag_s: float
    finish_s: float | None

    @property
    def good(self) -> bool:
        """Whether each map is there, each of its pixels answered or flagged."""
        return (
            self.outcome is not None
            and self.outcome.good
            and len(self.comparisons) == self.profile.simulator.scans
            and all(one.good for one in self.comparisons)
        )


def run_live_map_demo(
    profile: Profile,
    directory: Path,
    console: Console,
    tell: Starting,
    *,
    stay: bool = False,
) -> MapDemoReport:
    """Measure maps live until each is complete in the catalog, and compare them with the truth.

    Parameters as for `nearedge.sim.demo.run_demo`.
    """
    results = DemoResults()
    with running_demo(profile, directory, console, tell, results) as demo:
        profile = demo.profile
        outcome = _await_end(demo.beamline, results, profile, demo.stopped)
        if stay:
            demo.stay()
        comparisons = () if outcome is None else tuple(_compared(profile, demo.server, outcome))
    rows = results.maps()
    done = [row for row in rows if row.status == "complete"]
    return MapDemoReport(
        profile=profile,
        comparisons=comparisons,
        outcome=outcome,
        lag_s=max((row.latency_s for row in rows if row.status != "complete"), default=0.0),
        finish_s=max((row.latency_s for row in done), default=None),
    )


def _await_end(
    beamline: BeamlineProcess, results: DemoResults, profile: Profile, stopped: threading.Event
) -> BeamlineOutcome | None:
    outcome = None
    while outcome is None and not stopped.is_set():
        outcome = beamline.outcome(wait_s=LOOK_S)
    ended_at = time.monotonic()
    while outcome is not None and not stopped.wait(LOOK_S):
        complete = {row.key for row in results.maps() if row.status == "complete"}
        if outcome.error or len(complete) >= profile.simulator.scans:
            break
        if time.monotonic() - max(ended_at, results.newest_at) > PATIENCE_S:
            break
    return None if stopped.is_set() else outcome


def _compared(profile: Profile, server: Server, outcome: BeamlineOutcome) -> list[MapComparison]:
    """Return the comparison of each map that the catalog has whole."""
    simulated, maps = map_of(profile), Maps(maps_box(profile, server))
    stored = [next(maps.search(raw_uid=uid), None) for uid in outcome.uids]
    return [
        compare_figures(simulated, {name: one[name] for name in COMPARED})
        for one in stored
        if one is not None and one.shape == simulated.cn_mean.shape
    ]


def print_map_report(report: MapDemoReport, console: Console) -> None:
    """Print the comparison with the truth."""
    for comparison in report.comparisons:
        for line in comparison.lines():
            console.print(line, highlight=False)
    console.print(
        f"from the measurement of a pixel to the catalog: {report.lag_s:.1f} s at most",
        highlight=False,
    )
    if report.finish_s is not None:
        console.print(
            f"from the last pixel to the complete map: {report.finish_s:.1f} s", highlight=False
        )
    missing = report.profile.simulator.scans - len(report.comparisons)
    if missing:
        console.print(f"[red]{missing} maps are not complete in the catalog")
    if report.outcome is None:
        console.print("[red]interrupted before the end")
    elif report.outcome.error:
        console.print(f"[red]the beamline ended early: {report.outcome.error}")
    elif report.outcome.not_stored:
        console.print(f"[red]{report.outcome.not_stored} raw documents were not stored in Tiled")
