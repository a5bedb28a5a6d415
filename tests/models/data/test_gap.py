import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from nearedge.models.data import gap
from nearedge.models.data.gap import FINE, STEP, TheoryGap, Views, half_ways, interpolate

NOTHING = TheoryGap(
    broadening=0,
    growth=0,
    stretch=0,
    white_line=(0, 0),
    absorption=0,
    scale=0,
    slope=0,
    residual=0,
    noise=0,
    jitter=0,
)


def edge(at=0.0, peak=0.5):
    rise = 0.5 + np.arctan((FINE - at) / 1.0) / np.pi
    return rise + peak * np.exp(-(((FINE - at - 8) / 3) ** 2))


def levels(x):
    return torch.tensor(
        np.stack([gap._broadened(x, sigma) for sigma in gap.SIGMAS])[None], dtype=torch.float32
    )


def views(seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    settings = {name: getattr(NOTHING, name) for name in TheoryGap.__slots__} | changes
    return Views(TheoryGap(**settings), generator=generator)


def test_without_a_gap_a_view_is_the_calculation():
    seen = views()(levels(edge()))[0].numpy()
    np.testing.assert_allclose(seen, edge(), atol=2e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"broadening": 4.0},
        {"growth": 0.2},
        {"stretch": 0.11},
        {"white_line": (-0.4, -0.3)},
        {"absorption": 0.35, "absorbing": 1.0},
        {"scale": 0.06},
        {"slope": 1.5e-3},
        {"residual": 1.2},
        {"noise": 0.02},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_part_of_the_gap_moves_a_view_and_never_far(changes):
    x = edge()
    many = views(**changes)(levels(x).expand(64, -1, -1)).numpy()
    inside = (FINE > -10) & (FINE < 60)
    apart = np.sqrt(((many - x)[:, inside] ** 2).mean(1))
    assert apart.max() > 1e-3
    assert apart.max() < 0.35
    again = views(**changes)(levels(x).expand(64, -1, -1)).numpy()
    np.testing.assert_array_equal(many, again)


def test_broadening_between_levels_is_nearly_a_gaussian():
    x, width = edge(), torch.full((1, len(FINE)), 2.5)
    seen = views()._broaden(levels(x), width)[0].numpy()
    np.testing.assert_allclose(seen, gaussian_filter1d(x, 2.5 / STEP, mode="nearest"), atol=0.02)


def test_half_ways_and_interpolation_find_the_edge_again():
    x = torch.tensor(np.stack([edge(0.0, 0.2), edge(3.1, 0.2)]), dtype=torch.float32)
    found = half_ways(x)
    assert found[:, 0].tolist() == pytest.approx([0.0, 3.1], abs=0.15)
    at = interpolate(x, found + torch.zeros(2, 1))
    assert at[:, 0].tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_residual_modes_carry_the_covariance_and_cap_the_worst(tmp_path):
    rng = np.random.default_rng(0)
    shapes = np.stack([np.exp(-(((FINE - c) / 5) ** 2)) for c in (2, 12, 30)])
    rows = rng.normal(0, 0.03, (10, 3)) @ shapes
    path = tmp_path / "residuals.parquet"
    pq.write_table(pa.Table.from_pylist([{"residual": row} for row in rows]), path)
    modes = gap.residual_modes(path)
    np.testing.assert_allclose(modes @ modes.T, rows.T @ rows / 10, atol=1e-9)
    pq.write_table(pa.Table.from_pylist([{"residual": 100 * rows[0]}]), path)
    assert np.sqrt((gap.residual_modes(path) ** 2).sum(1).mean()) == pytest.approx(0.15)
