import pytest
import torch

from nearedge.models.clusters.descriptors import Expectation, count
from nearedge.models.parts import diffusion
from nearedge.models.parts.cuda_graph import MOST, RecordedGraph


class Denoiser:
    """Halves the atoms, and counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, atoms, sigma, expected):
        self.calls += 1
        return atoms * 0.5 + sigma[:, None, None] + expected.mean.sum()


def asked(samples, value=1.0):
    atoms = torch.full((samples, 3, 5), value)
    some = torch.full((samples, 2), value)
    edge = torch.zeros(samples, dtype=torch.long)
    return atoms, torch.full((samples,), 0.1), Expectation(some, some, some, edge)


@pytest.fixture
def recorded(monkeypatch):
    """Shapes that were recorded; a recording runs the model, as no graph is there without CUDA."""
    shapes = []

    def record(self, told):
        shapes.append(told[0].shape)
        return self._run

    monkeypatch.setattr(RecordedGraph, "_record", record)
    return shapes


def test_a_shape_is_recorded_once_and_answers_for_other_values(recorded):
    model = Denoiser()
    replayed = RecordedGraph(model)
    for value in (1.0, 2.0):
        told = asked(2, value)
        assert torch.equal(replayed(*told), Denoiser()(*told))
    assert len(recorded) == 1


def test_shapes_beyond_the_first_few_run_without_a_recording(recorded):
    replayed = RecordedGraph(Denoiser())
    for samples in range(1, MOST + 3):
        told = asked(samples)
        assert torch.equal(replayed(*told), Denoiser()(*told))
    assert len(recorded) == MOST


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graph_answers_as_the_network_does():
    model = diffusion.build(
        species=2, edges=1, atoms=4, channels=8, layers=1, noise=diffusion.Noise()
    )
    model = model.cuda().eval()
    replayed, source = RecordedGraph(model), torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for _ in range(3):
            atoms = torch.randn(6, 4, 5, generator=source).cuda()
            some = torch.rand(6, count(2), generator=source) + 1
            edge = torch.zeros(6, dtype=torch.long)
            expected = Expectation(some, some, torch.zeros(6, 11), edge).to(atoms.device)
            sigma = torch.full((6,), 0.3, device=atoms.device)
            wanted = model(atoms, sigma, expected)
            assert torch.allclose(replayed(atoms, sigma, expected), wanted, atol=1e-5)
