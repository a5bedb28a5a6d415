import pytest
import torch

from nearedge.models.clusters.descriptors import RADII, SHELL, Expectation
from nearedge.models.parts.told import CLEAR, given_by, ranks_of

#: Longest bonds of O and Si, Å.
CUTOFFS = torch.tensor([[1.7, 2.3], [2.3, 2.9]])


@pytest.fixture
def expected():
    """Silicon among oxygen and silicon, of which four oxygen are expected to be bonded."""
    oxygen = torch.cat([torch.tensor([1.6, 1.61, 1.62, 1.63]), torch.linspace(3.2, 5, RADII - 4)])
    silicon = torch.linspace(3.0, 5.5, RADII)
    mean = torch.cat([oxygen, silicon, torch.tensor([1.62, -0.33, 0.05])])[None]
    spread = torch.full_like(mean, 0.1)
    return Expectation(mean, spread, torch.zeros(1, 11), torch.tensor([1]))


def ranks(expected, cn, atoms=30):
    return ranks_of(
        expected, torch.tensor([cn]), absorber=torch.tensor([1]), cutoffs=CUTOFFS, atoms=atoms
    )


def bonded(found):
    return int((found.radii < CUTOFFS[1][found.kinds]).sum())


@pytest.mark.parametrize("cn", [3, 4, 5, 6])
def test_as_many_atoms_are_bonded_as_must_be(expected, cn):
    found = ranks(expected, cn)
    assert bonded(found) == cn
    assert (found.radii.diff(dim=1) >= 0).all()


def test_what_is_as_it_must_be_stays(expected):
    found = ranks(expected, 4)
    oxygen = found.radii[0][found.kinds[0] == 0][:RADII]
    assert torch.allclose(oxygen, expected.mean[0, :RADII])
    assert found.places[0][found.kinds[0] == 0].tolist() == list(
        range(int((found.kinds == 0).sum()))
    )


def test_atoms_move_to_the_longest_bond_and_no_further(expected):
    fifth = ranks(expected, 5)
    assert float(fifth.radii[0, 4]) == pytest.approx(2.3 - CLEAR, abs=1e-6)


def test_the_generator_is_told_angles_and_slack(expected):
    given = given_by(expected, ranks(expected, 4), absorber=torch.tensor([1]), cutoffs=CUTOFFS)
    assert float(given.cosine) == pytest.approx(-0.33)
    assert float(given.scatter) == pytest.approx(0.05)
    assert float(given.doubt) == pytest.approx(0.1)
    assert given.slack.unique().tolist() == pytest.approx([0.1])
    assert expected.mean.shape[1] == 2 * RADII + SHELL
