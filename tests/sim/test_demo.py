import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.sim.beamline_process import BeamlineOutcome
from nearedge.sim.commands import simulated
from nearedge.sim.demo import (
    DemoReport,
    DemoResults,
    await_end,
    expected_spectra,
    keep_files,
    placed,
    print_report,
    troubles,
)
from nearedge.sim.proxy import ProxyAddress
from nearedge.streaming.catalog.connection import connect
from nearedge.streaming.catalog.results import Results
from nearedge.streaming.commands.opening import connected
from nearedge.streaming.ledger.job import State
from nearedge.streaming.settings.configuration import load_profile
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.run_documents import documents_of


@pytest.mark.parametrize(
    ("mode", "finish", "expected"),
    [
        ("transmission", {"when": "stop"}, 3),
        ("eels", {"when": "stop"}, 3),
        ("eels", {"when": "event"}, 12),
        ("eels-files", {"when": "events", "n": 3}, 6),
        ("fluorescence", {"when": "stream"}, 3),
    ],
)
def test_expected_spectra(mode: str, finish: dict, expected: int) -> None:
    profile = Profile(
        instrument=Instrument.model_validate({"finish": finish}),
        simulator={"mode": mode, "scans": 3, "frames": 4},  # type: ignore[arg-type]
    )
    assert expected_spectra(profile) == expected


def test_demo_changes_no_setting_that_changes_an_answer(tmp_path: Path) -> None:
    profile = load_profile(("eels-files",), environ={})
    changed = placed(profile, tmp_path, ProxyAddress(inward="a:1", outward="b:2"))
    assert changed.digest() == profile.digest()
    assert (changed.simulator.publish, changed.source.address) == ("a:1", "b:2")
    assert changed.instrument.readable_roots == changed.catalog.readable


def test_options_override_the_profile() -> None:
    profile = simulated(None, scans=2, samples=5, device="cpu")
    assert profile.simulator.mode == "transmission"
    assert (profile.simulator.scans, profile.worker.samples) == (2, 5)


class Ended:
    """A beamline that has ended."""

    def __init__(self, outcome: BeamlineOutcome | None) -> None:
        self._outcome = outcome

    def outcome(self, *, wait_s: float) -> BeamlineOutcome | None:
        return self._outcome


def report(rows: tuple, *, expected: int, outcome: BeamlineOutcome | None) -> DemoReport:
    return DemoReport(profile=simulated(None), rows=rows, expected=expected, outcome=outcome)


def test_demo_is_good_only_when_all_is_there(result: Callable) -> None:
    rows = (result(0.0), result(60.0))
    failed = (result(0.0), result(60.0, status=State.FAILED))
    assert report(rows, expected=2, outcome=BeamlineOutcome()).good
    assert not report(rows, expected=3, outcome=BeamlineOutcome()).good
    assert not report(failed, expected=2, outcome=BeamlineOutcome()).good
    assert not report(rows, expected=2, outcome=BeamlineOutcome(not_stored=1)).good
    assert not report(rows, expected=2, outcome=BeamlineOutcome(error="x")).good
    assert not report(rows, expected=2, outcome=None).good
    assert not report((), expected=0, outcome=BeamlineOutcome()).good


def test_every_trouble_is_told() -> None:
    bad = report((), expected=1, outcome=BeamlineOutcome(error="no beam", not_stored=3))
    assert list(troubles(bad)) == [
        "the beamline ended early: no beam",
        "3 raw documents were not stored in Tiled",
    ]
    assert list(troubles(report((), expected=1, outcome=None))) == ["interrupted before the end"]


def test_waiting_ends_when_the_results_are_there(result: Callable) -> None:
    results = DemoResults()
    results.add(result(0.0, simulated=False))  # as a dark: does not count
    results.add(result(0.0))
    outcome = BeamlineOutcome(uids=("run-0.0",))
    one = simulated(None, scans=1)
    assert await_end(Ended(outcome), results, one, threading.Event()) is outcome
    assert len(results.rows()) == 1


def test_waiting_ends_at_once_when_the_beamline_broke() -> None:
    outcome = BeamlineOutcome(error="no proxy")
    profile = simulated(None, scans=1)
    assert await_end(Ended(outcome), DemoResults(), profile, threading.Event()) is outcome


def test_waiting_ends_on_a_signal() -> None:
    stopped = threading.Event()
    stopped.set()
    assert await_end(Ended(None), DemoResults(), simulated(None), stopped) is None


def test_report_is_printed_and_kept(result: Callable, tmp_path: Path) -> None:
    done = report((result(0.0), result(60.0)), expected=2, outcome=BeamlineOutcome())
    console = Console(width=80, record=True)
    print_report(done, console)
    assert "2 of 2 spectra have a complete result" in console.export_text()
    (tmp_path / "raw-backup").mkdir()
    keep_files(done, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.png", "profile.yaml"]
    again = load_profile((str(tmp_path / "profile.yaml"),), environ={})
    assert again == done.profile


@pytest.mark.system
@pytest.mark.timeout(300)
def test_demo_from_scan_to_catalog(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nearedge.streaming", "demo"]
    options = ["--scans", "2", "--samples", "4", "--keep", str(tmp_path)]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 of 2 spectra have a complete result" in ran.stdout
    profile = load_profile((str(tmp_path / "profile.yaml"),), environ={})
    with connected(profile) as server, ExitStack() as stack:
        client = connect(server.uri, api_key=server.api_key)
        stack.enter_context(client.context)
        found = list(Results(client[profile.catalog.results]).search())
        assert len(found) == 2
        for entry in found:
            assert entry.status == "complete"
            assert entry.metadata["raw"]["uid"] in client[profile.catalog.raw]
            assert entry.positions.shape[0] == 4
            again = replayed(client[profile.catalog.raw], entry, profile)
            assert entry.metadata["context"] == again.context
            assert entry.metadata["units"] == again.units
            assert again.units == {"press-pressure": "GPa", "ring-current": "mA"}
            assert "simulation.truth.cn_mean" in again.context


def replayed(raw: Any, entry: Any, profile: Profile) -> Measurement:
    """What the stored run of a result becomes when it is assembled again."""
    found: list[Measurement] = []
    assembler = Assembler(profile.instrument, emit=found.append)
    for name, doc in documents_of(raw, entry.metadata["raw"]["uid"]):
        assembler(name, doc)
    return found[-1]
