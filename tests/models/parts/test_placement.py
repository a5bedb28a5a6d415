import math
from dataclasses import replace

import pytest
import torch

from nearedge.models.clusters.elements import element_features, periodic_place
from nearedge.models.parts.depth import EXACT
from nearedge.models.parts.growth import grow, take_chances, together
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.parts.sphere import (
    LOG_SPHERE,
    even_directions,
    log_scatter,
    random_rotations,
    scatter,
)
from nearedge.models.training.placement import surprise, told_exactly

ATOMS = 8


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Placement(PlacementSize(atoms=ATOMS), elements=("O", "Si")).eval()
    for parameter in made.parameters():  # so that nothing is 0 any more
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


@pytest.fixture(scope="module")
def clusters():
    """Four clusters of eight atoms around silicon or oxygen, nearest first."""
    generator = torch.Generator().manual_seed(1)
    radii = (1.6 + 3 * torch.rand(4, ATOMS, generator=generator)).sort(1).values
    unit = torch.nn.functional.normalize(torch.randn(4, ATOMS, 3, generator=generator), dim=-1)
    kinds = torch.randint(0, 2, (4, ATOMS), generator=generator)
    return unit * radii[..., None], kinds, torch.tensor([0, 1, 0, 1])


def asked_about(model, positions, given, rank):
    atoms = torch.nn.functional.pad(positions, (0, 0, 1, 0))
    nodes = model.start(given)
    return model.ask(atoms, model.trunk(atoms, nodes), nodes, given, rank)


@pytest.mark.parametrize("rank", [1, 3, 7])
@torch.no_grad()
def test_the_density_turns_and_reflects_with_the_atoms(model, clusters, rank):
    given = told_exactly(model, *clusters).given
    directions = even_directions(200).expand(4, -1, -1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2))).Q
    for matrix in (turn, -turn):
        here = model.log_density(asked_about(model, clusters[0], given, rank), directions)
        there = asked_about(model, clusters[0] @ matrix, given, rank)
        assert torch.allclose(here, model.log_density(there, directions @ matrix), atol=2e-3)


@torch.no_grad()
def test_the_density_integrates_to_one(model, clusters):
    """Checked on another grid, turned, than the one that it is normalised over."""
    given = told_exactly(model, *clusters).given
    turn = random_rotations(4, generator=torch.Generator().manual_seed(3))
    grid = even_directions(7919) @ turn
    density = model.log_density(asked_about(model, clusters[0], given, 5), grid).exp()
    assert (4 * math.pi * density.mean(1)).tolist() == pytest.approx([1] * 4, abs=1e-3)


@torch.no_grad()
def test_atoms_one_by_one_are_as_all_at_once(model, clusters):
    given = told_exactly(model, *clusters).given
    atoms, nodes = torch.nn.functional.pad(clusters[0], (0, 0, 1, 0)), model.start(given)
    scalars, vectors = model.trunk(atoms, nodes)
    passed = model.nothing_passed(4)
    for k in range(ATOMS + 1):
        s, v = model.trunk_of_next(atoms[:, : k + 1], nodes[:, k], passed)
        assert torch.allclose(s[:, 0], scalars[:, k], atol=1e-4)
        assert torch.allclose(v[:, 0], vectors[:, k], atol=1e-4)


@torch.no_grad()
def test_what_comes_later_does_not_matter(model, clusters):
    positions = clusters[0].clone()
    given = told_exactly(model, *clusters).given
    points = 3 * even_directions(50).expand(4, -1, -1)
    before = model.score(asked_about(model, positions, given, 4), points)
    positions[:, 4:] = positions[:, 4:].flip(-1)
    after = model.score(asked_about(model, positions, given, 4), points)
    assert torch.allclose(before, after, atol=1e-5)


@torch.inference_mode()
def test_clusters_grow_at_their_radii_by_their_own_chance(model, clusters):
    given = told_exactly(model, *clusters).given
    chance = [take_chances(2, ATOMS, generator=torch.Generator().manual_seed(k)) for k in (5, 6)]
    both, kinds = grow(model, given[:2].expand(2), together(chance))
    assert torch.equal(kinds, given.kinds[:2].repeat_interleave(2, 0))
    astray = both.norm(dim=-1) - given.radii[:2].repeat_interleave(2, 0)
    assert astray.abs().max() < 6 * EXACT
    alone, _ = grow(model, given[1:2].expand(2), chance[1])
    assert torch.allclose(both[2:], alone, atol=1e-3)


@torch.no_grad()
def test_an_ignorant_density_surprises_by_nothing(clusters):
    torch.manual_seed(0)
    ignorant = Placement(PlacementSize(atoms=ATOMS), elements=("O", "Si")).eval()
    torch.nn.init.zeros_(ignorant.last.weight)
    generator = torch.Generator().manual_seed(4)
    told = told_exactly(ignorant, *clusters)
    beyond = [k for k in range(1, ATOMS) if not told.given.bonded[:, k].any()]
    found, counts = surprise(ignorant, told, beyond, generator=generator, even=512)
    assert (found * counts).abs().max() < 0.2
    assert counts.mean() > 0.9


@torch.no_grad()
def test_an_atom_that_no_rank_may_bond_is_judged_as_where_its_shell_is_looked_at(model, clusters):
    given = told_exactly(model, *clusters).given
    given = replace(given, radii=given.radii + 3, bonded=torch.zeros_like(given.bonded))
    atoms, nodes = torch.nn.functional.pad(clusters[0], (0, 0, 1, 0)), model.start(given)
    carried, points = model.trunk(atoms, nodes), 6 * even_directions(50).expand(4, -1, -1)
    scores = [
        model.score(model.ask(atoms, carried, nodes, given, 3, bonded=bonded), points)
        for bonded in (False, True)
    ]
    assert torch.allclose(*scores, atol=1e-5)


def test_scattered_directions_have_the_density_that_is_said():
    centre, width = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([0.3])
    grid = even_directions(20000)[None]
    density = log_scatter(grid, centre, width).exp()
    assert float(density.mean()) * math.exp(LOG_SPHERE) == pytest.approx(1, abs=1e-3)
    drawn = scatter(centre, width, 20000, generator=torch.Generator().manual_seed(0))
    expected = float((density * grid[..., 2]).sum() / density.sum())
    assert float(drawn[..., 2].mean()) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(
    ("symbol", "place"),
    [
        *[("H", (1, 1, 1)), ("He", (2, 1, 18)), ("O", (8, 2, 16)), ("Si", (14, 3, 14))],
        *[("Fe", (26, 4, 8)), ("Ce", (58, 6, 3)), ("Au", (79, 6, 11))],
    ],
)
def test_elements_have_their_place(symbol, place):
    assert periodic_place(symbol) == place
    assert element_features([symbol]).shape == (1, 4)
