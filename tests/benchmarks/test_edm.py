from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

PATH = Path(__file__).parents[2] / "benchmarks" / "edm.py"


@pytest.fixture(scope="module")
def edm():
    spec = spec_from_file_location("edm", PATH)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_the_published_size(edm):
    network = edm.Network(species=2, context=141)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(5.4e6, rel=0.01)


def test_it_is_equivariant(edm):
    generator = torch.Generator().manual_seed(0)
    network = edm.Network(species=2, context=8).double()
    z = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    told = torch.tensor(0.5, dtype=torch.float64), torch.ones(8, dtype=torch.float64)
    before = network(z, *told)
    after = network(torch.cat([z[..., :3] @ turn, z[..., 3:]], -1), *told)
    torch.testing.assert_close(after[..., :3], before[..., :3] @ turn, atol=1e-9, rtol=0)
    torch.testing.assert_close(after[..., 3:], before[..., 3:], atol=1e-9, rtol=0)


def test_a_few_steps_stay_finite(edm):
    network = edm.Network(species=2, context=8)
    drawn = edm.sample(network, samples=2, atoms=5, context=torch.zeros(8), steps=3)
    assert drawn.shape == (2, 5, 5)
    assert drawn.isfinite().all()
