"""The clusters of pixels lie in the entry of their map, and whoever comes next goes on."""

from dataclasses import replace

import httpx
import numpy as np
import pytest
from tiled.client.array import ArrayClient

from nearedge.models import Samples
from nearedge.sim.stored_maps import ABOUT, write_small_map
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.catalog.maps import Maps, store_map
from nearedge.streaming.catalog.pixel_clusters import ClusterStore, PixelClusters

LIVE = ABOUT | {"written": 1.0, "grows": False}


@pytest.fixture
def stored(tiled_client, tmp_path):
    """Store a small map; all of its pixels but the first have answers."""

    def store(key, shape=(2, 3), **about):
        write_small_map(tmp_path / f"{key}.h5", shape)
        told = {name: value for name, value in (LIVE | about).items() if value is not None}
        store_map(tiled_client, key, tmp_path / f"{key}.h5", about=told, files=None)
        return tiled_client[key]

    return store


def samples_of(pixel, *, atoms=3):
    rng = np.random.default_rng(pixel)
    return Samples(
        species=rng.choice(["Si", "O"], size=(2, atoms)),
        positions=rng.normal(size=(2, atoms, 3)).astype(np.float32),
        weights=np.array([0.75, 0.25]),
    )


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("species", "positions", "weights")
    )


def test_clusters_are_read_as_they_were_written(tiled_client, stored):
    stored("m")
    own = PixelClusters(tiled_client, "m")
    assert (own.waiting(2), own.waiting(9)) == ([1, 2], [1, 2, 3, 4, 5])
    found = Maps(tiled_client)["m"]
    assert (found.clustered, found.clusters((0, 1))) == (0, None)
    own.put({1: samples_of(1), 2: None})
    own.put({4: samples_of(4), 5: samples_of(5)})
    assert own.waiting(9) == [3]
    found = found.refresh()
    assert found.clustered == 3
    assert same(found.clusters((0, 1)), samples_of(1))
    assert same(found.clusters((1, 2)), samples_of(5))
    assert [found.clusters(place) for place in ((0, 0), (0, 2), (1, 0))] == [None] * 3
    assert found["clusters_done"].tolist() == [[0, 1, 2], [0, 1, 1]]
    for outside in ((2, 0), (0, -1), (0,)):
        with pytest.raises(IndexError, match=r"the map has the shape \(2, 3\)"):
            found.clusters(outside)


def test_pixels_may_have_more_atoms_than_the_first_ones(tiled_client, stored):
    stored("m")
    own = PixelClusters(tiled_client, "m")
    clusters = {k: samples_of(k, atoms=atoms) for k, atoms in enumerate((2, 5, 7, 1), start=1)}
    own.put({1: clusters[1], 2: clusters[2]})
    own.put({3: clusters[3], 4: clusters[4]})
    found = Maps(tiled_client)["m"]
    assert tiled_client["m"]["clusters_positions"].shape == (2, 3, 2, 7, 3)
    assert all(same(found.clusters(own.place(k)), one) for k, one in clusters.items())


def test_atoms_of_no_element_are_left_out(tiled_client, stored):
    stored("m")
    one = samples_of(1)
    padded = replace(
        one,
        species=np.pad(one.species, ((0, 0), (0, 1)), constant_values=""),
        positions=np.pad(one.positions, ((0, 0), (0, 1), (0, 0))),
    )
    PixelClusters(tiled_client, "m").put({1: padded})
    assert same(Maps(tiled_client)["m"].clusters((0, 1)), one)


@pytest.mark.parametrize(
    ("after", "waiting"), [(2, [1, 2, 3, 4, 5]), (7, [1, 2, 3, 4, 5]), (8, [2, 3, 4, 5])]
)
def test_a_service_that_is_killed_is_gone_on_with(
    after, waiting, tiled_client, stored, monkeypatch
):
    """Pixels 1 and 3 make two requests for each of four arrays, the last two of what is done."""
    stored("m")
    found = {1: samples_of(1), 3: samples_of(3)}
    left = [after]
    patch = ArrayClient.patch

    def torn(self, *args, **kwargs):
        left[0] -= 1
        if not left[0]:
            raise httpx.ConnectError("killed")
        return patch(self, *args, **kwargs)

    monkeypatch.setattr(ArrayClient, "patch", torn)
    with pytest.raises(httpx.ConnectError):
        PixelClusters(tiled_client, "m").put(found)
    again = PixelClusters(tiled_client, "m")
    assert again.waiting(9) == waiting
    again.put(found)
    stored_now = Maps(tiled_client)["m"]
    assert stored_now.clustered == 2
    assert same(stored_now.clusters((0, 1)), found[1])
    assert same(stored_now.clusters((1, 0)), found[3])


def test_a_map_that_has_grown_since_has_room(tiled_client, stored):
    node = stored("m", shape=(6,))
    node.write_array(np.array([0, 1, 1], np.uint8), key="clusters_done")
    found = Maps(tiled_client)["m"]
    assert found.clusters((5,)) is None
    own = PixelClusters(tiled_client, "m")
    assert own.waiting(9) == [3, 4, 5]
    own.put({5: samples_of(5)})
    assert same(found.refresh().clusters((5,)), samples_of(5))
    assert PixelClusters(tiled_client, "m").waiting(9) == [3, 4]


def test_a_pixel_is_inverted_as_when_somebody_clicks_at_it(tiled_client, stored):
    stored("m")
    own, shelf = PixelClusters(tiled_client, "m"), MapShelf(lambda: tiled_client)
    spectrum, wanted = own.spectrum(5), shelf.region("m", (1, 2), (1, 2)).spectrum
    assert np.array_equal(spectrum.flat, wanted.flat)
    assert (spectrum.e0, spectrum.elements) == (wanted.e0, wanted.elements)
    assert own.seed(5) == PixelClusters(tiled_client, "m").seed(5) != own.seed(4)
    with pytest.raises(ValueError, match="none of the 1 pixels"):
        own.spectrum(0)


def test_only_complete_maps_of_these_settings_and_weights_are_found(tiled_client, stored):
    stored("own", written=5.0)
    stored("older", written=4.0)
    stored("other-settings", config="d")
    stored("other-weights", model="n")
    stored("growing").update_metadata({"status": "growing"})
    stored("of-a-file", grows=None)
    store = ClusterStore(lambda: tiled_client, config="c", models=["m"])
    assert [store.find().key, store.find().key, store.find()] == ["own", "older", None]
    store.forget()
    own = store.find()
    own.put(dict.fromkeys(own.waiting(9)))
    assert [store.find().key, store.find()] == ["older", None]
    tiled_client["own"].update_metadata({"written": 6.0})
    tiled_client["older"].update_metadata({"written": 6.0})
    assert [store.find().key, store.find()] == ["older", None]


def test_a_count_that_was_not_written_is_made_good(tiled_client, stored):
    node = stored("m")
    node.write_array(np.array([[0, 1, 1], [2, 1, 1]], np.uint8), key="clusters_done")
    assert ClusterStore(lambda: tiled_client, config="c", models=["m"]).find() is None
    assert Maps(tiled_client)["m"].clustered == 4


def test_a_catalog_that_is_away_is_opened_later(tiled_client, stored):
    stored("m")
    script = [httpx.ConnectError("away")]

    def container():
        if script:
            raise script.pop()
        return tiled_client

    store = ClusterStore(container, config="c", models=["m"])
    with pytest.raises(httpx.ConnectError):
        store.find()
    assert store.find().key == "m"
