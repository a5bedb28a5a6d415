"""The data set that the released model was trained on, as it lies in the repository."""

from pathlib import Path

import numpy as np
import pytest

from nearedge.models.clusters.geometry import distances
from nearedge.models.data.dataset import read_dataset

DATA = Path(__file__).parents[2] / "benchmarks" / "data"


@pytest.fixture(scope="module")
def sites():
    return read_dataset(DATA / "siox.parquet")


def test_no_family_is_in_two_splits(sites):
    split = {}
    for site in sites:
        assert split.setdefault(site.family, site.split) == site.split, site.family


def test_clusters_without_spectra_are_of_no_held_out_family(sites):
    clusters = read_dataset(DATA / "clusters.parquet")
    assert {site.split for site in clusters} == {"train"}
    assert not any(len(site.energy) for site in clusters)
    held_out = {site.family for site in sites if site.split != "train"}
    assert not held_out & {site.family for site in clusters}


def test_the_model_never_learns_from_glass(sites):
    amorphous = {site.split for site in sites if site.group in ("glass", "dm2")}
    assert amorphous == {"glass"}
    assert {site.group for site in sites if site.split == "glass"} <= {"glass", "dm2"}


def test_rows_are_what_their_description_says(sites):
    assert {site.split for site in sites} == {"train", "val", "test", "glass"}
    for site in sites:
        assert (np.diff(site.energy) > 0).all()
        assert site.mu.shape == site.energy.shape
        assert np.isfinite(site.mu).all()
        r = distances(site.positions)
        assert (np.diff(r) > -1e-3).all()
        assert 1.2 < r[0]
        assert r[-1] < 6.61


def test_foreign_spectra_are_of_other_materials():
    foreign = read_dataset(DATA / "foreign.parquet")
    assert {site.split for site in foreign} == {"foreign"}
    for site in foreign:
        assert not {"Si", "O"} <= {site.absorber, *site.species.tolist()}
