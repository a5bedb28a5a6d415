import io
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.suspenders import SuspendBoolLow
from bluesky.utils import FailedStatus
from bluesky_tiled_plugins import TiledWriter
from event_model import DocumentNames, schema_validators
from ophyd.sim import SynAxis
from ophyd_async.core import init_devices

from nearedge.streaming.acquisition import AsyncNearEdge, NearEdge, NoAnswerError
from nearedge.streaming.acquisition.answer import FIGURES, WORDS
from nearedge.streaming.catalog.connection import raw_container, results_container
from nearedge.streaming.catalog.results import Provenance, ResultWriter
from nearedge.streaming.service.notices import heartbeat
from tests.streaming.acquisition.conftest import READY, until

NAMES = {*FIGURES, *WORDS, "ood_flag"}


@pytest.fixture(scope="module")
def engine() -> RunEngine:
    """One for all: its loop cannot be closed."""
    return RunEngine({}, context_managers=[])


@pytest.fixture
def RE(engine: RunEngine) -> Iterator[RunEngine]:  # noqa: N802 - as every session calls it
    yield engine
    engine.dispatcher.unsubscribe_all()
    engine.clear_suspenders()


def classic(answers, **settings) -> NearEdge:
    return NearEdge(name="nearedge", answers=answers, **settings)


def modern(answers, **settings) -> AsyncNearEdge:
    with init_devices():
        nearedge = AsyncNearEdge(answers=answers, **settings)
    return nearedge


@pytest.fixture(params=[classic, modern])
def make(request) -> Callable[..., Any]:
    """Make the device, of either kind."""
    return request.param


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the device by the names of its signals: ophyd writes nearedge_cn_mean,
    ophyd-async nearedge-cn_mean."""
    return {
        name.removeprefix("nearedge")[1:]: value
        for name, value in fields.items()
        if name.startswith("nearedge")
    }


class Log:
    """The documents of a RunEngine."""

    def __init__(self, RE: RunEngine) -> None:
        self.documents: list[tuple[str, dict[str, Any]]] = []
        RE.subscribe(lambda name, doc: self.documents.append((name, doc)))

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [doc for kind, doc in self.documents if kind == name]


def scan_and_answer(bus, row_of, cn: Callable[[], float], *, uids: list[str]):
    """Measure a run of its own, which the service answers."""
    uid = yield from bps.open_run()
    yield from bps.close_run()
    uids.append(uid)
    bus.row(row_of(uid, cn=cn(), began=1000.0 + len(uids)))


def test_a_scan_records_the_answer_to_the_run_before(RE, bus, answers, row_of, make):
    nearedge = make(answers)
    RE.subscribe(nearedge.follow)
    log, uids = Log(RE), []
    RE(scan_and_answer(bus, row_of, lambda: 4.25, uids=uids))
    RE(bp.count([nearedge]))
    for name, doc in log.documents:
        schema_validators[DocumentNames[name]].validate(doc)
    keys = plain(log["descriptor"][-1]["data_keys"])
    data = plain(log["event"][-1]["data"])
    assert set(keys) == set(data) == NAMES
    assert (keys["bond_mean"]["units"], keys["bond_mean"]["precision"]) == (
        "angstrom",
        3,
    )
    assert keys["cn_mean"]["dtype"] == "number"
    assert keys["key"]["dtype"] == "string"
    assert data["raw_uid"] == uids[0]
    assert data["key"] == f"key-{uids[0]}"
    assert (data["cn_mean"], data["status"]) == (4.25, "complete")
    assert (data["cn_mean_lo"], data["cn_mean_hi"]) == (4.0, 4.5)
    hints = log["descriptor"][-1]["hints"]["nearedge"]["fields"]
    assert set(hints) == {nearedge.cn_mean.name, nearedge.bond_mean.name}


def test_a_run_within_a_run_is_answered_point_by_point(RE, bus, answers, row_of, make):
    nearedge, axis = make(answers), SynAxis(name="pressure")
    RE.subscribe(nearedge.follow)
    log, uids = Log(RE), []

    def scan_here(detectors, step, pos_cache):
        yield from bps.move_per_step(step, pos_cache)
        scan = scan_and_answer(bus, row_of, lambda: 4 + axis.position, uids=uids)
        yield from bpp.set_run_key_wrapper(scan, "scan")
        yield from bps.trigger_and_read([axis, *detectors])

    RE(bp.scan([nearedge], axis, 0, 2, 3, per_step=scan_here))
    found = [plain(event["data"]) for event in log["event"]]
    assert [data["cn_mean"] for data in found] == [4.0, 5.0, 6.0]
    assert [data["raw_uid"] for data in found] == uids


def test_run_answer_and_what_records_it_are_in_one_catalog(
    RE, bus, answers, row_of, make, tiled_client
):
    nearedge, raw = make(answers), raw_container(tiled_client, "raw")
    RE.subscribe(nearedge.follow)
    RE.subscribe(TiledWriter(raw, batch_size=100))
    uids: list[str] = []
    RE(scan_and_answer(bus, row_of, lambda: 4.25, uids=uids))
    (series,) = RE(bp.count([nearedge]))
    row = row_of(uids[0])
    writer = ResultWriter(results_container(tiled_client, "inversions"))
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
    writer.write(row.key, row.measurement, row.outcome, row.inversion, provenance=by)
    writer.close()
    stored = raw[series]["primary"].read()
    key = str(stored[nearedge.key.name].values[0])
    result = tiled_client["inversions"][key]
    assert str(stored[nearedge.raw_uid.name].values[0]) == result.metadata["raw"]["uid"] == uids[0]
    assert raw[uids[0]].metadata["stop"]["exit_status"] == "success"
    assert stored[nearedge.cn_mean.name].values[0] == result.metadata["cn"]["mean"]


def test_live_table_and_best_effort_show_it(RE, bus, answers, row_of, make):
    nearedge = make(answers)
    RE.subscribe(nearedge.follow)
    best = BestEffortCallback()
    best.disable_plots()
    RE.subscribe(best)
    uids: list[str] = []
    RE(scan_and_answer(bus, row_of, lambda: 4.25, uids=uids))
    with redirect_stdout(io.StringIO()) as shown:
        RE(bp.count([nearedge]), LiveTable([nearedge.cn_mean.name, nearedge.flags.name]))
    assert nearedge.bond_mean.name in shown.getvalue()
    assert "4.25" in shown.getvalue()
    assert "gap" in shown.getvalue()


def test_a_missing_answer_fails_the_plan_and_says_why(RE, bus, answers, make):
    nearedge = make(answers, timeout_s=0)
    RE.subscribe(nearedge.follow)
    RE(bp.count([]))
    with pytest.raises(FailedStatus) as failed:
        RE(bp.count([nearedge]))
    cause = failed.value
    while not isinstance(cause, NoAnswerError):
        cause = cause.__cause__ or cause.args[0].exception()
    assert "no answer to run" in str(cause)


def test_a_missing_answer_can_be_recorded_instead(RE, bus, answers, make):
    nearedge = make(answers, timeout_s=0, on_timeout="record")
    RE.subscribe(nearedge.follow)
    log = Log(RE)
    (uid,) = RE(bp.count([]))
    RE(bp.count([nearedge]))
    data = plain(log["event"][-1]["data"])
    assert (data["status"], data["raw_uid"]) == ("timeout", uid)
    assert math.isnan(data["cn_mean"])
    assert f"no answer to run {uid}" in data["detail"]


def test_a_device_that_follows_nothing_says_so(RE, answers, make):
    with pytest.raises((RuntimeError, FailedStatus), match=r"RE\.subscribe") as raised:
        RE(bp.count([make(answers)]))
    assert raised.value


def test_a_suspender_holds_the_plan_until_the_service_is_ready(RE, bus, answers):
    nearedge = classic(answers)
    bus._send(heartbeat({"ready": False, "problem": "no worker process runs"}))
    until(lambda: not nearedge.ready.get())
    RE.install_suspender(SuspendBoolLow(nearedge.ready))
    log = Log(RE)
    recovery = threading.Timer(0.3, lambda: bus._send(heartbeat(READY)))
    recovery.start()
    with redirect_stdout(io.StringIO()) as shown:
        RE(bp.count([]))
    recovery.join()
    assert "Suspending" in shown.getvalue()
    assert nearedge.ready.get()
    assert log["stop"][0]["exit_status"] == "success"


def test_an_acquisition_session_needs_little_time_and_no_torch():
    script = """
import sys, time
import ophyd, ophyd_async.core, bluesky.plans
began = time.process_time()
from nearedge.streaming.acquisition import AsyncNearEdge, NearEdge
from nearedge.profiles.startup import follow_change, stop_early
took = time.process_time() - began
heavy = {"torch", "tiled", "h5py", "pydantic_settings", "nearedge.models", "nearedge.callbacks"}
print(took, sorted(heavy & set(sys.modules)))
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    took, loaded = told.split(" ", 1)
    assert float(took) < 0.3  # seconds of the processor
    assert loaded.strip() == "[]"
