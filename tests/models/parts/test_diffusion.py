from itertools import pairwise

import pytest
import torch

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, RADII, Expectation, count
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import KIND_SCALE, Noise


def expectation(batch, *, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    mean = torch.rand(batch, count(2), generator=generator, dtype=dtype) * 3 + 1.5
    spread = torch.full_like(mean, 0.1)
    cn = torch.zeros(batch, EXPECTED_CN_CLASSES, dtype=dtype).log_softmax(-1)
    return Expectation(mean, spread, cn, torch.zeros(batch, dtype=torch.long))


@pytest.fixture
def float64():
    """Build networks, with e3nn's constants, in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return diffusion.build(species=2, edges=1, atoms=8, channels=8, layers=2, noise=Noise())


def test_schedule_falls_from_highest_to_lowest_and_ends_at_nothing():
    levels = Noise(sigma_min=0.02, sigma_max=8.0).schedule(10)
    assert levels[0] == pytest.approx(8.0)
    assert levels[-2] == pytest.approx(0.02)
    assert levels[-1] == 0
    assert len(levels) == 11
    assert all(a > b for a, b in pairwise(levels))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampler_draws_from_a_known_gaussian(eta):
    """For Gaussian data the best denoiser is known, so the sampler must give mean and spread."""
    mean, spread = 1.5, 0.7
    generator = torch.Generator().manual_seed(0)

    def denoise(x, sigma):
        return mean + (x - mean) * spread**2 / (spread**2 + sigma**2)

    def noise():
        return torch.randn(20000, generator=generator)

    levels = Noise(sigma_min=0.01, sigma_max=20.0).schedule(40)
    drawn = diffusion.draw(denoise, levels[0] * noise(), levels, eta=eta, noise=noise)
    assert drawn.mean() == pytest.approx(mean, abs=0.08)
    assert drawn.std() == pytest.approx(spread, rel=0.04)


def test_second_order_beats_first_order():
    """With few steps the multistep correction must shrink the error of a curved path."""

    def denoise(x, sigma):
        return x / (1 + sigma**2)

    euler = torch.full((1,), 8.0, dtype=torch.float64)
    exact = 8.0 / (1 + 64.0) ** 0.5
    levels = torch.tensor(Noise(sigma_max=8.0).schedule(12), dtype=torch.float64)
    few = diffusion.draw(denoise, euler, levels.tolist())
    for now, after in pairwise(levels):
        euler = denoise(euler, now) + (euler - denoise(euler, now)) * after / now
    assert abs(few - exact) < 0.5 * abs(euler - exact)


def test_denoiser_keeps_clean_atoms_where_there_is_no_noise(model):
    atoms = torch.randn(4, 8, 5)
    out = model(atoms, torch.full((4,), 1e-4), expectation(4))
    assert (out - atoms).abs().max() < 1e-2


def test_denoiser_turns_with_the_atoms(float64):
    torch.manual_seed(0)
    model = diffusion.build(species=2, edges=1, atoms=8, channels=8, layers=2, noise=Noise())
    atoms = torch.randn(2, 8, 5, dtype=torch.float64)
    told, sigma = expectation(2, dtype=torch.float64), torch.tensor([0.3, 2.0]).double()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    moved = torch.cat([atoms[..., :3] @ turn.T, atoms[..., 3:]], -1)
    plain, turned = model(atoms, sigma, told), model(moved, sigma, told)
    assert (turned[..., :3] - plain[..., :3] @ turn.T).abs().max() < 1e-9
    assert (turned[..., 3:] - plain[..., 3:]).abs().max() < 1e-9


def test_drawing_learns_a_single_cluster(model):
    """A few hundred steps on one cluster must bring its radii back."""
    generator = torch.Generator().manual_seed(0)
    radii = torch.linspace(1.6, 3.0, 8)
    directions = torch.nn.functional.normalize(torch.randn(8, 3, generator=generator), dim=-1)
    kinds = diffusion.encode_kinds(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2)
    atoms = torch.cat([directions * radii[:, None], kinds], -1).expand(32, -1, -1)
    told = expectation(32)
    told.mean[:] = 6.6
    told.mean[:, :4], told.mean[:, RADII : RADII + 4] = radii[:4], radii[4:]
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(150):
        loss = diffusion.loss(model, atoms, told, generator=generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    levels = Noise(sigma_max=8.0).schedule(12)
    with torch.inference_mode():
        drawn = diffusion.draw(
            lambda x, s: model(x, s.expand(len(x)), told),
            levels[0] * torch.randn(32, 8, 5, generator=generator),
            levels,
        )
    assert (drawn[..., :3].norm(dim=-1) - radii).abs().mean() < 0.25
    assert (drawn[..., 3:].argmax(-1) == kinds.argmax(-1)).float().mean() > 0.95


def test_species_channels_name_one_species_each():
    channels = diffusion.encode_kinds(torch.tensor([[0, 2]]), 3)
    assert channels.tolist() == [
        [[KIND_SCALE, -KIND_SCALE, -KIND_SCALE], [-KIND_SCALE, -KIND_SCALE, KIND_SCALE]]
    ]


def test_expected_radii_merge_nearest_first():
    told = expectation(1)
    told.mean[0, : 2 * RADII] = torch.cat([torch.arange(16.0) * 2 + 1, torch.arange(16.0) * 2])
    radius, spread, kind = diffusion.descriptors.by_rank(told, species=2, atoms=6)
    assert radius[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert kind.argmax(-1)[0].tolist() == [1, 0, 1, 0, 1, 0]
    assert spread.shape == (1, 6)
