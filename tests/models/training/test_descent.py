import pytest
import torch
from torch import nn

from nearedge.models.training.descent import Descent


def begin():
    torch.manual_seed(0)
    return Descent.start(
        nn.Linear(3, 1), rate=0.1, decay=0.0, ema=0.5, schedule=lambda step: 1 / (1 + step)
    )


def walk(descent, steps):
    """Go down the loss of a line that is 1 everywhere, from points that the step draws."""
    losses = []
    for _ in range(steps):
        points = torch.randn(8, 3, generator=torch.Generator().manual_seed(descent.step))
        losses.append(descent.descend((descent.model(points) - 1).square().mean()))
    return losses


def test_the_loss_falls_and_the_rate_follows_the_schedule():
    descent = begin()
    losses = walk(descent, 40)
    assert descent.step == 40 and losses[-1] < 0.5 * losses[0]
    assert descent.schedule.get_last_lr() == pytest.approx([0.1 / 41])


def test_a_descent_goes_on_from_its_state_bit_for_bit():
    through = begin()
    walk(through, 6)
    first, second = begin(), begin()
    walk(first, 3)
    second.restore(first.state())
    walk(second, 3)
    for name, value in through.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    assert torch.equal(through.average().weight, second.average().weight)


def test_averaged_weights_lag_behind():
    descent = begin()
    before = descent.model.weight.detach().clone()
    walk(descent, 2)  # the first step sets the average
    average, now = descent.average(), descent.model.weight
    assert not average.training
    between = (average.weight - before).abs() <= (now - before).abs() + 1e-6
    assert between.all() and not torch.equal(average.weight, now)
