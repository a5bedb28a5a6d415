import io
import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiled.structures.core import Spec

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Reason, Rejected
from nearedge.streaming.catalog import result_writer
from nearedge.streaming.catalog.connection import container, raw_container, results_container
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.results import Provenance, RejectedResult, Results, ResultWriter
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import result_key, seed_of

Make = Callable[..., Inversion]
REJECTED = Rejected(reason=Reason.NO_EDGE, detail="no edge between 1800 and 1950 eV")


def provenance(written: float = 1020.0) -> Provenance:
    return Provenance(config="c0ffee", code="0.1.0", written=written, timings={"invert": 0.25})


@pytest.fixture
def box(tiled_client: Any) -> Any:
    return results_container(tiled_client, "beamline/inversions")


@pytest.fixture(scope="module", params=["sent", "filed"])
def files(request: pytest.FixtureRequest, tiled_files: Path) -> ResultFiles | None:
    """Where arrays go: to the server, or into files that it reads."""
    return None if request.param == "sent" else ResultFiles(tiled_files / "nearedge")


@pytest.fixture(scope="module")
def full(tiled_server: Any, files: ResultFiles | None) -> Any:
    """The container of `written`."""
    return results_container(tiled_server, f"written-{uuid.uuid4()}")


@pytest.fixture(scope="module")
def written(
    full: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> Results:
    """Two answers and a rejection, to be read only."""
    writer = ResultWriter(full, files=files)
    writer.write("k1", measurement, spectrum, make_inversion(), provenance=provenance())
    writer.write("k2", measurement, spectrum, make_inversion(6.0, 1.8), provenance=provenance(1030))
    writer.write_rejected("k3", measurement, REJECTED, provenance=provenance())
    writer.close()
    return Results(full)


def test_a_result_is_read_as_it_was_written(
    written: Results,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> None:
    result, inversion = written["k1"], make_inversion()
    assert result.status == "complete"
    for name in ("energy", "mu", "norm", "flat"):
        np.testing.assert_array_equal(getattr(result.spectrum, name), getattr(spectrum, name))
    for name in ("e0", "edge_step", "energy_shift", "complete", "parameters", "flags", "technique"):
        assert getattr(result.spectrum, name) == getattr(spectrum, name)
    np.testing.assert_array_equal(result.positions, inversion.samples.positions)
    np.testing.assert_array_equal(result.samples.weights, inversion.samples.weights)
    assert result.species.tolist() == [["O", "O", "Si"], ["O", "Si", "X"]]
    assert list(result.raw) == ["energy", "i0", "low_loss", "if"]
    for role, column in measurement.columns.items():
        np.testing.assert_array_equal(result.raw[role], column)
    read, made = result.estimates, inversion.estimates
    for name in ("cn_mean", "cn_map", "cn_set", "bond", "angle", "bridge"):
        assert getattr(read, name) == getattr(made, name)
    for name in ("cn_prob", "sample_cn", "sample_bond", "sample_angle", "rdf_r"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert list(read.rdf) == ["O", "Si"]
    np.testing.assert_array_equal(read.rdf["Si"], made.rdf["Si"])


def test_the_fit_is_read_as_it_was_written(
    box: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> None:
    inversion = make_inversion(misfit=0.05)
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
    with closing(ResultWriter(box, files=files)) as writer:
        writer.write("with", measurement, spectrum, inversion, provenance=by)
        writer.write("without", measurement, spectrum, make_inversion(), provenance=by)
    fit = Results(box)["with"].fit
    assert fit is not None
    np.testing.assert_array_equal(fit["energy"], inversion.grid)
    np.testing.assert_array_equal(fit["measured"], inversion.condition)
    np.testing.assert_array_equal(fit["implied"], inversion.implied)
    assert Results(box)["without"].fit is None


def test_metadata_say_what_made_it(written: Results) -> None:
    metadata = written["k1"].metadata
    expected = {
        "edge": "K",
        "absorber": "Si",
        "technique": "xanes",
        "model": "0123456789abcdef",
        "config": "c0ffee",
        "code": "0.1.0",
        "seed": 2**52 + 1,
        "quality": "default",
        "flags": ["gap", "short-post-edge", "partial"],
        "context": {"pressure": 2.5},
        "timings": {"invert": 0.25},
        "ood": {"score": 0.5, "flag": False},
        "misfit": None,
        "samples": 2,
    }
    assert {name: metadata[name] for name in expected} == expected
    assert (metadata["raw"]["uid"], metadata["raw"]["scan_id"]) == ("run-1", 7)


def test_a_rejection_is_read_as_it_was_written(written: Results, measurement: Measurement) -> None:
    (entry,) = written.rejected(raw_uid="run-1")
    assert (entry.key, entry.rejected, entry.status) == ("k3", REJECTED, "rejected")
    np.testing.assert_array_equal(entry.raw["energy"], measurement.columns["energy"])


def test_search_finds_what_matches_everything(written: Results) -> None:
    for query, keys in [
        ({}, ["k2", "k1"]),
        ({"raw_uid": "run-1"}, ["k2", "k1"]),
        ({"raw_uid": "run-2"}, []),
        ({"scan_id": 7}, ["k2", "k1"]),
        ({"absorber": "Si", "edge": "K"}, ["k2", "k1"]),
        ({"absorber": "O"}, []),
        ({"cn_min": 5}, ["k2"]),
        ({"cn_max": 4.25}, ["k1"]),
        ({"bond_min": 1.7}, ["k2"]),
        ({"bond_max": 1.7}, ["k1"]),
        ({"ood": False}, ["k2", "k1"]),
        ({"ood": True}, []),
        ({"since": 1010.0}, ["k2", "k1"]),
        ({"since": 1011.0}, []),
    ]:
        assert [result.key for result in written.search(**query)] == keys, query


def test_latest_is_the_one_written_last(written: Results) -> None:
    assert written.latest().key == "k2"


def test_latest_of_nothing_is_none(box: Any) -> None:
    assert Results(box).latest() is None


def test_what_is_finished_can_be_listed(written: Results) -> None:
    assert dict(written.finished()) == {"k1": "complete", "k2": "complete", "k3": "rejected"}


class Killed(BaseException):
    """Stands for kill -9: nothing handles it."""


class Failing:
    """Lets a number of requests pass, then fails every one."""

    def __init__(self, client: Any, passing: int) -> None:
        self._http, self._send = client.context.http_client, client.context.http_client.send
        self._left = passing

    def __enter__(self) -> None:
        self._http.send = self.send

    def __exit__(self, *_: object) -> None:
        self._http.send = self._send

    def send(self, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Killed
        return self._send(*args, **kwargs)


def test_a_writer_killed_anywhere_is_made_good_by_the_next(
    box: Any, files: ResultFiles | None, measurement: Measurement
) -> None:
    results, kills = Results(box), 0
    for i in itertools.count():
        writer, key = ResultWriter(box, files=files, threads=1), f"key-{i}"
        try:
            with Failing(box, i):
                writer.write_rejected(key, measurement, REJECTED, provenance=provenance())
        except Killed:
            kills += 1
        else:
            break
        finally:
            writer.close()
        assert key not in dict(results.finished())
        again = ResultWriter(box, files=files)
        again.write_rejected(key, measurement, REJECTED, provenance=provenance())
        again.close()
        entry = RejectedResult(box[key])
        assert (entry.status, entry.rejected) == ("rejected", REJECTED)
        np.testing.assert_array_equal(entry.raw["if"], measurement.columns["if"])
        np.testing.assert_array_equal(entry.raw["low_loss"], measurement.columns["low_loss"])
    # the whole entry; or the container, two arrays of two requests each, the status
    assert kills == (1 if files else 6)


def test_two_writers_of_one_key_make_one_result(
    box: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> None:
    inversion, both = make_inversion(), threading.Barrier(2)

    def write() -> None:
        writer = ResultWriter(box, files=files, threads=1)
        both.wait()
        writer.write("k", measurement, spectrum, inversion, provenance=provenance())
        writer.close()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(write) for _ in range(2)]:
            future.result()
    (result,) = Results(box).search()
    np.testing.assert_array_equal(result.positions, inversion.samples.positions)


def test_a_finished_result_is_never_touched_again(
    written: Results,
    full: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> None:
    writer = ResultWriter(full, files=files)
    writer.write("k1", measurement, spectrum, make_inversion(9.0), provenance=provenance(9999))
    writer.write_rejected("k1", measurement, REJECTED, provenance=provenance())
    writer.close()
    assert written["k1"].metadata["cn"]["mean"] == 4.25
    assert written["k1"].status == "complete"


def test_an_answer_takes_the_place_of_a_rejection(
    box: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> None:
    writer, answer = ResultWriter(box, files=files), (measurement, spectrum, make_inversion())
    writer.write_rejected("k", measurement, REJECTED, provenance=provenance())
    writer.write("k", *answer, provenance=provenance())
    writer.write_rejected("k", measurement, REJECTED, provenance=provenance())
    writer.close()
    (result,) = Results(box).search()
    assert (result.key, result.status) == ("k", "complete")
    assert list(Results(box).rejected()) == []


def test_a_quick_answer_stands_beside_its_place_until_the_full_one_is_there(
    box: Any,
    files: ResultFiles | None,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable,
) -> None:
    writer, answer = ResultWriter(box, files=files), (measurement, spectrum, make_inversion())
    writer.write_degraded("k", *answer, provenance=provenance())
    assert len(box) == 1
    assert "k" not in box
    assert Results(box).latest() is None
    writer.write("k", *answer, provenance=provenance())
    writer.remove_degraded("k")
    assert list(box) == ["k"]
    writer.remove_degraded("k")  # again: nothing is there
    writer.close()


def test_a_torn_entry_is_written_anew_into_a_file(
    box: Any, tiled_files: Path, measurement: Measurement
) -> None:
    box.create_container("k", metadata={"status": "writing"}, specs=["RejectedSpectrum"])
    box["k"].write_array(np.ones(2), key="raw")
    with closing(ResultWriter(box, files=ResultFiles(tiled_files / "torn"))) as writer:
        writer.write_rejected("k", measurement, REJECTED, provenance=provenance())
    (entry,) = Results(box).rejected()
    np.testing.assert_array_equal(entry.raw["energy"], measurement.columns["energy"])


def test_an_entry_in_a_file_takes_one_request_and_its_file_goes_with_it(
    box: Any,
    tiled_files: Path,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Make,
) -> None:
    folder, by = tiled_files / "one", provenance()
    writer = ResultWriter(box, files=ResultFiles(folder, private=True))
    with Failing(box, 1):
        writer.write_rejected("k", measurement, REJECTED, provenance=by)
    (rejected,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, rejected.stat().st_mode & 0o777) == (0o700, 0o600)
    writer.write_degraded("k", measurement, spectrum, make_inversion(), provenance=by)
    writer.write("k", measurement, spectrum, make_inversion(), provenance=by)
    assert not rejected.exists()
    writer.remove_degraded("k")
    writer.close()
    (left,) = folder.iterdir()
    assert left.name.startswith("k-")
    assert "degraded" not in left.name


def test_arrays_without_elements_do_not_go_into_a_file() -> None:
    assert ResultFiles.suit({"a": np.ones(3)})
    assert not ResultFiles.suit({"a": np.ones(3), "b": np.empty((2, 0, 3))})
    assert not ResultFiles.suit({})


def test_spectra_over_a_map_lie_in_parts(box: Any, tiled_files: Path) -> None:
    """A server that reads a file gives a pixel without reading all of the map."""
    spectra = np.arange(64 * 128 * 300, dtype=np.float32).reshape(64, 128, 300)
    with closing(ResultWriter(box, files=ResultFiles(tiled_files / "large"))) as writer:
        arrays = {"norm": spectra, "energy": np.arange(300.0)}
        writer.put("k", Spec("SpectrumMap"), {}, arrays, final=State.COMPLETE)
    assert box["k"]["norm"].chunks == ((32, 32), (128,), (300,))
    assert box["k"]["energy"].chunks == ((300,),)
    np.testing.assert_array_equal(box["k"]["norm"][40:41, 3:4], spectra[40:41, 3:4])
    np.testing.assert_array_equal(box["k"]["norm"][:], spectra)


def test_what_is_being_written_is_not_found(box: Any) -> None:
    box.create_container("k", metadata={"status": "writing"}, specs=["ClusterEnsemble"])
    assert list(Results(box).search()) == []
    assert list(Results(box).finished()) == []


def test_an_array_of_another_shape_left_behind_is_replaced(box: Any) -> None:
    node = box.create_container("k")
    result_writer.put_array(node, "a", np.ones(3))
    result_writer.put_array(node, "a", np.ones((2, 2)))
    np.testing.assert_array_equal(node["a"].read(), np.ones((2, 2)))


def test_a_rejection_without_columns_is_written(
    box: Any, files: ResultFiles | None, measurement: Measurement
) -> None:
    bare = type(measurement)(
        run=measurement.run,
        stream="primary",
        spectrum="0",
        columns={},
        complete=False,
        final=True,
        time=1.0,
    )
    writer = ResultWriter(box, files=files)
    writer.write_rejected("k", bare, REJECTED, provenance=provenance())
    writer.close()
    (entry,) = Results(box).rejected()
    assert entry.raw == {}


def test_ase_reads_the_extended_xyz(written: Results) -> None:
    result = written["k1"]
    frames = ase.io.read(io.StringIO(result.extended_xyz()), index=":", format="extxyz")
    assert [atoms.get_chemical_symbols() for atoms in frames] == [
        ["Si", "O", "O", "Si"],
        ["Si", "O", "Si"],
    ]
    np.testing.assert_allclose(frames[0].positions[1:], result.positions[0], atol=1e-7)
    np.testing.assert_array_equal(frames[1].positions[0], np.zeros(3))
    assert frames[0].info["raw_uid"] == "run-1"
    assert frames[0].info["weight"] == 0.75
    assert "bond" not in frames[1].info
    (one,) = ase.io.read(io.StringIO(result.extended_xyz(1)), index=":", format="extxyz")
    assert one.info["sample"] == 1
    assert not one.pbc.any()


def test_pymatgen_gets_a_molecule_and_a_structure(written: Results) -> None:
    result = written["k1"]
    molecule, structure = result.molecule(0), result.structure(0)
    assert molecule.composition.formula == structure.composition.formula == "Si2 O2"
    for i in range(1, 4):
        distance = np.linalg.norm(result.positions[0, i - 1])
        assert molecule.get_distance(0, i) == pytest.approx(distance)
        assert structure.get_distance(0, i) == pytest.approx(distance)


def test_containers_are_made_once(tiled_client: Any) -> None:
    first = raw_container(tiled_client, "raw")
    assert [spec.name for spec in first.specs] == ["CatalogOfBlueskyRuns"]
    first.create_container("run")
    assert list(raw_container(tiled_client, "raw")) == ["run"]
    container(tiled_client, "a/b/c").create_container("d")
    assert list(container(tiled_client, "a/b/c")) == ["d"]


names = st.text(max_size=5)


@given(st.lists(st.tuples(names, names, names, names, names), min_size=2, unique=True))
def test_keys_differ_whenever_a_part_does(parts: list[tuple]) -> None:
    keys = {result_key(*p[:3], model_digest=p[3], config_digest=p[4]) for p in parts}
    assert len(keys) == len(parts)
    assert all(0 <= seed_of(key) < 2**53 for key in keys)


def test_keys_and_seeds_stay_what_they_were() -> None:
    key = result_key("uid", "primary", "0", model_digest="m", config_digest="c")
    assert key == result_key("uid", "primary", "0", model_digest="m", config_digest="c")
    assert len(key) == 64
    assert seed_of("f" * 64) == 2**53 - 1
