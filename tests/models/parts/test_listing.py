"""Lists of atoms are drawn as they are judged, of the elements that there are."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nearedge.models.parts.general import RANKS, elements, hint_of, number_of
from nearedge.models.parts.listing import (
    LONGEST_STEP,
    STEPS,
    Listed,
    Listing,
    ListingSize,
    Stated,
    _bin,
    _within,
    least_cosine,
)

ATOMS = 6


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Listing(ListingSize(atoms=ATOMS, width=24)).eval()


def stated(count, held=()):
    return Stated(
        absorber=torch.full((count,), number_of("Fe")),
        hint=torch.tensor(hint_of(held), dtype=torch.float32).expand(count, -1),
        cn=torch.full((count,), 6),
        kind=torch.zeros(count, dtype=torch.int64),
        bond=torch.full((count,), 2.1),
        cosine=torch.tensor([-0.2, 0.05]).expand(count, 2),
        radii=torch.tensor([0.0, 0.1]).expand(count, RANKS, 2),
    )


@given(st.floats(0, LONGEST_STEP, width=32), st.floats(0, 1, exclude_max=True, width=32))
def test_what_is_drawn_within_a_bin_belongs_to_it(value, uniform):
    number = _bin(torch.tensor([value]), LONGEST_STEP, STEPS)
    again = _within(number, torch.tensor([uniform]), LONGEST_STEP, STEPS)
    edges = LONGEST_STEP * (torch.tensor([number, number + 1]) / STEPS) ** 2
    assert edges[0] - 1e-5 <= again <= edges[1] + 1e-5
    assert edges[0] - 1e-5 <= value <= edges[1] + 1e-5


def test_lists_run_outwards_and_hold_what_the_sample_holds(model):
    found = model.draw(
        stated(40, held=("Fe", "O", "H")), generator=torch.Generator().manual_seed(1)
    )
    assert found.radii.shape == found.kinds.shape == (40, ATOMS)
    assert (found.radii.diff(dim=1) >= 0).all()
    assert (found.radii[:, 0] <= 2.1).all()
    held = {number_of(symbol) for symbol in ("Fe", "O", "H")}
    assert set(found.kinds.unique().tolist()) <= held
    assert (found.cosine >= -0.2).all()


@torch.no_grad()
def test_the_odds_of_all_elements_and_steps_add_to_one(model):
    count = len(elements())
    one = stated(count)
    kinds = torch.zeros(count, ATOMS, dtype=torch.int64)
    kinds[:, -1] = torch.arange(count)
    listed = Listed(
        kinds=kinds,
        radii=torch.linspace(2.0, 3.0, ATOMS).expand(count, -1),
        cosine=torch.full((count,), -0.1),
        scatter=torch.full((count,), 0.3),
    )
    _, surprise, _ = model.surprise(one, listed)
    assert float(torch.exp(-surprise[:, -1]).sum()) == pytest.approx(1.0, abs=1e-5)
    middles = LONGEST_STEP * ((torch.arange(STEPS) + 0.5) / STEPS) ** 2
    radii = torch.linspace(2.0, 3.0, ATOMS).repeat(STEPS, 1)
    radii[:, -1] = radii[:, -2] + middles
    listed = Listed(
        kinds=torch.zeros(STEPS, ATOMS, dtype=torch.int64),
        radii=radii,
        cosine=torch.full((STEPS,), -0.1),
        scatter=torch.full((STEPS,), 0.3),
    )
    _, _, surprise = model.surprise(stated(STEPS), listed)
    assert float(torch.exp(-surprise[:, -1]).sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_tetrahedron_has_the_least_mean_cosine():
    assert least_cosine(torch.tensor([0, 1, 2, 4])).tolist() == pytest.approx([0, 0, -1, -1 / 3])
    assert math.degrees(math.acos(-1 / 3)) == pytest.approx(109.47, abs=0.01)
