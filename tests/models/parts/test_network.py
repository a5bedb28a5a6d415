import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nearedge.models.parts.network import Denoiser, NetworkSize

SIZE = NetworkSize(atoms=7, species=2, context=5, hints=3, channels=8, layers=2, radial=6)


@pytest.fixture
def float64():
    """Build networks, with e3nn's constants, in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=[1, 2, 3])
def net(request, float64):
    torch.manual_seed(0)
    size = NetworkSize(
        atoms=7, species=2, context=5, hints=3, channels=8, layers=2, radial=6, degree=request.param
    )
    net = Denoiser(size)
    with torch.no_grad():  # the modulation starts at 0: let the context speak
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return net


def inputs(batch=3):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "x": normal(batch, 7, 3) * 2,
        "kinds": normal(batch, 7, 2),
        "noise": normal(batch),
        "context": normal(batch, 5),
        "hints": normal(batch, 7, 3),
        "gap": normal(batch, 7),
    }


def turns():
    rotations = [Rotation.random(random_state=k).as_matrix() for k in range(3)]
    mirror = np.diag([1.0, 1.0, -1.0])
    return [torch.from_numpy(m) for r in rotations for m in (r, r @ mirror)] + [
        -torch.eye(3, dtype=torch.float64)
    ]


def test_positions_turn_and_mirror_with_the_input_and_species_do_not(net):
    given = inputs()
    force, kinds = net(**given)
    size = max(1.0, force.abs().max())
    for turn in turns():
        turned, same = net(**{**given, "x": given["x"] @ turn.T})
        assert (turned - force @ turn.T).abs().max() < 1e-9 * size
        assert (same - kinds).abs().max() < 1e-9 * max(1.0, kinds.abs().max())


def test_answer_depends_on_the_rank_of_an_atom(net):
    given = inputs()
    order = torch.tensor([1, 0, 2, 3, 4, 5, 6])
    swapped = {
        k: v[:, order] if k in ("x", "kinds", "hints", "gap") else v for k, v in given.items()
    }
    force, _ = net(**given)
    moved, _ = net(**swapped)
    assert (moved[:, order] - force).abs().max() > 1e-3


def test_context_and_noise_matter(net):
    given = inputs()
    force, _ = net(**given)
    for name in ("context", "noise", "hints", "kinds", "gap"):
        other, _ = net(**{**given, name: given[name] + 1})
        assert (other - force).abs().max() > 1e-6, name


def test_atoms_on_top_of_each_other_give_finite_answers_and_gradients(net):
    given = inputs()
    given["x"] = torch.zeros_like(given["x"], requires_grad=True)
    force, kinds = net(**given)
    (force.sum() + kinds.sum()).backward()
    assert torch.isfinite(force).all()
    assert torch.isfinite(given["x"].grad).all()


def test_batch_mates_do_not_mix(net):
    given = inputs()
    force, _ = net(**given)
    alone, _ = net(**{k: v[:1] for k, v in given.items()})
    assert torch.allclose(force[:1], alone, atol=1e-12)


def test_answer_is_smooth_where_a_neighbour_crosses_another(float64):
    torch.manual_seed(0)
    net = Denoiser(SIZE)
    given = inputs(batch=1)

    def at(shift):
        x = given["x"].clone()
        x[0, 1] = x[0, 0] + torch.tensor([shift, 0.0, 0.0])
        return net(**{**given, "x": x})[0]

    assert (at(1e-5) - at(-1e-5)).abs().max() < 1e-2
