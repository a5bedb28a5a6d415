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


def drawn(grown, expected, samples, source):
    (atoms,) = grown.draw([expected], samples, atoms=8, generators=[source])
    return atoms


def test_coordination_is_drawn_as_it_is_likely():
    log = torch.log(torch.tensor([0.0, 0.25, 0.745, 0.005]))
    found = drawn_classes(log, 400, generator=generator())
    assert found.bincount(minlength=4).tolist() == pytest.approx([0, 100, 300, 0], abs=2)


@pytest.mark.parametrize("surplus", [1, 3])
def test_as_many_clusters_as_wanted_have_the_coordination_drawn(grown, expected, surplus):
    grown = replace(grown, surplus=surplus)
    atoms = drawn(grown, expected, 6, generator())
    assert atoms.shape == (6, 8, 5)
    radii, kinds = atoms[..., :3].norm(dim=-1), atoms[..., 3:].argmax(-1)
    bonded = (radii < grown.placement.get_buffer("cutoffs")[1][kinds]).sum(1)
    assert bonded.tolist() == [4, 4, 4, 6, 6, 6]


def test_the_same_seed_draws_the_same_clusters(grown, expected):
    first = drawn(grown, expected, 3, generator(1))
    again = drawn(grown, expected, 3, generator(1))
    other = drawn(grown, expected, 3, generator(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("surplus", [1, 2])
def test_sites_that_grow_together_are_as_each_alone(grown, expected, surplus):
    grown = replace(grown, surplus=surplus)
    other = replace(expected, mean=expected.mean + 0.02)
    together = grown.draw([expected, other], 3, atoms=8, generators=[generator(1), generator(2)])
    torch.testing.assert_close(together[0], drawn(grown, expected, 3, generator(1)))
    torch.testing.assert_close(together[1], drawn(grown, other, 3, generator(2)))


def test_clusters_whose_atoms_overlap_are_the_last_to_be_kept(grown, expected):
    many = replace(grown, surplus=20)
    kept = drawn(many, expected, 3, generator())
    any_ = drawn(grown, expected, 60, generator())

    def overlap(atoms):
        apart = torch.cdist(atoms[..., :3], atoms[..., :3]) + 9 * torch.eye(8)
        return float((1.5 - apart).clamp(min=0).sum((1, 2)).mean())

    assert overlap(kept) < overlap(any_) / 2
