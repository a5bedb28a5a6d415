from dataclasses import replace

import numpy as np
import pytest

from benchmarks import exafs
from nearedge.models.data.dataset import read_dataset

SHELL = exafs.Shell(amplitude=4.0, amplitude_std=0.2, bond=1.61, sigma2=0.003, e0=0.0, misfit=0.0)


@pytest.fixture(scope="module")
def site():
    sites = read_dataset(exafs.DATA / "siox.parquet", split="glass", absorber="Si")
    return next(one for one in sites if one.cn == 4)


def test_noise_is_that_of_the_row():
    chi = np.zeros(2000)
    once, again, other = (exafs.noisy(chi, 0.01, key) for key in ("a1", "a1", "a2"))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 0
    assert once.std() == pytest.approx(0.01, rel=0.1)


def test_a_fit_without_an_answer_is_counted_and_left_out(site):
    half = replace(SHELL, amplitude=2.0)
    found = exafs.figures([site, site, site], [half, None, SHELL], s02=1.0)
    assert (found["rows"], found["failed"]) == (3, 1)
    assert found["cn_error"] == pytest.approx(0.25)
    assert found["cn_accuracy"] == pytest.approx(0.5)
    assert found["confusion"] == {"4": {"2": 1, "4": 1}}


def test_the_amplitude_over_s02_is_the_coordination_number(site):
    assert exafs.judge(site, SHELL, 0.8).cn_mean == pytest.approx(5.0)


def test_every_coordination_number_counts_alike_however_few_sites_it_has(site):
    bare = replace(site, species=site.species[1:], positions=site.positions[1:])
    found = exafs.figures([site, site, bare], [SHELL] * 3, s02=1.0)
    assert found["cn_error"] == pytest.approx(1 / 9)
    assert found["cn_error_every"] == pytest.approx(1 / 6)


def test_of_each_split_and_noise_the_best_way_is_kept():
    rows = [
        {"split": split, "noise": 0.0, "way": way, "cn_error": error}
        for split, way, error in [("test", "a", 0.2), ("test", "b", 0.1), ("glass", "a", 0.3)]
    ]
    assert exafs.best(rows) == rows[1:]


def test_the_fit_of_quartz_finds_its_silicon():
    k, chi = exafs.read_chi(exafs.DATA / "exafs.parquet")
    found = exafs.fit_shell(k, chi[exafs.QUARTZ], {})
    assert found.amplitude == pytest.approx(4, abs=0.1)
    assert found.bond == pytest.approx(1.609, abs=0.005)
    assert found.sigma2 == pytest.approx(0.003, abs=0.0005)
