import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Reason, Rejected
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.results import Provenance, ResultWriter
from nearedge.streaming.ledger.job import Place, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.events import event, event_stream
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.routes import STATIC, Page
from nearedge.streaming.page.web import PageError, load, served, serving_page
from nearedge.streaming.service.health import Health, RecentWarnings, recent_warnings
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.service.service import Service

PLACE = Place(run_uid="run-1", scan_id=1, stream="primary", spectrum="0")


class Watched(SimpleNamespace):
    """What the page needs of a service, with its own way of looking at itself."""

    checks = Service.checks
    _ledger_error = Service._ledger_error


@pytest.fixture
def service() -> Iterator[Any]:
    """A service that does nothing, with a real ledger and real metrics."""
    ledger = Ledger(":memory:")
    metrics = Metrics()
    metrics.watch(ledger)
    intake = SimpleNamespace(problem=None)
    worker = SimpleNamespace(pid=1234, beat_age_s=0.5, restarts=1, problem=None)
    yield Watched(
        ledger=ledger,
        metrics=metrics,
        worker=worker,
        _intake=intake,
        silence="no publisher heard of",
    )
    ledger.close()


@pytest.fixture
def row(
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Row:
    return Row(
        key="k1",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=make_inversion(),
        error=None,
        stages={"invert": 0.25},
    )


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def client(service: Any, feed: Feed) -> TestClient:
    page = Page(feed=feed, health=Health(service, RecentWarnings()), title="a beamline")
    return TestClient(page.app(), base_url="http://127.0.0.1:8000")


def test_the_page_and_all_that_it_names_is_there(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    named = [part.split('"')[0] for part in page.text.split('="/static/')[1:]]
    assert "main.js" in named
    for name in named:
        assert client.get(f"/static/{name}").status_code == 200, name


def test_the_page_is_told_what_the_profile_says(service: Any, feed: Feed) -> None:
    health = Health(service, RecentWarnings())
    page = Page(feed=feed, health=health, title="a beamline", context=("press-pressure",))
    about = TestClient(page.app(), base_url="http://127.0.0.1:8000").get("/api/about").json()
    assert (about["title"], about["context"]) == ("a beamline", ["press-pressure"])
    assert {"xyz", "nexus"} <= {export["name"] for export in about["exports"]}


def test_every_module_that_a_script_imports_is_there() -> None:
    for script in STATIC.glob("*.js"):
        for line in script.read_text().splitlines():
            if line.startswith("import"):
                assert (STATIC / line.split('"')[1]).is_file(), f"{script.name}: {line}"


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in (*STATIC.glob("*.js"), *STATIC.glob("*.css"), *STATIC.glob("*.html")):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text, file.name


@pytest.mark.parametrize("path", ["/", "/api/results", "/static/main.js", "/nothing"])
def test_every_answer_forbids_what_comes_from_elsewhere(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "nearedge.evil.example:8000", "10.0.0.1"])
def test_a_name_that_was_pointed_at_the_loopback_gets_nothing(
    client: TestClient, host: str
) -> None:
    assert client.get("/api/results", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_page_changes_nothing(client: TestClient, method: str) -> None:
    for path in ("/api/results", "/api/results/k1", "/api/health", "/metrics"):
        assert client.request(method, path).status_code == 405


def test_a_result_is_listed_and_opened(client: TestClient, feed: Feed, row: Row) -> None:
    feed(row)
    listed = client.get("/api/results").json()
    assert [told["key"] for told in listed["results"]] == ["k1"]
    opened = client.get("/api/results/k1").json()
    assert opened["spectrum"]["e0"] == 1846.5
    assert opened["spectrum"]["windows"] == []
    answer = opened["answer"]
    assert answer["cn"]["set"] == [4, 5]
    assert answer["sample_bond"] == [1.5, None]
    assert answer["cluster"]["absorber"] == "Si"
    assert np.shape(answer["cluster"]["positions"]) == (2, 3, 3)
    assert client.get("/api/results/unknown").status_code == 404


def test_a_rejected_measurement_shows_its_columns(client: TestClient, feed: Feed, row: Row) -> None:
    why = Rejected(reason=Reason.NO_EDGE, detail="flat")
    feed(replace(row, status=State.REJECTED, outcome=why, inversion=None))
    opened = client.get("/api/results/k1").json()
    assert opened["spectrum"] is None
    assert set(opened["columns"]) == {"energy", "i0", "low_loss"}


def test_a_running_scan_can_be_read(
    client: TestClient, feed: Feed, measurement: Measurement, spectrum: NormalisedSpectrum
) -> None:
    feed.show_partial(replace(measurement, final=False), spectrum, None)
    (one,) = client.get("/api/results").json()["running"]
    assert one["points"] == 40
    read = client.get("/api/running", params={"slot": one["slot"]}).json()
    assert len(read["spectrum"]["energy"]) == 38
    assert client.get("/api/running", params={"slot": "ended"}).json() is None


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("xyz", b"3\n"),
        ("cif", b"# nearedge: Si K"),
        ("poscar", b"nearedge: Si K"),
        ("xdi", b"# XDI/1.0"),
        ("nexus", b"\x89HDF"),
    ],
)
def test_a_result_is_saved_in_every_form(
    client: TestClient, feed: Feed, row: Row, name: str, begins: bytes
) -> None:
    feed(row)
    saved = client.get(f"/api/results/k1/export/{name}")
    assert saved.status_code == 200
    assert saved.content.lstrip().startswith(begins) or saved.content[:1].isdigit()
    assert 'filename="Si-K-scan7-run-1' in saved.headers["content-disposition"]
    assert client.get("/api/results/k1/export/docx").status_code == 404
    assert client.get(f"/api/results/k2/export/{name}").status_code == 404


def test_health_tells_states_and_the_newest_warnings(service: Any, feed: Feed) -> None:
    service.ledger.submit("k1", PLACE, b"")
    service.metrics.documents.labels("event").inc(3)
    now = [0.0]
    with recent_warnings("nearedge.test") as warnings:
        health = Health(service, warnings, clock=lambda: now[0])
        health.snapshot()
        logging.getLogger("nearedge.test").warning("run %s is odd", "r", extra={"run_uid": "r"})
        service.metrics.documents.labels("event").inc(20)
        now[0] = 2.0
        client = TestClient(Page(feed=feed, health=health).app(), base_url="http://localhost")
        told = client.get("/api/health").json()
    assert told["states"]["queued"] == 1
    assert told["documents_per_s"] == 10.0
    assert told["totals"]["documents"] == {"event": 23.0}
    assert told["worker"] == {"pid": 1234, "beat_age_s": 0.5, "restarts": 1, "error": None}
    assert told["open"][0]["status"] == "queued"
    (warning,) = told["warnings"]
    assert (warning["text"], warning["run"]) == ("run r is odd", "r")


def test_live_and_ready(client: TestClient, service: Any) -> None:
    assert client.get("/livez").json() == {"live": True}
    assert client.get("/readyz").json()["ready"] is True
    service.worker.problem = "no worker process runs"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["worker"] == "no worker process runs"
    service.ledger.close()
    assert "ledger" in client.get("/readyz").json()["checks"]["ledger"]
    assert client.get("/livez").status_code == 200


def test_metrics_are_the_services_own(client: TestClient, service: Any) -> None:
    service.metrics.gaps.inc()
    text = client.get("/metrics").text
    assert "nearedge_gaps_total 1.0" in text
    assert 'nearedge_ledger{state="queued"} 0.0' in text
    assert "python_info" not in text


def test_the_form_of_an_event() -> None:
    assert event(("result", {"key": "a\nb", "x": float("nan")})) == (
        b'event: result\ndata: {"key":"a\\nb","x":null}\n\n'
    )


def test_updates_are_pushed_with_health_in_between(feed: Feed, row: Row) -> None:
    async def read() -> list[bytes]:
        times = iter([0.0, 0.0, 0.0, 0.1, 0.1, 9.0, 9.0, 9.0])
        stream = event_stream(
            feed, health=lambda: {"ok": 1}, every_s=5.0, clock=lambda: next(times, 9.0)
        )
        first = await anext(stream)
        feed(row)
        second = await anext(stream)
        third = await anext(stream)
        feed.close()
        return [first, second, third, *[part async for part in stream]]

    told = asyncio.run(asyncio.wait_for(read(), 20))
    assert [part.split(b"\n")[0] for part in told[:3]] == [
        b"event: health",
        b"event: result",
        b"event: health",
    ]
    assert json.loads(told[1].split(b"data: ")[1])["key"] == "k1"
    assert feed.readers == 0


def test_a_service_serves_its_page_and_the_streams_end_with_it(
    service: Any, feed: Feed, row: Row
) -> None:
    with serving_page(service, feed, port=0, title="t") as address:
        assert address is not None
        with (
            httpx.Client(base_url=address, timeout=20.0, trust_env=False) as client,
            client.stream("GET", "/api/events") as stream,
        ):
            lines = stream.iter_lines()
            assert next(lines) == "event: health"
            feed(row)
            assert "event: result" in (line for line in lines)
            feed.close()
            assert next(lines).startswith('data: {"key":"k1"')
            for _ in lines:  # ends, since the feed has closed
                pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)


def test_no_page_where_none_is_wanted(service: Any, feed: Feed) -> None:
    with serving_page(service, feed, port=None) as address:
        assert address is None


def test_a_port_that_is_taken_is_named(service: Any, feed: Feed) -> None:
    with served(lambda *_: None) as address:
        port = httpx.URL(address).port
        with pytest.raises(PageError, match=f"port {port}: .*page_port"), served(None, port=port):
            pass


@pytest.fixture
def history(
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> History:
    box = results_container(tiled_client, "inversions")
    made_by = Provenance(config="c0ffee", code="0.1.0", written=1.0, timings={"invert": 0.25})
    writer = ResultWriter(box)
    writer.write(
        "k2", replace(measurement, time=2000.0), spectrum, make_inversion(), provenance=made_by
    )
    writer.write("k1", measurement, spectrum, make_inversion(), provenance=made_by)
    why = Rejected(reason=Reason.NO_EDGE, detail="flat")
    writer.write_rejected("k3", replace(measurement, time=3000.0), why, provenance=made_by)
    writer.close()
    return History(lambda: box)


def test_results_of_before_are_shown_as_those_of_now(
    history: History, service: Any, feed: Feed, row: Row
) -> None:
    load(feed, history)
    stored = feed.summaries()
    assert [told["key"] for told in stored] == ["k1", "k2", "k3"]
    assert [told["status"] for told in stored] == ["complete", "complete", "rejected"]
    fresh = Feed()
    fresh(row)
    (live,) = fresh.summaries()
    assert stored[0] == live
    page = Page(feed=feed, health=Health(service, RecentWarnings()), history=history)
    client = TestClient(page.app(), base_url="http://127.0.0.1")
    opened = client.get("/api/results/k1").json()
    assert opened["answer"]["cluster"]["species"][1][2] == ""
    assert opened["answer"]["provenance"]["config"] == "c0ffee"
    assert client.get("/api/results/k3").json()["columns"]["energy"][0] == 1800.0
    assert client.get("/api/results/k1/export/cif").status_code == 200
    for unknown in ("unknown", "%00", "a b", "..%2Fraw", "x" * 5000):
        assert client.get(f"/api/results/{unknown}").status_code == 404
        assert client.get(f"/api/results/{unknown}/export/cif").status_code == 404


def test_a_catalog_that_is_away_costs_only_the_history(
    feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> Any:
        raise httpx.ConnectError("connection refused")

    load(feed, History(away))
    assert feed.summaries() == []
    assert "results of before are not shown" in caplog.text
