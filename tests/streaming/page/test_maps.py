"""The routes of the view of maps: what they give, what they refuse, and that nothing is stored."""

import threading
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from nearedge.sim.stored_maps import ABOUT, write_small_map
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.catalog.maps import store_map
from nearedge.streaming.page.map_routes import MapRoutes
from nearedge.streaming.page.map_view import MAP_FIGURES, MapView, likeliest
from nearedge.streaming.service.on_demand import OnDemand
from nearedge.streaming.workers.worker import WorkerUnavailable


class Inverter:
    def __init__(self, make):
        self.make, self.asked, self.error = make, [], None

    def invert(self, spectra, *, seeds):
        if self.error is not None:
            raise self.error
        self.asked.append((spectra[0], seeds[0]))
        return [self.make()]


@pytest.fixture
def inverter(make_inversion):
    return Inverter(make_inversion)


@pytest.fixture(scope="module")
def box(tiled_server, tmp_path_factory):
    """A catalog of two maps that no test changes."""
    box, folder = tiled_server.create_container("page-maps"), tmp_path_factory.mktemp("maps")
    about = ABOUT | {"written": 1.0}
    for name, shape in (("image", (4, 5)), ("series", (6,))):
        path = folder / f"{name}.h5"
        write_small_map(path, shape)
        store_map(box, name, path, about=about, files=None)
    return box


@pytest.fixture
def client(box, inverter):
    routes = MapRoutes(MapShelf(lambda: box), OnDemand(inverter)).routes()
    return TestClient(Starlette(routes=routes), base_url="http://127.0.0.1")


def floats(response, kind="<f4"):
    shape = tuple(map(int, response.headers["x-shape"].split(",")))
    return np.frombuffer(response.content, kind).reshape(shape)


def test_maps_are_listed_and_described(client):
    listed = {one["key"]: one for one in client.get("/api/maps").json()["maps"]}
    assert listed["image"]["shape"] == [4, 5]
    told = client.get("/api/maps/image").json()
    assert [axis["name"] for axis in told["axes"]] == ["y", "x"]
    assert told["axes"][1]["positions"] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert (told["answered"], told["status"]) == (19, "complete")
    assert {one["name"] for one in told["figures"]} == set(MAP_FIGURES)


def test_images_come_as_bytes(client):
    bond = floats(client.get("/api/maps/image/figure/bond"))
    assert bond.shape == (4, 5)
    assert np.isnan(bond[0, 0])
    assert bond[1, 2] == pytest.approx(1.6 + 0.01 * 7, abs=1e-6)
    width = floats(client.get("/api/maps/image/figure/bond_width"))
    assert width[1, 2] == pytest.approx(0.1, abs=1e-6)
    flags = floats(client.get("/api/maps/image/figure/flags"), "<u8")
    assert flags[3, 4] == 3  # both names
    assert floats(client.get("/api/maps/image/figure/reason"), "<i2")[0, 0] == 0


def test_a_pixel_has_its_spectrum_and_answer(client):
    told = client.get("/api/maps/image/pixel", params={"at": "3,4"}).json()
    assert (told["state"], told["flags"]) == ("answered", ["heads-only", "noisy"])
    assert told["figures"]["cn_mean"] == pytest.approx(5.0)
    assert told["cn_set"] == [4, 5]
    assert len(told["spectrum"]["energy"]) == len(told["spectrum"]["flat"]) == 60
    refused = client.get("/api/maps/image/pixel", params={"at": "0,0"}).json()
    assert (refused["state"], refused["reason"]) == ("rejected", "no-edge")
    assert refused["spectrum"] is None
    assert refused["cn_prob"] is None


def test_a_region_is_summed_and_inverted_on_demand(client, inverter, box):
    before = set(box)
    asked = {"from": "1,3", "to": "0,0"}
    told = client.get("/api/maps/image/region", params=asked).json()
    assert (told["pixels"], told["left_out"], told["answer"]) == (7, 1, None)
    assert inverter.asked == []
    told = client.get("/api/maps/image/region", params={**asked, "answer": "1"}).json()
    assert told["answer"]["cluster"]["absorber"] == "Si"
    assert told["answer"]["cn"]["set"] == [4, 5]
    ((spectrum, seed),) = inverter.asked
    assert (spectrum.absorber, spectrum.elements) == ("Si", ("O", "Si"))
    client.get("/api/maps/image/region", params={**asked, "answer": "1"})
    assert inverter.asked[1][1] == seed  # the same clusters again
    assert set(box) == before


def test_a_series_has_a_waterfall(client):
    response = client.get("/api/maps/series/spectra")
    count, size = map(int, response.headers["x-shape"].split(","))
    assert (count, size) == (6, 60)
    rows = np.frombuffer(response.content[: 4 * count], "<i4")
    assert rows.tolist() == [0, 1, 2, 3, 4, 5]
    energy = np.frombuffer(response.content[4 * count :], "<f4", size)
    assert energy == pytest.approx(np.linspace(1820.0, 1890.0, 60))
    spectra = np.frombuffer(response.content[4 * (count + size) :], "<f4").reshape(count, size)
    assert np.isnan(spectra[0]).all()  # rejected
    assert np.isfinite(spectra[1:]).all()


def test_every_pixel_is_a_mixture_of_the_pinned_ones(client):
    found = floats(client.get("/api/maps/image/mixtures", params={"members": "0,1;3,4"}))
    assert found.shape == (4, 4, 5)
    first, last, total, misfit = found
    assert (first[0, 1], last[0, 1]) == (pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-4))
    assert np.isnan(total[0, 0])
    np.testing.assert_allclose(total.ravel()[1:], 1.0, atol=1e-3)
    assert misfit.ravel()[1:].max() < 1e-3
    assert first[2, 2] == pytest.approx(7 / 18, abs=1e-3)


def test_components_of_a_map(client):
    told = client.get("/api/maps/image/components").json()
    assert told["pixels"] == 19
    assert len(told["vectors"][0]) == len(told["energy"]) == len(told["mean"])
    assert told["shares"][0] > 0.99


#: Addresses, the status that each is answered with, and what the answer says.
WRONG = [
    ("/api/maps/none", 404, "no map with the key"),
    ("/api/maps/..%2Fraw", 404, ""),
    ("/api/maps/image/figure/norm", 404, "expected one of"),
    ("/api/maps/image/pixel?at=4,0", 404, "has the shape"),
    ("/api/maps/image/pixel?at=-1,0", 404, "has the shape"),
    ("/api/maps/image/pixel?at=1", 404, "has the shape"),
    ("/api/maps/image/pixel?at=a,b", 400, "expected the numbers"),
    ("/api/maps/image/region?from=0,0&to=0,0", 422, "none of the 1 pixels"),
    ("/api/maps/image/mixtures?members=", 400, "found 0 end members"),
    ("/api/maps/image/mixtures?members=0,1;0,1", 422, "alike"),
    ("/api/maps/image/mixtures?members=0,0", 422, "choose answered pixels"),
]


def test_what_is_asked_wrongly_is_told(client):
    for path, status, words in WRONG:
        answer = client.get(path)
        assert answer.status_code == status, path
        assert words in answer.text, path


def test_a_page_elsewhere_can_ask_for_no_work(client, inverter):
    path = "/api/maps/image/region?from=1,1&to=2,2&answer=1"
    answer = client.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert inverter.asked == []
    assert client.get(path, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_worker_that_is_gone_and_a_catalog_that_is_away_are_told(client, inverter):
    inverter.error = WorkerUnavailable("no process")
    answer = client.get("/api/maps/image/region?from=1,1&to=2,2&answer=1")
    assert (answer.status_code, answer.text) == (503, "there is no answer: no process")

    def away():
        raise httpx.ConnectError("refused")

    gone = TestClient(Starlette(routes=MapRoutes(MapShelf(away), None).routes()))
    assert gone.get("/api/maps").status_code == 503
    nothing = TestClient(Starlette(routes=MapRoutes(None, None).routes()))
    assert nothing.get("/api/maps").json() == {"maps": []}
    assert nothing.get("/api/maps/image").status_code == 404


def test_a_map_that_grows_is_read_anew(box, tiled_client):
    shelf, known = MapShelf(lambda: tiled_client), box["image"]
    growing = {**known.metadata, "status": "growing", "written": 2.0, "come": 5}
    node = tiled_client.create_container("image", metadata=growing, specs=known.specs)
    assert shelf.metadata("image")["come"] == 5
    node.update_metadata({"written": 3.0, "come": 9}, drop_revision=True)
    assert shelf.metadata("image")["come"] == 9


def test_the_set_is_the_likeliest():
    assert likeliest(np.array([0.0, 0.95, 0.05])) == [1]
    assert likeliest(np.array([0.3, 0.3, 0.4])) == [0, 1, 2]


def test_the_set_never_cuts_a_tie():
    assert likeliest(np.array([0.1, 0.8, 0.1])) == [0, 1, 2]


def test_an_array_that_is_being_read_is_asked_for_once(box, monkeypatch):
    shelf, asked, go = MapShelf(lambda: box), [], threading.Event()
    read = shelf._read

    def slow(found, name):
        asked.append(name)
        assert go.wait(60)
        return read(found, name)

    monkeypatch.setattr(shelf, "_read", slow)
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(shelf.values, "image", "reason") for _ in range(3)]
        go.set()
        reasons = [one.result() for one in found]
    assert asked == ["reason"]
    assert all(one is reasons[0] for one in reasons)


def test_an_array_that_could_not_be_read_is_asked_for_again(box, monkeypatch):
    shelf = MapShelf(lambda: box)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="away"):
        patch.setattr(shelf, "_read", Mock(side_effect=OSError("away")))
        shelf.values("image", "bond")
    assert shelf.values("image", "bond").shape == (4, 5)


def test_what_a_pixel_needs_is_read_ahead(box, monkeypatch):
    shelf = MapShelf(lambda: box)
    view = MapView(shelf)
    view.about("image")
    view.warm("image")
    for reading in ("_read", "_read_part"):
        monkeypatch.setattr(shelf, reading, Mock(side_effect=AssertionError("asked the server")))
    assert view.pixel("image", (3, 4))["state"] == "answered"
    # the spectra in the middle, which are all of a map as small as this
    assert view.pixel("image", (1, 1))["spectrum"]["flat"].shape == (60,)


def test_a_pixel_of_a_map_that_grows_is_that_of_what_was_told(box, monkeypatch):
    now = [0.0]
    shelf = MapShelf(lambda: box, clock=lambda: now[0])
    view = MapView(shelf)
    box["image"].update_metadata({"status": "growing", "come": 9}, drop_revision=True)
    view.about("image")
    asked = Mock(side_effect=shelf._open)
    monkeypatch.setattr(shelf, "_open", asked)
    told = view.pixel("image", (1, 1))
    assert (told["state"], told["group"], told["positions"]) == ("answered", -1, [0.5, 0.5])
    assert told["figures"]["bond"] == pytest.approx(1.66)
    asked.assert_not_called()
    now[0] = 11.0  # nobody has asked since
    view.pixel("image", (1, 1))
    asked.assert_called_once()


def test_maps_of_before_have_an_array_for_each_figure(box):
    node = box["image"]
    figures, names = node["figures"].read(), node.metadata["figure_names"]
    for number, name in enumerate(names):
        node.write_array(np.ascontiguousarray(figures[..., number]), key=name)
    metadata = {k: v for k, v in node.metadata.items() if k != "figure_names"}
    node.replace_metadata(metadata, drop_revision=True)
    shelf = MapShelf(lambda: box)
    assert shelf.pixel("image", (1, 1)).figures["bond"] == pytest.approx(1.66)
    assert shelf.region("image", (1, 1), (1, 2)).pixels == 2
