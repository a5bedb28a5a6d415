import pytest
import torch

from nearedge.models.parts.depth import Depth

#: One atom that is bonded and one that is not, both told close to the longest bond.
DEPTH = Depth(
    mean=torch.tensor([1.9, 2.2]),
    spread=torch.tensor([0.2, 0.2]),
    longest=torch.tensor([2.0, 2.0]),
    bonded=torch.tensor([True, False]),
)


def test_radii_never_cross_the_longest_bond():
    radii = DEPTH.place(torch.linspace(-4, 4, 81).expand(2, -1))
    assert (radii[0] <= 2.0).all()
    assert (radii[1] >= 2.0).all()
    assert DEPTH.own(radii[:, :40]).all()


def test_the_density_is_that_of_the_radii_placed():
    grid = torch.linspace(0.7, 4.0, 3301).expand(2, -1)
    density = DEPTH.log_density(grid).exp() * DEPTH.own(grid)
    assert (density.sum(1) * 0.001).tolist() == pytest.approx([1, 1], abs=2e-3)
    drawn = DEPTH.place(torch.randn(2, 40000, generator=torch.Generator().manual_seed(0)))
    expected = (density * grid).sum(1) / density.sum(1)
    assert drawn.mean(1).tolist() == pytest.approx(expected.tolist(), abs=5e-3)
