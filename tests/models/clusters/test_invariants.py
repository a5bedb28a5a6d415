import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models.clusters.invariants import invariants


def cluster(seed, atoms=10):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(1, atoms, 3, generator=generator, dtype=torch.float64)
    radii = 1.5 + 3 * torch.rand(1, atoms, 1, generator=generator, dtype=torch.float64)
    kinds = torch.randint(0, 2, (1, atoms), generator=generator)
    return directions / directions.norm(dim=-1, keepdim=True) * radii, kinds


def together(positions, kinds):
    return torch.cat(invariants(positions, kinds, species=2), 1)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@given(seed=st.integers(0, 1000), mirrored=st.booleans())
@settings(max_examples=20)
def test_rotation_reflection_and_exchange_change_nothing(seed, mirrored):
    positions, kinds = cluster(seed)
    angles = torch.tensor(np.random.default_rng(seed).uniform(0, np.pi, 3))
    turn = o3.angles_to_matrix(*angles) * (-1 if mirrored else 1)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(positions.shape[1]))
    here, there = (
        together(positions, kinds),
        together((positions @ turn.T)[:, order], kinds[:, order]),
    )
    assert (here - there).abs().max() < 1e-6  # square roots of products that vanish


def test_a_bent_bond_changes_the_triples_and_not_the_pairs():
    kinds = torch.zeros(1, 2, dtype=torch.long)
    straight = torch.tensor([[[1.6, 0, 0], [-1.6, 0, 0]]], dtype=torch.float64)
    bent = torch.tensor([[[1.6, 0, 0], [0, 1.6, 0]]], dtype=torch.float64)
    (pairs, triples), (same, other) = (invariants(x, kinds, species=2) for x in (straight, bent))
    assert torch.allclose(pairs, same)
    assert (triples - other).abs().max() > 0.1


def test_what_lies_beyond_the_reach_does_not_count():
    positions, kinds = cluster(3)
    far = torch.cat([positions, torch.tensor([[[6.5, 0, 0]]], dtype=torch.float64)], 1)
    more = torch.cat([kinds, torch.ones(1, 1, dtype=torch.long)], 1)
    assert torch.allclose(together(positions, kinds), together(far, more))
