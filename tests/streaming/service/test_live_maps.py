"""Runs that are maps: from documents to one growing entry of the catalog."""

import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest

from nearedge.models import Reason, Rejected
from nearedge.models.answering.several import Several
from nearedge.sim.maps import eels_map, quick_map, xanes_map
from nearedge.streaming.catalog.growing_maps import GrowingMaps
from nearedge.streaming.catalog.map_comparing import OTHER_GROUPS, ComparingMaps
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.catalog.maps import Maps
from nearedge.streaming.catalog.pixel_clusters import ClusterStore
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import seed_at
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.map_row import MapStatus
from nearedge.streaming.service.map_work import MapWork
from nearedge.streaming.service.method import Method
from nearedge.streaming.service.service import Audience, Service
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.workers.pixels import answer_block

TOLD = {"absorber": "Si", "edge": "K", "composition": "SiO2", "finish": {"when": "pixel"}}
EELS = {**TOLD, "technique": "eels", "signal": "spectrum"}
XANES = {**TOLD, "technique": "xanes", "signal": "mu"}


def profile_of(instrument, **roles):
    return Profile.model_validate({"instrument": {**instrument, "roles": roles}})


def start_of(uid="run", **more):
    return "start", {"uid": uid, "time": 1.0, "scan_id": 7, **more}


def descriptor_of(uid="run", **keys):
    told = {key: {"source": "", **about} for key, about in keys.items()}
    about = {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.0}
    return "descriptor", {**about, "data_keys": told, "configuration": {}, "hints": {}}


def event_of(seq, data, uid="run"):
    about = {"uid": f"{uid}-{seq}", "descriptor": f"{uid}-d", "seq_num": seq}
    times = dict.fromkeys(data, 0.0)
    return "event", {**about, "time": 1.0 + 0.05 * seq, "data": data, "timestamps": times}


def stop_of(count, uid="run", status="success"):
    counts = {"primary": count}
    return "stop", {"run_start": uid, "time": 9.0, "exit_status": status, "num_events": counts}


def lines(image, uid="run"):
    """Documents of a spectrum image whose lines come one after the other."""
    size = len(image.data)
    plan = {"plan_name": "scan", "motors": ["y"], "shape": [size], "extents": [[0.0, size - 1.0]]}
    array = {"dtype": "array", "shape": list(image.data.shape[1:]), "dims": ["x", "energy"]}
    axis = {"dtype": "array", "shape": [len(image.energy)]}
    yield start_of(uid, **plan)
    yield descriptor_of(
        uid, camera=array, energy=axis, y={"dtype": "number", "shape": [], "units": "nm"}
    )
    for seq, line in enumerate(image.data, start=1):
        yield event_of(seq, {"camera": line, "energy": image.energy, "y": seq - 1.0}, uid)
    yield stop_of(size, uid)


class ListSource:
    silence = None

    def __init__(self, documents) -> None:
        self._documents = documents

    def documents(self, on_loss=lambda: None):
        yield from self._documents

    def stop(self) -> None:
        pass


class OwnModel:
    """A worker in the process of the test; the first calls raise what a script says."""

    problem = None
    blocks_at_once = 1

    def __init__(self, model, *script) -> None:
        self._model, self.script, self.blocks = model, list(script), 0

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def answer_pixels(self, blocks, *, instrument):
        self.blocks += len(blocks)
        if self.script:
            raise self.script.pop(0)
        return [answer_block(self._model, one, instrument) for one in blocks]

    def invert(self, spectra, *, seeds, **asked):
        return self._model.invert(spectra, seeds=seeds, samples=2, quality="fast")


@pytest.fixture(scope="module")
def model():
    return Several.load("siox", device="cpu", threads=1)


@pytest.fixture
def store(tiled_client):
    return GrowingMaps(lambda: tiled_client, config="c")


class Served:
    """What came of some documents."""

    def __init__(
        self, profile, model, store, documents, *, ledger=None, worker=None, clusters=None
    ) -> None:
        self.rows, self.single, self._clusters = [], [], clusters
        self.ledger = Ledger(":memory:") if ledger is None else ledger
        self.worker = OwnModel(model) if worker is None else worker
        self._model, self._store, self._profile = model, store, profile
        self._documents = list(documents)

    def run(self):
        method = Method(
            instrument=self._profile.instrument,
            key=lambda m: f"{m.run.uid}-{m.spectrum}",
            supports=self._model.supports,
            part_key=lambda uid, stream, name: f"{uid}-{name}",
        )
        service = Service(
            profile=self._profile,
            source=ListSource(self._documents),
            ledger=self.ledger,
            worker=self.worker,
            method=method,
            put=self.single.append,
            maps=MapWork(
                self._store, supports=self._model.supports, span=lambda: self._model.cards.grid
            ),
            clusters=self._clusters,
            live=False,
            audience=Audience(maps=[self.rows.append]),
        )
        with service:
            assert service.drain(110)
            if self._clusters is not None:
                assert self._clusters.all_drawn.wait(110)
        return self


def test_a_spectrum_image_becomes_one_entry(tiled_client, model, store):
    image = eels_map(size=12)
    served = Served(
        profile_of(EELS, energy="energy", spectrum="camera"), model, store, lines(image)
    )
    served.run()
    found = Maps(tiled_client)["run-map"]
    assert found.shape == (12, 12)
    assert [(axis.name, axis.unit) for axis in found.axes] == [("y", "nm"), ("x", "")]
    metadata = found.metadata
    holding = np.isfinite(image.cn_mean)
    assert metadata["answered"] == holding.sum()
    assert metadata["answered"] + sum(metadata["rejected"].values()) == metadata["pixels"] == 144
    assert np.array_equal(np.isfinite(found["cn_mean"]), holding)
    assert np.abs(found["cn_mean"] - image.cn_mean)[holding].mean() < 0.3
    assert np.array_equal(found["mu"], image.data)
    assert found["norm"].shape == (12, 12, len(found["energy"]))
    assert metadata["groups"][0]["pixels"] > 20
    assert found["group_0_positions"].ndim == 3
    assert set(np.unique(found["group"])) >= {-1, 0}
    assert found.flags["heads-only"].sum() == metadata["answered"]
    assert found.progress == 1.0
    assert served.rows[-1].status is MapStatus.COMPLETE
    assert (served.rows[-1].answered, served.rows[-1].rejected) == (
        metadata["answered"],
        144 - metadata["answered"],
    )
    assert served.ledger.backlog.counts()[State.COMPLETE] == len(served.rows)
    assert [one.key for one in Maps(tiled_client).search(raw_uid="run")] == ["run-map"]


def test_live_and_file_give_the_same_answers(tiled_client, model, store):
    from nearedge.callbacks.images import image_of
    from nearedge.callbacks.prepare_many import prepare_many
    from nearedge.models.answering.heads import answer_all

    profile = profile_of(EELS, energy="energy", spectrum="camera")
    documents = list(lines(eels_map(size=10)))
    Served(profile, model, store, documents).run()
    found = Maps(tiled_client)["run-map"]
    spectra = image_of(documents, profile.instrument).spectra
    wanted = answer_all(
        model,
        prepare_many(spectra, profile.instrument, supports=model.supports),
        span=model.cards.grid,
    )
    for name in ("cn_mean", "bond", "bond_lo", "angle", "ood_score"):
        assert found[name].ravel() == pytest.approx(getattr(wanted, name), abs=1e-5, nan_ok=True)


def test_sweeps_grow_over_time(tiled_client, model, store):
    image = quick_map(sweeps=30)
    Served(profile_of(XANES, energy="energy", mu="mu"), model, store, sweeps(image)).run()
    found = Maps(tiled_client)["run-map"]
    assert (found.shape, found["bond"].shape, found["norm"].shape[0]) == ((30,), (30,), 30)
    assert found.axes[0].positions == pytest.approx(0.05 * np.arange(1, 31))
    assert found.metadata["answered"] == 30
    assert np.corrcoef(found["cn_mean"], image.cn_mean)[0, 1] > 0.9


def test_scalars_go_along_the_axes_of_a_series(tiled_client, model, store):
    image = quick_map(sweeps=12)
    documents = list(sweeps(image))
    documents[1][1]["data_keys"]["T"] = {"source": "", "dtype": "number", "shape": [], "units": "K"}
    for k, (_, event) in enumerate(documents[2:-1]):
        event["data"]["T"] = 300.0 + k
    told = profile_of(XANES, energy="energy", mu="mu", context=["T"])
    Served(told, model, store, documents).run()
    found = Maps(tiled_client)["run-map"]
    assert found.along["T"] == pytest.approx(300.0 + np.arange(12))
    coordinate = found.to_dict()["coords"]["T"]
    assert (coordinate["dims"], coordinate["attrs"]) == (["time"], {"units": "K"})
    assert found.columns()["T"] == pytest.approx(300.0 + np.arange(12))


def test_a_stack_is_answered_at_the_end(tiled_client, model, store):
    image = xanes_map(size=8)
    documents = [
        start_of(),
        descriptor_of(
            mu={"dtype": "array", "shape": [8, 8]}, energy={"dtype": "number", "shape": []}
        ),
        *(
            event_of(k, {"mu": frame, "energy": energy})
            for k, (frame, energy) in enumerate(zip(image.data, image.energy, strict=True), start=1)
        ),
        stop_of(len(image.energy)),
    ]
    Served(profile_of(XANES, energy="energy", mu="mu"), model, store, documents).run()
    found = Maps(tiled_client)["run-map"]
    assert found.shape == (8, 8)
    assert found.metadata["answered"] == 64


def test_a_stopped_run_has_a_reason_for_each_pixel_that_it_lacks(tiled_client, model, store):
    documents = list(lines(eels_map(size=10)))
    cut = [*documents[:6], stop_of(4, status="abort")]
    Served(profile_of(EELS, energy="energy", spectrum="camera"), model, store, cut).run()
    found = Maps(tiled_client)["run-map"]
    assert found.shape == (10, 10)
    assert found.metadata["rejected"]["no-data"] == 60
    assert found.metadata["run_flags"] == ["aborted"]
    assert np.isnan(found["norm"][5:]).all()
    assert found["reason"].min() == -1


def test_what_was_read_before_is_left_out(tiled_client, model, store):
    """A run that is read again is cut elsewhere, and no pixel is answered twice."""
    profile = profile_of(EELS, energy="energy", spectrum="camera")
    documents = list(lines(eels_map(size=10)))
    ledger = Ledger(":memory:")
    first = Served(profile, model, store, documents[:5], ledger=ledger).run()
    assert Maps(tiled_client)["run-map"].metadata["status"] == "complete"  # it got no stop
    assert first.rows[-1].come == 100
    again = Served(profile, model, store, documents, ledger=ledger).run()
    names = sorted(name for name, _ in ledger.queue.blocks("run-map"))
    assert names == ["0-29", "30-99"]
    found = Maps(tiled_client)["run-map"]
    assert found.metadata["answered"] + found.metadata["rejected"]["no-edge"] == 100
    assert again.rows[-1].status is MapStatus.COMPLETE


def test_a_block_that_is_written_twice_changes_nothing(tiled_client, model, store):
    profile = profile_of(EELS, energy="energy", spectrum="camera")
    documents = list(lines(eels_map(size=8)))
    Served(profile, model, store, documents).run()
    before = contents(tiled_client["run-map"])
    Served(profile, model, GrowingMaps(lambda: tiled_client, config="c"), documents).run()
    assert same(before, contents(tiled_client["run-map"]))


def contents(node):
    """Return all arrays but those of the clusters, whose seed comes from the key."""
    names = [name for name in node if not name.startswith("group_")]
    return {name: np.asarray(node[name].read()) for name in names}


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k], equal_nan=one[k].dtype.kind == "f") for k in one
    )


class Torn:
    """A catalog that fails at one request, as a service that is killed leaves it."""

    def __init__(self, store, *, after) -> None:
        self._store, self._left = store, after
        self.failures = 0
        self._lock = threading.Lock()

    def request(self):
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.failures += 1
                raise httpx.ConnectError("torn")


@pytest.mark.parametrize("after", [2, 5, 9])
def test_a_write_that_is_torn_is_made_whole(after, tiled_client, model, monkeypatch):
    from tiled.client.array import ArrayClient

    profile = profile_of(EELS, energy="energy", spectrum="camera")
    documents = list(lines(eels_map(size=8)))
    whole = Served(profile, model, GrowingMaps(lambda: tiled_client, config="c"), documents)
    whole.run()
    before = contents(tiled_client["run-map"])
    torn = Torn(None, after=after)
    for name in ("patch", "write"):
        original = getattr(ArrayClient, name)

        def failing(self, *args, _original=original, **kwargs):
            torn.request()
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(ArrayClient, name, failing)
    other = [(name, renamed(doc)) for name, doc in documents]
    served = Served(profile, model, GrowingMaps(lambda: tiled_client, config="c"), other)
    served.run()
    assert torn.failures == 1
    assert same(before, contents(tiled_client["other-map"]))


def renamed(doc):
    return {
        key: value.replace("run", "other") if isinstance(value, str) else value
        for key, value in doc.items()
    }


def test_a_block_whose_worker_fails_is_tried_again(tiled_client, model, store):
    from nearedge.streaming.workers.worker import WorkerDied

    profile = profile_of(EELS, energy="energy", spectrum="camera")
    worker = OwnModel(model, WorkerDied("killed"), WorkerDied("killed"))
    served = Served(profile, model, store, lines(eels_map(size=6)), worker=worker).run()
    assert worker.blocks == 3
    assert served.rows[-1].status is MapStatus.COMPLETE
    assert Maps(tiled_client)["run-map"].metadata["come"] == 36


def first_block(profile, documents):
    """Return the first block of a run."""
    from nearedge.callbacks.assemble import Assembler

    blocks = []
    assembler = Assembler(profile.instrument, emit=lambda one: None, emit_block=blocks.append)
    for name, doc in documents:
        assembler(name, doc)
    return blocks[0]


def sweeps(image):
    """Documents of a quick scan, to and fro."""
    array = {"dtype": "array", "shape": [len(image.energy)]}
    yield start_of()
    yield descriptor_of(mu=array, energy=array)
    for k, sweep in enumerate(image.data, start=1):
        way = 1 if k % 2 else -1
        yield event_of(k, {"mu": sweep[::way], "energy": image.energy[::way]})
    yield stop_of(len(image.data))


@pytest.mark.parametrize("kind", ["lines", "sweeps"])
def test_blocks_written_together_are_as_those_written_one_by_one(kind, tiled_client, model):
    if kind == "lines":
        profile = profile_of(EELS, energy="energy", spectrum="camera")
        documents = list(lines(eels_map(size=6)))
    else:
        profile = profile_of(XANES, energy="energy", mu="mu")
        documents = list(sweeps(quick_map(sweeps=36)))
    block = first_block(profile, documents)
    parts = [block.some(0, 11), block.some(12, 20), block.some(21, 35)]
    told = profile.instrument.model_dump_json()
    answers = [(one, answer_block(model, one.spectra, told)) for one in parts]
    no_file = Rejected(reason=Reason.UNREADABLE, detail="no file")
    answers.append((replace(parts[1], spectra=None, refused=no_file), None))
    written = {}
    for key, pieces in (("apart", [[one] for one in answers]), ("together", [answers])):
        store = GrowingMaps(lambda: tiled_client, config="c", now=lambda: 5.0)
        for some in pieces:
            row = store.put_blocks(key, some, instrument=profile.instrument)
        written[key] = contents(tiled_client[key]), tiled_client[key].metadata, row.come
    assert same(written["apart"][0], written["together"][0])
    assert written["apart"][1] == written["together"][1]
    assert written["apart"][2] == written["together"][2] == 36


def test_a_map_that_grows_can_be_read(tiled_client, model, store):
    profile = profile_of(EELS, energy="energy", spectrum="camera")
    block = first_block(profile, lines(eels_map(size=10)))
    part = block.some(0, 44)
    answers = answer_block(model, part.spectra, profile.instrument.model_dump_json())
    row = store.put_blocks("run-map", [(part, answers)], instrument=profile.instrument)
    assert (row.status, row.pixels, row.come) == (MapStatus.GROWING, 100, 45)
    found = Maps(tiled_client)["run-map"]
    assert found.is_growing
    assert found.progress == 0.45
    assert found["bond"].shape == (10, 10)
    assert np.isnan(found["bond"][5:]).all()
    assert np.isnan(found["norm"][5:]).all()
    assert (found["reason"][5:] == -2).all()
    assert (found["group"] == -1).all()
    assert set(found.to_dict()["data_vars"]) >= {"bond", "norm"}
    assert found.columns()["reason"][-1] == "not yet"
    assert list(Maps(tiled_client).search()) == []
    assert [one.key for one in Maps(tiled_client).search(growing=True)] == ["run-map"]
    rest = replace(block.some(45, 99))
    answers = answer_block(model, rest.spectra, profile.instrument.model_dump_json())
    store.put_blocks("run-map", [(rest, answers)], instrument=profile.instrument)
    assert found.refresh().progress == 1.0


def compared(profile, model, box, documents):
    """Make a map again and compare it; return what was counted."""
    again = ComparingMaps(box)
    Served(profile, model, again, documents).run()
    assert again.told() == "" or max(again.worst.values()) < 1e-5
    return dict(+again.counts)


def test_a_map_made_again_is_compared_with_the_stored_one(tiled_client, model, store, caplog):
    profile = profile_of(EELS, energy="energy", spectrum="camera")
    documents = list(lines(eels_map(size=8)))
    assert compared(profile, model, tiled_client, documents) == {"missing": 64}
    Served(profile, model, store, documents).run()
    assert compared(profile, model, tiled_client, documents) == {"equal": 64}
    node = tiled_client["run-map"]
    answered = np.argwhere(np.asarray(node["reason"].read()) == -1)
    for k, name in enumerate(("figures", "flags", "norm", "reason")):
        y, x = (int(i) for i in answered[3 * k])
        array = np.array(node[name].read())
        array[y, x] += 1
        node[name].write(array)
    labels = np.array(node["group"].read())
    labels[tuple(answered[0])] += 1
    node["group"].write(labels)
    again = ComparingMaps(tiled_client)
    Served(profile, model, again, documents).run()
    assert dict(+again.counts) == {"equal": 60, "different": 4, OTHER_GROUPS: 1}
    text = caplog.text
    for name in ("cn_mean", "flags", "norm", "reason"):
        assert f"{name} is stored differently at 1 of them" in text
    assert "stored differently: group" in text


def test_a_catalog_that_is_away_at_the_start_is_opened_by_the_first_block(tiled_client, model):
    script = [httpx.ConnectError("away")]

    def container():
        if script:
            raise script.pop()
        return tiled_client

    store = GrowingMaps(container, config="c")
    MapWork(store, supports=model.supports, span=lambda: model.cards.grid).open()
    assert script == []
    profile = profile_of(EELS, energy="energy", spectrum="camera")
    Served(profile, model, store, lines(eels_map(size=6))).run()
    assert Maps(tiled_client)["run-map"].status == "complete"


class ToldStore(ClusterStore):
    """Tells when a map has come and all of its pixels have been seen to."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.all_drawn, self._found_any = threading.Event(), False

    def find(self):
        found = super().find()
        if found is None and self._found_any:
            self.all_drawn.set()
        self._found_any |= found is not None
        return found


@pytest.mark.parametrize("kind", ["lines", "sweeps"])
def test_pixels_have_the_clusters_that_a_click_would_draw(kind, tiled_client, model, store):
    if kind == "lines":
        profile = profile_of(EELS, energy="energy", spectrum="camera")
        documents = lines(eels_map(size=4))
    else:
        profile = profile_of(XANES, energy="energy", mu="mu")
        documents = sweeps(quick_map(sweeps=6))
    digests = [one.digest for one in model.cards.cards]
    clusters = ToldStore(lambda: tiled_client, config="c", models=digests)
    Served(profile, model, store, documents, clusters=clusters).run()
    found = Maps(tiled_client)["run-map"]
    answered = found["reason"] == -1
    assert found.clustered == answered.sum() > 4
    assert np.array_equal(found["clusters_done"] == 1, answered)
    place = tuple(int(i) for i in np.argwhere(answered)[-1])
    clicked = MapShelf(lambda: tiled_client).region("run-map", place, place).spectrum
    (wanted,) = OwnModel(model).invert([clicked], seeds=[seed_at("run-map", place, place)])
    drawn = found.clusters(place)
    assert np.array_equal(drawn.positions, wanted.samples.positions)
    assert np.array_equal(drawn.species, wanted.samples.species)
    assert np.array_equal(drawn.weights, wanted.samples.weights)
