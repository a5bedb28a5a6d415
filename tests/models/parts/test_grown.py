from dataclasses import replace

import pytest
import torch

from nearedge.models.clusters.descriptors import RADII, Expectation
from nearedge.models.parts.grown import Grown, drawn_classes
from nearedge.models.parts.placement import Placement, PlacementSize


@pytest.fixture(scope="module")
def grown():
    torch.manual_seed(0)
    model = Placement(PlacementSize(atoms=8), elements=("O", "Si")).eval()
    return Grown(
        placement=model,
        absorbers=torch.tensor([0, 1]),
        nearest=torch.full((2, 2), 1.5),
        temperature=1.0,
    )


@pytest.fixture
def expected():
    radii = torch.cat([torch.linspace(1.6, 5, RADII), torch.linspace(3, 6, RADII)])
    mean = torch.cat([radii, torch.tensor([1.62, -0.33, 0.1])])[None]
    cn = torch.full((1, 11), -20.0)
    cn[0, 4], cn[0, 6] = -0.7, -0.7
    return Expectation(mean, torch.full_like(mean, 0.05), cn, torch.tensor([1]))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_coordination_is_drawn_as_it_is_likely():
    log = torch.log(torch.tensor([0.0, 0.25, 0.745, 0.005]))
    found = drawn_classes(log, 400, generator=generator())
    assert found.bincount(minlength=4).tolist() == pytest.approx([0, 100, 300, 0], abs=2)


@pytest.mark.parametrize("surplus", [1, 3])
def test_as_many_clusters_as_wanted_have_the_coordination_drawn(grown, expected, surplus):
    grown = replace(grown, surplus=surplus)
    atoms = grown.draw(expected, 6, atoms=8, generator=generator())
    assert atoms.shape == (6, 8, 5)
    radii, kinds = atoms[..., :3].norm(dim=-1), atoms[..., 3:].argmax(-1)
    bonded = (radii < grown.placement.get_buffer("cutoffs")[1][kinds]).sum(1)
    assert bonded.tolist() == [4, 4, 4, 6, 6, 6]


def test_the_same_seed_draws_the_same_clusters(grown, expected):
    first = grown.draw(expected, 3, atoms=8, generator=generator(1))
    again = grown.draw(expected, 3, atoms=8, generator=generator(1))
    other = grown.draw(expected, 3, atoms=8, generator=generator(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_clusters_whose_atoms_overlap_are_the_last_to_be_kept(grown, expected):
    many = replace(grown, surplus=20)
    kept = many.draw(expected, 3, atoms=8, generator=generator())
    any_ = grown.draw(expected, 60, atoms=8, generator=generator())

    def overlap(atoms):
        apart = torch.cdist(atoms[..., :3], atoms[..., :3]) + 9 * torch.eye(8)
        return float((1.5 - apart).clamp(min=0).sum((1, 2)).mean())

    assert overlap(kept) < overlap(any_) / 2
