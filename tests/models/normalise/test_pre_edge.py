from pathlib import Path

import numpy as np
import pytest
from larch import Group
from larch.xafs import find_e0 as larch_find_e0
from larch.xafs import pre_edge as larch_pre_edge

from nearedge.models.normalise.e0 import find_e0
from nearedge.models.normalise.pre_edge import pre_edge

SCANS = sorted((Path(__file__).parents[2] / "data" / "measured").glob("*.xdi"))
PARAMETERS = [
    {},
    {"pre1": -50, "pre2": -20, "norm1": 20, "norm2": 90},
    {"pre2": -100, "pre1": -20, "norm2": 20, "norm1": 60},
    {"nnorm": 0},
    {"nnorm": 3, "nvict": 2},
    {"step": 1.3},
    {"norm2": -10},
]


def read(path):
    lines = path.read_text().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# Column.")]
    columns = dict(zip(names, np.loadtxt(path).T, strict=True))
    if "mutrans" in columns:
        return columns["energy"], columns["mutrans"]
    if "ifluor" in columns:
        return columns["energy"], columns["ifluor"] / columns["i0"]
    return columns["energy"], np.log(columns["i0"] / columns["itrans"])


@pytest.fixture(params=SCANS, ids=lambda path: path.stem)
def scan(request):
    return read(request.param)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_numbers_are_those_of_larch(scan, parameters):
    energy, mu = scan
    group = Group(energy=energy.copy(), mu=mu.copy())
    larch_pre_edge(group, **parameters)
    ours = pre_edge(energy, mu, **parameters)
    assert ours.e0 == group.e0
    assert ours.edge_step == pytest.approx(group.edge_step, rel=1e-8)
    for name in ("norm", "flat", "pre_edge", "post_edge"):
        np.testing.assert_allclose(getattr(ours, name), getattr(group, name), rtol=0, atol=1e-8)
    for name in ("pre1", "pre2", "norm1", "norm2", "nnorm", "nvict"):
        theirs = getattr(group.pre_edge_details, name)
        assert getattr(ours.ranges, name) == pytest.approx(theirs, abs=1e-8), name


# below 100 points Larch averages no energy steps and goes on with the NaN
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in scalar divide:RuntimeWarning")
@pytest.mark.parametrize(("before", "after"), [(1000, 20), (8, 40), (30, 15), (5, 200)])
def test_e0_is_that_of_larch_on_parts_of_scans(scan, before, after):
    energy, mu = scan
    at = int(np.abs(energy - larch_find_e0(energy, mu)).argmin())
    part = slice(max(0, at - before), at + after)
    assert find_e0(energy[part], mu[part]) == larch_find_e0(energy[part], mu[part])


def test_a_negative_step_stays_negative(scan):
    energy, mu = scan
    upright = pre_edge(energy, mu)
    turned = pre_edge(energy, -mu, e0=upright.e0)
    assert turned.edge_step == pytest.approx(-upright.edge_step, rel=1e-8)
    np.testing.assert_allclose(turned.norm, upright.norm, atol=1e-8)


def test_too_few_points_are_an_error():
    with pytest.raises(ValueError, match="3 points"):
        pre_edge(np.arange(3.0), np.arange(3.0))
