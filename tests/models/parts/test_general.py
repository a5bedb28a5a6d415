import numpy as np
import pytest
import torch
from pymatgen.core import Element

from nearedge.models.parts.committee import Committee
from nearedge.models.parts.general import (
    GENERAL_CN_CLASSES,
    RANKS,
    General,
    GeneralSize,
    _place,
    elements,
    hint_of,
    kind_of,
    number_of,
)

SIZE = GeneralSize(grid=141, width=16)


def batch(n=3):
    torch.manual_seed(0)
    absorber = torch.tensor([number_of(s) for s in ("Fe", "S", "Cu")[:n]])
    hint = torch.tensor(np.array([hint_of(()), hint_of(("Fe", "S")), hint_of(("O",))][:n]))
    return torch.rand(n, 141), torch.ones(n, 141), absorber, hint.float()


def test_elements_stand_in_their_places_of_the_periodic_table():
    for number, symbol in enumerate(elements(), start=1):
        element = Element(symbol)
        assert element.Z == number
        period, group = _place(number)
        assert period == element.row
        f_block = element.block == "f" or symbol in ("La", "Ac", "Lu")
        assert group == (3 if f_block else element.group)


def test_kinds_of_ligands():
    assert [kind_of(s) for s in ("O", "Cl", "S", "As", "Fe")] == [0, 0, 1, 2, 3]


def test_a_hint_says_what_there_is_and_whether_it_is_known():
    assert hint_of(()).sum() == 0
    hint = hint_of(("Fe", "O"))
    assert hint[[number_of("Fe"), number_of("O"), -1]].tolist() == [1, 1, 1]
    assert hint.sum() == 3


def test_hydrogen_says_nothing_of_neighbours():
    assert hint_of(("Fe", "H", "O")).tolist() == hint_of(("Fe", "O")).tolist()
    assert hint_of(("H",)).sum() == 0


def test_a_reading_depends_on_absorber_and_composition_and_not_on_what_was_not_measured():
    net = General(SIZE).eval()
    values, mask, absorber, hint = batch()
    mask[:, 100:] = 0
    reading = net(values * mask, mask, absorber, hint)
    assert reading.cn.shape == (3, GENERAL_CN_CLASSES)
    assert reading.radii.shape == (3, RANKS, 2)
    other = net(values * mask, mask, absorber.roll(1), hint)
    assert not torch.allclose(reading.bond, other.bond)
    told = net(values * mask, mask, absorber, hint.roll(1, 0))
    assert not torch.allclose(reading.bond, told.bond)


def test_a_committee_mixes_what_its_members_say():
    committee = Committee(SIZE, members=2).eval()
    asked = batch()
    one, two = (member(*asked) for member in committee.members)
    both = committee(*asked)
    mean = (one.cn.softmax(-1) + two.cn.softmax(-1)) / 2
    torch.testing.assert_close(both.cn.exp(), mean)
    apart = (one.bond[:, 0] - two.bond[:, 0]) ** 2 / 4
    variance = (torch.exp(2 * one.bond[:, 1]) + torch.exp(2 * two.bond[:, 1])) / 2 + apart
    torch.testing.assert_close(torch.exp(2 * both.bond[:, 1]), variance)


@pytest.mark.parametrize("member", [0, 1])
def test_spreads_are_bounded(member):
    committee = Committee(SIZE, members=2).eval()
    with torch.no_grad():
        committee.members[member].answer.bias.fill_(50.0)
    assert torch.isfinite(committee(*batch()).bond).all()
