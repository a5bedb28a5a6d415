from dataclasses import replace

import pytest
import torch

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.parts.diffusion import KIND_SCALE, encode_kinds
from nearedge.models.training import library
from nearedge.models.training.denoiser import Clusters

KNOWN, ATOMS = 50, 4


def cluster(bond):
    return torch.eye(3).repeat(2, 1) * torch.tensor([bond] * 4 + [3.0, 3.4])[:, None]


@pytest.fixture
def clusters():
    """Clusters of ever longer bonds, around two kinds of absorber by turns."""
    bonds = torch.linspace(1.5, 1.8, KNOWN)
    positions = torch.stack([cluster(float(b)) for b in bonds])
    kinds = torch.tensor([0, 0, 0, 0, 1, 1]).expand(KNOWN, -1)
    described = torch.zeros(KNOWN, descriptors.count(2))
    described[:, :4] = described[:, -descriptors.SHELL, None] = bonds[:, None]
    return Clusters(
        atoms=torch.cat([positions, encode_kinds(kinds, 2)], -1),
        edge=torch.arange(KNOWN) % 2,
        described=described,
        cn=torch.full((KNOWN,), 4),
    )


def expectation(clusters, row, *, spread=0.02):
    return Expectation(
        clusters.described[row : row + 1],
        torch.full_like(clusters.described[:1], spread),
        torch.zeros(1, EXPECTED_CN_CLASSES),
        clusters.edge[row : row + 1],
    )


@pytest.fixture
def known(clusters):
    """A library whose expectations err by one standard deviation, each number on its own."""
    noise = torch.randn(clusters.described.shape, generator=torch.Generator().manual_seed(0))
    told = Expectation(
        clusters.described + 0.02 * noise,
        torch.full_like(noise, 0.02),
        torch.zeros(KNOWN, EXPECTED_CN_CLASSES),
        clusters.edge,
    )
    absent = torch.full((KNOWN, 2, 3), torch.nan)
    absent[:30] = clusters.atoms[:30, -2:, :3] + 1  # the others end where the model's own atoms do
    around = torch.cat([clusters.atoms[..., :3], absent], 1)
    kinds = torch.tensor([0, 0, 0, 0, 1, 1, 0, 1], dtype=torch.uint8).expand(KNOWN, -1)
    return library.build(clusters, (around, kinds), [told], clusters.described)


def test_the_expected_cluster_is_the_likeliest(known, clusters):
    for row in (7, 24, 41):
        assert known.likelihood(expectation(clusters, row)).argmax() == row


def test_clusters_of_another_absorber_are_never_drawn(known, clusters):
    told = expectation(clusters, 25, spread=10.0)
    drawn, _ = known.draw(told, 200, atoms=ATOMS, generator=torch.Generator().manual_seed(0))
    places = torch.cdist(drawn[:, 0, :3], clusters.atoms[:, 0, :3]).argmin(1)
    assert (clusters.edge[places] == 1).all()
    assert len(places.unique()) > 10


def test_an_unsure_expectation_draws_more_kinds(known, clusters):
    bonds = [
        known.draw(
            expectation(clusters, 24, spread=spread),
            64,
            atoms=ATOMS,
            generator=torch.Generator().manual_seed(0),
        )[0][:, 0, :3].norm(dim=-1)
        for spread in (0.01, 0.5)
    ]
    assert bonds[0].std() < 0.3 * bonds[1].std()


def test_each_cluster_is_drawn_as_often_as_it_is_due(known, clusters):
    told = expectation(clusters, 24, spread=0.05)
    due = 100 * known.likelihood(told).double().softmax(0)
    drawn, _ = known.draw(told, 100, atoms=ATOMS, generator=torch.Generator().manual_seed(3))
    places = torch.cdist(drawn[:, 0, :3], known.positions[:, 0].float()).argmin(1)
    times = torch.bincount(places, minlength=KNOWN)
    assert (times - due).abs().max() < 1 + 1e-6


def test_a_seed_draws_the_same_again(known, clusters):
    told = expectation(clusters, 10, spread=0.1)
    first, again = (
        known.draw(told, 8, atoms=ATOMS, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert set(first[0][..., 3:].unique().tolist()) == {-KIND_SCALE, KIND_SCALE}


def test_missing_angles_are_no_merit(known, clusters):
    """A cluster without angles is less likely than the same one with the expected angles."""
    without = known.described.clone()
    without[24, -2:] = torch.nan
    lone = replace(known, described=without)
    told = expectation(clusters, 24, spread=0.1)
    assert torch.isfinite(lone.likelihood(told)[24])
    assert lone.likelihood(told)[24] < lone.likelihood(told)[22]
    assert known.likelihood(told)[24] > known.likelihood(told)[22]


@pytest.mark.parametrize(("row", "more"), [(5, 4), (45, 2)])
def test_atoms_beyond_come_as_far_as_all_have_them(known, clusters, row, more):
    told = expectation(clusters, row, spread=0.001)
    near, far = known.draw(told, 6, atoms=ATOMS, generator=torch.Generator().manual_seed(0))
    assert near.shape == (6, ATOMS, 5)
    assert far.shape == (6, more, 5)
    assert torch.allclose(near[..., :3], clusters.atoms[row, :ATOMS, :3], atol=2e-3)
    assert torch.allclose(far[:, :2, :3], clusters.atoms[row, ATOMS:, :3], atol=2e-3)
