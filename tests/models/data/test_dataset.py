import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearedge.models.data.dataset import Site, describe, read_dataset, write_dataset
from nearedge.models.spectrum import Technique


def site(key="a", **changes):
    values = {
        "id": key,
        "split": "train",
        "group": "hypo",
        "family": "f",
        "structure": "s",
        "source": "made by hand",
        "absorber": "Si",
        "edge": "K",
        "rattle": 0.1,
        "strain": 0.0,
        "species": np.array(["O", "O", "Si"]),
        "positions": np.array([[1.6, 0, 0], [0, 1.6, 0], [0, 0, 3.0]]),
        "energy": np.array([1840.0, 1841.5, 1843.0]),
        "mu": np.array([0.0, 0.5, 1.0]),
        "mu0": np.array([0.0, 0.25, 1.0]),
        "e_fermi": -4.5,
    }
    return Site(**(values | changes))


def test_written_sites_are_read_back(tmp_path):
    path = tmp_path / "sites.parquet"
    write_dataset([site("a"), site("b", absorber="O", split="val")], path)
    first, second = read_dataset(path)
    for field in dataclasses.fields(Site):
        expected = getattr(site("a"), field.name)
        if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
            np.testing.assert_allclose(getattr(first, field.name), expected, atol=1e-6)
        elif isinstance(expected, float):
            assert getattr(first, field.name) == pytest.approx(expected)
        else:
            assert np.array_equal(getattr(first, field.name), expected)
    assert second.id == "b"
    assert [s.id for s in read_dataset(path, split="val")] == ["b"]
    assert [s.id for s in read_dataset(path, absorber="Si")] == ["a"]


def test_a_site_in_two_files_is_read_once(tmp_path):
    write_dataset([site("a"), site("b")], tmp_path / "1.parquet")
    write_dataset([site("b"), site("c")], tmp_path / "2.parquet")
    found = read_dataset([tmp_path / "1.parquet", tmp_path / "2.parquet"])
    assert [s.id for s in found] == ["a", "b", "c"]


def test_a_file_with_only_the_needed_columns_will_do(tmp_path):
    row = {
        "absorber": "Si",
        "edge": "K",
        "species": ["O"],
        "positions": [1.6, 0, 0],
        "energy": [1.0],
        "mu": [2],
    }
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "bare.parquet")
    sites = read_dataset(tmp_path / "bare.parquet")
    assert len(sites) == 2
    assert sites[0].cn == 1
    assert sites[0].mu0.size == 0


def test_a_missing_column_is_named(tmp_path):
    pq.write_table(pa.Table.from_pylist([{"energy": [1.0]}]), tmp_path / "no.parquet")
    with pytest.raises(ValueError, match="absorber, edge, species, positions, mu"):
        read_dataset(tmp_path / "no.parquet")


def test_a_site_is_frozen_and_gives_its_spectrum():
    one = site()
    assert one.spectrum.technique is Technique.XANES
    assert one.spectrum.absorber == "Si"
    with pytest.raises(ValueError, match="read-only"):
        one.mu[0] = 3


def test_describe_counts_by_split():
    found = describe([site("a"), site("b", family="g", absorber="O"), site("c", split="glass")])
    assert found["train"]["sites"] == 2
    assert found["train"]["families"] == 2
    assert found["train"]["absorbers"] == {"O": 1, "Si": 1}
    assert found["glass"]["coordination"] == {"Si2": 1}
