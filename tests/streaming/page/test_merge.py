"""The route that merges chosen scans: the only one that adds to the catalog."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, Reason, Rejected
from nearedge.models.normalise.drift import XANES_DRIFT
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.merge_routes import LARGEST
from nearedge.streaming.page.routes import Page
from nearedge.streaming.service.health import Health, RecentWarnings
from nearedge.streaming.service.merging import Merger
from tests.streaming.commands.test_merging import scan

ADDRESS = "http://127.0.0.1:8000"
OWN = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}


class Taking:
    """Takes what is submitted; the first time it is new."""

    def __init__(self) -> None:
        self.taken: dict[str, Measurement] = {}

    def submit(self, key: str, measurement: Measurement, spectrum: Any) -> bool:
        new = key not in self.taken
        self.taken[key] = measurement
        return new


@pytest.fixture
def service() -> Taking:
    return Taking()


@pytest.fixture
def feed(measurement: Measurement, make_inversion: Callable[..., Inversion]) -> Feed:
    feed = Feed()
    for number, spectrum in enumerate([scan(0), scan(1), scan(2), scan(3, white_line=0.4)]):
        run = replace(measurement.run, uid=f"run-{number}", scan_id=number)
        feed(
            Row(
                key=f"k{number}",
                status=State.COMPLETE,
                measurement=replace(measurement, run=run, time=1000.0 + number),
                outcome=spectrum,
                inversion=make_inversion(),
                error=None,
                stages={},
            )
        )
    rejected = Rejected(reason=Reason.NO_EDGE, detail="flat")
    last = feed.row("k3")
    assert last is not None
    feed(replace(last, key="k4", status=State.REJECTED, outcome=rejected, inversion=None))
    return feed


@pytest.fixture
def client(feed: Feed, service: Taking) -> TestClient:
    return of(feed, Merger(service, model="m", config="c", supports=lambda *edge: True))


def of(feed: Feed, merger: Merger | None) -> TestClient:
    whole: Any = SimpleNamespace()
    page = Page(feed=feed, health=Health(whole, RecentWarnings()), merger=merger)
    return TestClient(page.app(), base_url=ADDRESS)


def test_chosen_scans_are_merged_and_queued(client: TestClient, service: Taking) -> None:
    answer = client.post("/api/merges", json={"keys": ["k0", "k1", "k2"]}, headers=OWN)
    told = answer.json()
    assert answer.status_code == 202 and told["new"] and told["alike"]
    assert told["of"] == "scan 0, scan 1 and scan 2"
    assert [one["name"] for one in told["sources"]] == ["scan 0", "scan 1", "scan 2"]
    assert sum(one["weight"] for one in told["sources"]) == pytest.approx(1.0)
    (measured,) = service.taken.values()
    assert [one["key"] for one in measured.merged_from] == ["k0", "k1", "k2"]
    assert np.isfinite(measured.columns["error"]).all()
    again = client.post("/api/merges", json={"keys": ["k2", "k0", "k1", "k1"]}).json()
    assert again["key"] == told["key"] and not again["new"]


def test_scans_are_moved_as_far_as_is_asked_for(client: TestClient, feed: Feed) -> None:
    last = feed.row("k2")
    assert last is not None
    run = replace(last.measurement.run, uid="run-off", scan_id=9)
    measured = replace(last.measurement, run=run)
    feed(replace(last, key="off", measurement=measured, outcome=scan(9, shift=1.5)))
    keys = ["k0", "off"]
    refused = client.post("/api/merges", json={"keys": keys})
    assert (refused.status_code, "let it move further" in refused.text) == (409, True)
    told = client.post("/api/merges", json={"keys": keys, "most_shift": 2}).json()
    assert told["most_shift"] == 2.0
    one, other = (source["shift"] for source in told["sources"])
    assert other - one == pytest.approx(-1.5, abs=0.2)


def test_what_is_not_aligned_is_another_merge(client: TestClient) -> None:
    usual = client.post("/api/merges", json={"keys": ["k0", "k1"], "most_shift": None}).json()
    still = client.post("/api/merges", json={"keys": ["k0", "k1"], "most_shift": 0}).json()
    assert (usual["most_shift"], still["most_shift"]) == (XANES_DRIFT, 0.0)
    assert still["key"] != usual["key"] and still["new"]
    assert [one["shift"] for one in still["sources"]] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"keys": ["k0"]}, 422, "found 1 spectra to merge"),
        ({"keys": ["k0", "k4"]}, 404, "such as k4"),
        ({"keys": ["k0", "nowhere"]}, 404, "such as nowhere"),
        ({"keys": ["k0", "k1", "k3"]}, 409, "scan 3 is no repeat of the others"),
        ({"keys": ["k0", 1]}, 400, "keys.1"),
        ({"keys": ["k0", "k1"], "most_shift": 1e9}, 400, "most_shift"),
        ({"keys": ["k0", "k1"], "store": "elsewhere"}, 400, "store"),
        ({"keys": [f"k{n}" for n in range(201)]}, 400, "keys"),
        ([], 400, "the request"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    client: TestClient, service: Taking, body: Any, status: int, words: str
) -> None:
    answer = client.post("/api/merges", json=body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert not service.taken


def test_unlike_ones_are_merged_when_asked_again(client: TestClient, service: Taking) -> None:
    told = client.post("/api/merges", json={"keys": ["k0", "k3"], "anyway": True}).json()
    assert not told["alike"] and told["key"] in service.taken


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
    ],
)
def test_another_page_cannot_merge(
    client: TestClient, service: Taking, headers: dict[str, str]
) -> None:
    answer = client.post("/api/merges", json={"keys": ["k0", "k1"]}, headers=headers)
    assert answer.status_code in (400, 403)
    assert not service.taken


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_form_cannot_merge(client: TestClient, service: Taking, kind: str) -> None:
    content = b'{"keys": ["k0", "k1"]}'
    answer = client.post("/api/merges", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert client.get("/api/merges").status_code == 405
    assert not service.taken


def test_a_request_that_is_too_large_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/merges", content=b" " * (LARGEST + 1), headers=headers)
    assert answer.status_code == 413


def test_without_a_catalog_nothing_is_merged() -> None:
    answer = of(Feed(), None).post("/api/merges", json={"keys": ["k0", "k1"]})
    assert answer.status_code == 503


def test_an_edge_that_the_model_does_not_know(feed: Feed, service: Taking) -> None:
    merger = Merger(service, model="m", config="c", supports=lambda *edge: False)
    answer = of(feed, merger).post("/api/merges", json={"keys": ["k0", "k1"]})
    assert answer.status_code == 422 and "knows no Si K edge" in answer.text
    assert not service.taken
