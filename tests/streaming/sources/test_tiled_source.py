from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import event_model
import h5py
import httpx
import numpy as np
import pytest
from bluesky_tiled_plugins import TiledWriter
from tiled.client import from_context
from tiled.client.constructors import Context
from tiled.client.utils import ClientError
from tiled.server.app import build_app_from_config
from tiled.structures.core import Spec

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.streaming.catalog.connection import raw_container
from nearedge.streaming.catalog.embedded import server_config
from nearedge.streaming.catalog.embedded_main import prepare
from nearedge.streaming.catalog.raw_runs import ended
from nearedge.streaming.sources.tiled_source import AWAY, TiledSource

T = 1.7e9
SPECTRA = np.arange(12.0).reshape(3, 4)


def step_scan(uid: str, *, time: float, stop: bool = True) -> Iterator[tuple[str, dict]]:
    """Three events with a scalar and an array each."""
    run = event_model.compose_run(uid=uid, time=time, metadata={"scan_id": 1})
    yield "start", run.start_doc
    keys = {
        "energy": {"source": "s", "dtype": "number", "shape": []},
        "xs": {"source": "s", "dtype": "array", "shape": [4], "dtype_numpy": "<f8"},
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    yield "descriptor", stream.descriptor_doc
    for i, row in enumerate(SPECTRA):
        yield (
            "event",
            stream.compose_event(
                data={"energy": 1800.0 + i, "xs": row.tolist()},
                timestamps={"energy": time, "xs": time},
            ),
        )
    if stop:
        yield "stop", run.compose_stop()


def file_scan(uid: str, file: Path) -> Iterator[tuple[str, dict]]:
    """Three spectra in an HDF5 file."""
    with h5py.File(file, "w") as h5:
        h5["entry/data"] = SPECTRA
    run = event_model.compose_run(uid=uid, time=T + 50)
    yield "start", run.start_doc
    key = {"source": "s", "dtype": "array", "shape": [1, 4], "dtype_numpy": "<f8"}
    stream = run.compose_descriptor(
        name="primary", data_keys={"cam": {**key, "external": "STREAM:"}}
    )
    yield "descriptor", stream.descriptor_doc
    resource = run.compose_stream_resource(
        mimetype="application/x-hdf5",
        uri=f"file://localhost{file}",
        data_key="cam",
        parameters={"dataset": "entry/data", "chunk_shape": (1, 4), "swmr": False},
    )
    yield "stream_resource", resource.stream_resource_doc
    yield (
        "stream_datum",
        resource.compose_stream_datum(
            indices={"start": 0, "stop": 3},
            seq_nums={"start": 1, "stop": 4},
            descriptor=stream.descriptor_doc,
        ),
    )
    yield "stop", run.compose_stop()


@pytest.fixture(scope="module")
def raw(tiled_server: Any, tiled_files: Path) -> Any:
    """Two finished runs, one without a stop document and one in a file."""
    raw = raw_container(tiled_server, "raw")
    runs = [
        step_scan("later", time=T + 300),
        step_scan("early", time=T + 100),
        step_scan("aborted", time=T + 200, stop=False),
        file_scan("filed", tiled_files / "spectra.h5"),
    ]
    for run in runs:
        writer = TiledWriter(raw, batch_size=100, max_array_size=0)
        for name, doc in run:
            writer(name, doc)
    return raw


def test_a_run_comes_back_as_it_was_stored(raw: Any) -> None:
    made = list(step_scan("early", time=T + 100))
    read = list(TiledSource(raw, uids=["early"]).documents())
    assert [name for name, _ in read] == [name for name, _ in made]
    assert {type(doc) for _, doc in read} == {dict}
    events = [doc for name, doc in read if name == "event"]
    assert [e["seq_num"] for e in events] == [1, 2, 3]
    assert [e["data"]["energy"] for e in events] == [1800.0, 1801.0, 1802.0]
    np.testing.assert_array_equal([e["data"]["xs"] for e in events], SPECTRA)
    assert read[0][1]["uid"] == read[-1][1]["run_start"] == "early"
    for name, doc in read:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)


def test_all_finished_runs_come_the_oldest_first(raw: Any) -> None:
    assert TiledSource(raw).uids() == ["filed", "early", "later"]
    stops = [doc["run_start"] for name, doc in TiledSource(raw).documents() if name == "stop"]
    assert stops == ["filed", "early", "later"]


def test_bounds_choose_by_the_start(raw: Any) -> None:
    assert TiledSource(raw, since=T + 100).uids() == ["early", "later"]
    assert TiledSource(raw, until=T + 300).uids() == ["filed", "early"]
    assert TiledSource(raw, since=T + 99, until=T + 101).uids() == ["early"]


def test_a_run_without_a_stop_gets_none(raw: Any, caplog: pytest.LogCaptureFixture) -> None:
    names = [name for name, _ in TiledSource(raw, uids=["aborted"]).documents()]
    assert names == ["start", "descriptor"] + ["event"] * (len(names) - 2)
    assert "run aborted has no stop document" in caplog.text


def test_file_backed_data_come_with_their_file(raw: Any, tiled_files: Path) -> None:
    documents = dict(TiledSource(raw, uids=["filed"]).documents())
    resource = documents["stream_resource"]
    assert resource["uri"] == f"file://localhost{tiled_files / 'spectra.h5'}"
    assert resource["parameters"]["dataset"] == "entry/data"
    assert documents["stream_datum"]["indices"] == {"start": 0, "stop": 3}
    assert documents["stream_datum"]["descriptor"] == documents["descriptor"]["uid"]


def test_a_run_that_cannot_be_read_does_not_end_the_others(raw: Any) -> None:
    passed: dict[str, str] = {}
    source = TiledSource(
        raw,
        uids=["early", "nowhere", "later"],
        on_unreadable=lambda uid, error: passed.setdefault(uid, str(error)),
    )
    starts = [doc["uid"] for name, doc in source.documents() if name == "start"]
    assert starts == ["early", "later"]
    assert "no run 'nowhere'" in passed["nowhere"]


def test_a_server_that_is_away_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(raw: Any, uid: str) -> Any:
        raise httpx.ConnectError("nobody listens")

    monkeypatch.setattr("nearedge.streaming.sources.tiled_source.documents_of", away)
    passed: list[str] = []
    uids = [f"run-{k}" for k in range(10)]
    source = TiledSource(None, uids=uids, on_unreadable=lambda uid, error: passed.append(uid))
    with pytest.raises(httpx.ConnectError):
        list(source.documents())
    assert passed == uids[: AWAY - 1]


def test_runs_that_are_known_are_not_read(raw: Any) -> None:
    source = TiledSource(raw, skip=lambda uids: {"early", "filed"} & set(uids))
    assert [doc["uid"] for name, doc in source.documents() if name == "start"] == ["later"]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Runs on a server that was not told how to export them."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "data").mkdir()
    prepare(folder / "catalog.db")
    config = server_config(folder, readable=[folder])
    config["authentication"]["single_user_api_key"] = "secret"
    del config["media_types"]["BlueskyRun"]
    with Context.from_app(build_app_from_config(config), api_key="secret") as context:
        raw = raw_container(from_context(context), "raw")
        for run in (step_scan("early", time=T + 100), file_scan("filed", folder / "spectra.h5")):
            writer = TiledWriter(raw, batch_size=100, max_array_size=0)
            for name, doc in run:
                writer(name, doc)
        yield raw


@pytest.mark.filterwarnings("ignore:No path_separator found")
def test_a_run_comes_from_its_tables_where_the_server_cannot_export_it(
    raw: Any, stock: Any
) -> None:
    with pytest.raises(ClientError, match="406"):
        list(stock["early"].documents())
    for uid in ("early", "filed"):
        own, given = (list(TiledSource(one, uids=[uid]).documents()) for one in (stock, raw))
        assert [name for name, _ in own] == [name for name, _ in given]
        for (name, doc), (_, other) in zip(own, given, strict=True):
            event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
            assert doc.get("data") == other.get("data")
            assert doc.get("seq_num") == other.get("seq_num")
    resource = dict(TiledSource(stock, uids=["filed"]).documents())["stream_resource"]
    assert resource["uri"].endswith("spectra.h5")


class OlderCatalog:
    """A catalog that knows neither a query nor an order that is asked for, as databroker's may."""

    def __init__(self, raw: Any, *, unknown: tuple[str, ...]) -> None:
        self._raw, self._unknown = raw, unknown

    def search(self, query: Any) -> "OlderCatalog":
        self._refuse(type(query).__name__)
        return OlderCatalog(self._raw.search(query), unknown=self._unknown)

    def sort(self, *order: Any) -> "OlderCatalog":
        self._refuse("sort")
        return OlderCatalog(self._raw.sort(*order), unknown=self._unknown)

    def _refuse(self, what: str) -> None:
        if what in self._unknown:
            request = httpx.Request("GET", "http://127.0.0.1/search")
            response = httpx.Response(400, request=request)
            raise ClientError(f"The query type {what!r} is not supported", request, response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __getitem__(self, key: str) -> Any:
        return self._raw[key]


@pytest.mark.parametrize(
    "unknown", [("KeyPresent",), ("sort",), ("KeyPresent", "Comparison", "In", "sort")]
)
def test_a_catalog_that_knows_no_such_query_is_looked_through(
    raw: Any, unknown: tuple[str, ...]
) -> None:
    older: Any = OlderCatalog(raw, unknown=unknown)
    assert TiledSource(older).uids() == ["filed", "early", "later"]
    assert TiledSource(older, since=T + 100, until=T + 300).uids() == ["early"]
    assert set(ended(older, since=0.0)) == {"filed", "early", "later"}
    assert ended(older, since=4e9) == []


def test_a_run_that_is_not_there_is_named(raw: Any) -> None:
    with pytest.raises(KeyError, match="no run 'nowhere'"):
        list(TiledSource(raw, uids=["nowhere"]).documents())


def test_stopping_ends_before_the_next_document(raw: Any) -> None:
    source = TiledSource(raw)
    documents = source.documents()
    next(documents)
    source.stop()
    assert list(documents) == []


def scan_with_baseline(uid: str) -> Iterator[tuple[str, dict]]:
    """A scan whose start document and baseline hold numbers and other things."""
    metadata = {
        "scan_id": 4,
        "proposal": 312345,
        "sample": {"name": "quartz", "temperature": 293.5, "history": {"annealed_h": 2}},
        "azimuth": 0.1 + 0.2,
        "dark_frame": False,
        "mesh": [1, 2],
    }
    run = event_model.compose_run(uid=uid, time=T, metadata=metadata)
    baseline = run.compose_descriptor(
        name="baseline",
        data_keys={
            "ring_current": {"source": "s", "dtype": "number", "shape": [], "units": "mA"},
            "gain": {"source": "s", "dtype": "integer", "shape": []},
            "mode": {"source": "s", "dtype": "string", "shape": []},
            "slits": {"source": "s", "dtype": "array", "shape": [2], "dtype_numpy": "<f8"},
        },
    )
    energy = {"e": {"source": "s", "dtype": "number", "shape": [], "units": "eV"}}
    primary = run.compose_descriptor(name="primary", data_keys=energy)
    around = {"gain": 3, "mode": "top-up", "slits": [0.1, 0.2]}
    yield "start", run.start_doc
    yield "descriptor", baseline.descriptor_doc
    yield "event", read(baseline, {"ring_current": 401.5, **around})
    yield "descriptor", primary.descriptor_doc
    for k in range(3):
        yield "event", read(primary, {"e": 1800.0 + k})
    yield "event", read(baseline, {"ring_current": 400.5, **around})
    yield "stop", run.compose_stop()


def read(stream: Any, values: dict[str, Any]) -> dict:
    return stream.compose_event(data=values, timestamps=dict.fromkeys(values, T))


def assembled(documents: Iterable[tuple[str, dict]]) -> Measurement:
    found: list[Measurement] = []
    instrument = Instrument.model_validate({"roles": {"energy": "e", "context": ["gain"]}})
    assembler = Assembler(instrument, emit=found.append)
    for name, doc in documents:
        assembler(name, doc)
    return found[-1]


def test_a_run_has_the_same_scalars_live_and_from_the_catalog(raw: Any) -> None:
    documents = list(scan_with_baseline("surrounded"))
    writer = TiledWriter(raw, batch_size=100, max_array_size=0)
    for name, doc in documents:
        writer(name, doc)
    live = assembled(documents)
    replayed = assembled(TiledSource(raw, uids=["surrounded"]).documents())
    assert list(live.context.items()) == [
        ("gain", 3.0),
        ("ring_current", 401.0),
        ("azimuth", 0.1 + 0.2),
        ("proposal", 312345.0),
        ("sample.temperature", 293.5),
        ("sample.history.annealed_h", 2.0),
    ]
    assert live.units == {"ring_current": "mA"}
    assert list(replayed.context.items()) == list(live.context.items())
    assert replayed.units == live.units


MANY = 250


@pytest.fixture(scope="module")
def many(tiled_server: Any) -> Any:
    """More runs than Tiled lists by itself, their order in time not that in which they came."""
    raw = raw_container(tiled_server, "raw-many")
    for k in range(MANY):
        start = {"uid": f"run-{k}", "time": T + k * 37 % MANY}
        metadata = {"start": start, "stop": {"exit_status": "success", "time": start["time"] + 10}}
        raw.create_container(
            f"run-{k}", metadata=metadata, specs=[Spec("BlueskyRun", version="3.0")]
        )
    return raw


def test_no_run_of_a_large_catalog_is_left_out(many: Any) -> None:
    by_time = sorted(range(MANY), key=lambda k: k * 37 % MANY)
    expected = [f"run-{k}" for k in by_time]
    assert TiledSource(many).uids() == expected
    assert TiledSource(many, since=T + 20).uids() == expected[20:]
    assert ended(many, since=T) == expected
