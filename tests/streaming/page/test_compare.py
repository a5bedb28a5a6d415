"""The routes for comparing spectra."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.models import NormalisedSpectrum, Reason, Rejected
from nearedge.models.comparing.combination import combine
from nearedge.models.comparing.common import NamedSpectrum
from nearedge.models.comparing.series import analyse
from nearedge.sim.silica import silica
from nearedge.streaming.catalog.history import History
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.references import KEPT, LARGEST, References
from nearedge.streaming.page.routes import Page
from nearedge.streaming.service.health import Health, RecentWarnings

ENERGY = np.linspace(1812.0, 1900.0, 130)
SETTINGS: dict[str, Any] = {
    "technique": "xanes",
    "absorber": "Si",
    "edge": "K",
    "signal": "mu",
    "roles": {"energy": "energy", "mu": "mu"},
}


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument.model_validate(SETTINGS)


def columns(pressure: float, *, shift: float = 0.0) -> bytes:
    """A file of silica, whose energies are off by so many eV."""
    mu = 0.3 + silica("Si", "K").mu(ENERGY, pressure=pressure, fwhm=0.6)
    rows = "\n".join(f"{e:.3f} {m:.6f}" for e, m in zip(ENERGY + shift, mu, strict=True))
    return f"# energy mu\n{rows}\n".encode()


@pytest.fixture(scope="module")
def text() -> bytes:
    return columns(0.0)


PRESSURES = (24.0, 0.0, 40.0, 12.0)


@pytest.fixture(scope="module")
def series(instrument: Instrument) -> list[NamedSpectrum]:
    """What the service makes of files of silica at several pressures."""
    reads = [References(instrument).read("a.dat", columns(one))[0][0] for one in PRESSURES]
    return [NamedSpectrum(name=one.name, spectrum=one.spectrum) for one in reads]


@pytest.fixture
def client(
    instrument: Instrument, measurement: Measurement, spectrum: NormalisedSpectrum
) -> TestClient:
    feed = Feed()
    row = Row(
        key="k1",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=None,
        error=None,
        stages={},
    )
    feed(row)
    why = Rejected(reason=Reason.NO_EDGE, detail="flat")
    feed(replace(row, key="k2", status=State.REJECTED, outcome=why))
    feed(replace(row, key="aluminium", outcome=replace(spectrum, absorber="Al")))
    feed(replace(row, key="far", outcome=replace(spectrum, energy=spectrum.energy + 500.0)))
    service: Any = SimpleNamespace()
    page = Page(feed=feed, health=Health(service, RecentWarnings()), instrument=instrument)
    return TestClient(page.app(), base_url="http://127.0.0.1:8000")


def test_several_spectra_are_read_at_once_and_unknown_ones_named(client: TestClient) -> None:
    told = client.get("/api/spectra", params={"keys": "k1 k2 nobody"}).json()
    assert told["unknown"] == ["k2", "nobody"]  # nothing was normalised of k2
    one = told["spectra"]["k1"]
    assert (one["edge"], one["e0"], len(one["flat"])) == ("Si K", 1846.5, 38)


@pytest.mark.parametrize("count", [0, 49])
def test_the_number_of_spectra_is_bounded(client: TestClient, count: int) -> None:
    keys = " ".join(f"k{n}" for n in range(count))
    answer = client.get("/api/spectra", params={"keys": keys})
    assert (answer.status_code, answer.text) == (400, f"found {count} keys; expected 1 to 48")


def test_a_file_becomes_a_normalised_reference(client: TestClient, text: bytes) -> None:
    told = client.post("/api/references", params={"name": "../quartz.dat"}, content=text).json()
    (reference,) = told["references"]
    assert (reference["name"], told["refused"]) == ("quartz.dat", [])
    shown = client.get("/api/spectra", params={"keys": reference["key"]}).json()["spectra"]
    one = shown[reference["key"]]
    assert one["e0"] == pytest.approx(1841.0, abs=1.0)
    assert np.mean(one["flat"][-20:]) == pytest.approx(1.0, abs=0.03)  # the edge step is 1
    assert np.mean(one["flat"][:10]) == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89HDF\r\n\x1a\n", "no columns of text"),
        (b"PAR1....", "no columns of text"),
        (b"\x1f\x8b\x08", "no columns of text"),
        (b"1 2\n\0\0", "no columns of text"),
        (b"_____header1: Athena project file -- 0.9", "nearedge compare"),
    ],
)
def test_what_is_no_text_is_not_read_by_the_service(
    client: TestClient, content: bytes, words: str
) -> None:
    answer = client.post("/api/references", params={"name": "a"}, content=content)
    assert answer.status_code == 422
    assert words in answer.text


def test_a_file_without_an_edge_is_refused_in_words(client: TestClient) -> None:
    flat = "\n".join(f"{e:.2f} 1.0" for e in ENERGY).encode()
    told = client.post("/api/references", params={"name": "flat.dat"}, content=flat).json()
    assert told["references"] == []
    assert told["refused"][0].startswith("flat.dat: ")


def test_a_file_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = client.post("/api/references", content=b"1" * (LARGEST + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_page_cannot_have_files_read(
    client: TestClient, text: bytes, headers: dict[str, str]
) -> None:
    assert client.post("/api/references", content=text, headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/references", content=text, headers=own).status_code == 200


def test_the_oldest_references_are_forgotten(instrument: Instrument, text: bytes) -> None:
    references = References(instrument)
    made = [references.read("a.dat", text + b"\n" * n)[0][0].key for n in range(KEPT + 1)]
    assert references.get(made[0]) is None
    assert references.get(made[-1]) is not None


def test_without_a_profile_no_file_is_read(text: bytes) -> None:
    service: Any = SimpleNamespace()
    page = Page(feed=Feed(), health=Health(service, RecentWarnings()))
    client = TestClient(page.app(), base_url="http://127.0.0.1:8000")
    assert client.post("/api/references", content=text).status_code == 503


def test_a_spectrum_is_fitted_by_others(client: TestClient, text: bytes) -> None:
    told = client.post("/api/references", params={"name": "a.dat"}, content=text).json()
    key = told["references"][0]["key"]
    noisy = b"\n".join(  # the same, with a rounding of its own
        line if line.startswith(b"#") else line[:-2] for line in text.splitlines()
    )
    other = client.post("/api/references", params={"name": "b.dat"}, content=noisy).json()
    member = other["references"][0]["key"]
    fit = client.get("/api/combination", params={"target": key, "keys": f"{key} {member}"}).json()
    (weight,) = fit["members"]
    assert weight["key"] == member
    assert weight["weight"] == pytest.approx(1.0, abs=1e-3)
    assert fit["total"] == pytest.approx(1.0, abs=1e-3)
    assert fit["misfit"] < 1e-3
    assert len(fit["energy"]) == len(fit["fit"]) == len(fit["residual"])


@pytest.mark.parametrize(
    ("target", "keys", "words"),
    [
        ("nobody", "k1", "no spectrum with the key 'nobody'"),
        ("k1", "k1", "found no end member"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_in_words(
    client: TestClient, target: str, keys: str, words: str
) -> None:
    answer = client.get("/api/combination", params={"target": target, "keys": keys})
    assert answer.status_code == 422
    assert words in answer.text


def known(client: TestClient, content: bytes) -> str:
    """Have a file read, and return the key of its spectrum."""
    told = client.post("/api/references", params={"name": "a.dat"}, content=content).json()
    return str(told["references"][0]["key"])


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        ({}, {}),
        ({"to_one": "1"}, {"to_one": True}),
        ({"to_one": "0", "most_shift": "1.5"}, {"most_shift": 1.5}),
        ({"to_one": "1", "most_shift": "0.2"}, {"to_one": True, "most_shift": 0.2}),
    ],
)
def test_a_fit_is_made_as_it_is_asked_for(
    client: TestClient, series: list[NamedSpectrum], asked: dict[str, str], how: dict[str, Any]
) -> None:
    keys = [known(client, columns(one)) for one in PRESSURES]
    which = {"target": keys[0], "keys": " ".join(keys[1:])}
    told = client.get("/api/combination", params=which | asked).json()
    fit = combine(series[0], series[1:], **how)
    assert [one["weight"] for one in told["members"]] == pytest.approx(list(fit.weights))
    assert told["shift"] == pytest.approx(fit.shift)
    assert told["fit"] == pytest.approx(list(fit.fit))
    assert told["residual"] == pytest.approx(list(fit.target - fit.fit))
    assert (told["to_one"], told["most_shift"]) == (fit.to_one, how.get("most_shift", 0.0))
    assert (told["total"] == pytest.approx(1.0, abs=1e-9)) is fit.to_one


@pytest.mark.parametrize(("most", "shift", "at_bound"), [("2", -0.8, False), ("0.5", -0.5, True)])
def test_a_shift_is_found_and_one_at_its_bound_is_named(
    client: TestClient, text: bytes, most: str, shift: float, at_bound: bool
) -> None:
    target = known(client, columns(0.0, shift=0.8))
    which = {"target": target, "keys": known(client, text), "most_shift": most}
    told = client.get("/api/combination", params=which).json()
    assert told["shift"] == pytest.approx(shift, abs=0.01)
    assert told["at_bound"] is at_bound


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"to_one": "yes"}, "found to_one='yes'; expected 0 or 1"),
        ({"most_shift": "far"}, "found most_shift='far'; expected a number of eV, 0 to 50"),
        ({"most_shift": "-1"}, "found most_shift='-1'; expected a number of eV, 0 to 50"),
        ({"most_shift": "50.1"}, "found most_shift='50.1'; expected a number of eV, 0 to 50"),
        ({"most_shift": "nan"}, "found most_shift='nan'; expected a number of eV, 0 to 50"),
    ],
)
def test_a_fit_is_not_made_in_a_way_that_there_is_not(
    client: TestClient, asked: dict[str, str], words: str
) -> None:
    answer = client.get("/api/combination", params={"target": "k1", "keys": "k2"} | asked)
    assert (answer.status_code, answer.text) == (400, words)


def test_components_are_those_of_the_spectra_in_the_order_in_which_they_were_chosen(
    client: TestClient, series: list[NamedSpectrum]
) -> None:
    keys = [known(client, columns(one)) for one in PRESSURES]
    told = client.get("/api/components", params={"keys": " ".join(keys)}).json()
    found = analyse(series)
    assert [one["key"] for one in told["series"]] == keys
    assert (told["rank"], told["indicated"]) == (found.components.rank, found.indicated)
    assert found.components.rank > 0
    assert told["words"].startswith(f"components besides the mean: {told['rank']} by the threshold")
    assert told["shares"] == pytest.approx(list(found.shares))
    assert told["indicator"] == pytest.approx(list(found.indicator))
    assert np.array(told["vectors"]) == pytest.approx(found.components.vectors)
    assert np.array(told["scores"]) == pytest.approx(found.components.scores(found.flat))
    assert told["energy"] == pytest.approx(list(found.energy))


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ("", 422, "found 2 spectra; expected 3 or more to find components"),
        ("aluminium", 422, "found other edges than Si K"),
        ("far", 422, "found 0 energies"),
        ("k2", 422, "there is no spectrum with the key 'k2'"),
        (" ".join(f"n{n}" for n in range(47)), 400, "found 49 keys; expected 1 to 48"),
    ],
)
def test_components_that_cannot_be_found_are_refused_in_words(
    client: TestClient, text: bytes, more: str, status: int, words: str
) -> None:
    answer = client.get("/api/components", params={"keys": f"k1 {known(client, text)} {more}"})
    assert (answer.status_code, answer.text[: len(words)]) == (status, words)


@pytest.mark.parametrize("path", ["/api/spectra", "/api/combination", "/api/components"])
def test_a_catalog_that_is_away_is_told_in_words(path: str) -> None:
    def away() -> Any:
        raise httpx.ConnectError("connection refused")

    service: Any = SimpleNamespace()
    health = Health(service, RecentWarnings())
    page = Page(feed=Feed(), health=health, history=History(away))
    client = TestClient(page.app(), base_url="http://127.0.0.1:8000")
    answer = client.get(path, params={"keys": "k1", "target": "k2"})
    assert answer.status_code == 503
    assert answer.text.startswith("the catalog cannot be read: ")


@pytest.mark.parametrize("path", ["/api/combination?target=k1&keys=k1", "/api/components?keys=k1"])
def test_another_page_cannot_have_anything_calculated(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
