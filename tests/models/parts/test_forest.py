"""What trees are told of a composition, and how networks and trees are mixed."""

import pytest
import torch

from nearedge.models.parts.committee import Committee
from nearedge.models.parts.forest import Forest, TreeTables, composition_numbers
from nearedge.models.parts.general import GENERAL_CN_CLASSES, GeneralSize, hint_of, number_of

SIZE = GeneralSize(grid=9, width=8, element=2, hint=3)


def told(absorber, *held):
    hint = torch.tensor(hint_of(held), dtype=torch.float32)[None]
    return composition_numbers(torch.tensor([number_of(absorber)]), hint)[0].tolist()


def leaf_of(*figures):
    """One tree that asks nothing."""
    return TreeTables(
        root=torch.tensor([0]),
        number=torch.tensor([0]),
        threshold=torch.tensor([0.0]),
        child=torch.tensor([-1]),
        leaf=torch.tensor([figures]),
    )


def test_a_composition_tells_ligands_and_metals():
    hard, soft, metalloid, metals, others, ligand, mean, most, least, nearest, known = told(
        "Fe", "Fe", "Mg", "O"
    )
    assert (hard, soft, metalloid, metals, others, known) == (1, 0, 0, 1, 2, 1)
    assert (ligand, nearest) == pytest.approx((0.66, 0.66))
    assert (mean, most, least) == pytest.approx((1.41, 1.41, 1.41))


def test_the_absorber_is_its_own_neighbour_where_nothing_else_is_named():
    assert told("Cu", "Cu")[3:5] == [1, 1]
    assert told("Cu", "Cu", "S")[3:5] == [0, 1]


def test_hydrogen_changes_nothing():
    assert told("Cu", "Cu", "H", "O") == told("Cu", "Cu", "O")
    assert told("Fe", "H", "O") == told("Fe", "O")


def test_without_a_composition_all_is_zero():
    assert told("Fe") == [0.0] * 11


def test_a_tree_goes_on_past_the_threshold_only_if_a_number_is_larger():
    tree = TreeTables(
        root=torch.tensor([0]),
        number=torch.tensor([1, 0, 0]),
        threshold=torch.tensor([0.5, 0.0, 0.0]),
        child=torch.tensor([1, -1, -2]),
        leaf=torch.tensor([[10.0], [20.0]]),
    )
    numbers = torch.tensor([[9.0, 0.4], [9.0, 0.5], [9.0, 0.6]])
    assert tree.answers(numbers).flatten().tolist() == [10.0, 10.0, 20.0]


def test_trees_count_as_much_as_all_networks_and_radii_move_with_the_bond():
    shares = [0.0] * GENERAL_CN_CLASSES
    shares[6] = 1.0
    forest = Forest(cn=leaf_of(*shares), kind=leaf_of(0.0, 1.0, 0.0, 0.0), bond=leaf_of(0.9, 0.05))
    torch.manual_seed(0)
    alone = Committee(SIZE, members=2).eval()
    both = Committee(SIZE, members=2, forest=forest).eval()
    both.load_state_dict(alone.state_dict())
    values = torch.rand(3, SIZE.grid)
    hint = torch.tensor(hint_of(["Fe", "O"]), dtype=torch.float32).expand(3, -1)
    asked = (values, torch.ones_like(values), torch.full((3,), number_of("Fe")), hint)
    with torch.inference_mode():
        before, after = alone(*asked), both(*asked)
    expected = 0.5 * before.cn.softmax(-1) + 0.5 * torch.tensor(shares)
    torch.testing.assert_close(after.cn.softmax(-1), expected)
    torch.testing.assert_close(
        after.kind.softmax(-1),
        0.5 * before.kind.softmax(-1) + 0.5 * torch.tensor([0.0, 1.0, 0.0, 0.0]),
    )
    torch.testing.assert_close(after.bond[:, 0], 0.5 * before.bond[:, 0] + 0.45)
    apart = (before.bond[:, 0] - 0.9).abs() / 2
    assert (after.bond[:, 1].exp() >= apart).all()
    torch.testing.assert_close(
        after.radii[..., 0] - after.bond[:, :1], before.radii[..., 0] - before.bond[:, :1]
    )
