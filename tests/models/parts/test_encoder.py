import numpy as np
import pytest
import torch
from torch.nn import functional

from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES
from nearedge.models.parts import encoder
from nearedge.models.parts.encoder import EncoderSize, Ensemble

SIZE = EncoderSize(grid=20, edges=2, descriptors=4, width=16, dropout=0.5)


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    return Ensemble(SIZE, members=3).eval()


@pytest.fixture
def spectra():
    torch.manual_seed(1)
    return torch.randn(5, 20), torch.ones(5, 20), torch.tensor([0, 1, 0, 1, 0])


def test_expectation_has_positive_spread_and_probabilities(ensemble, spectra):
    told = ensemble(*spectra)
    assert told.mean.shape == told.spread.shape == (5, 4)
    assert (told.spread > 0).all()
    assert torch.allclose(told.cn.exp().sum(1), torch.ones(5), atol=2e-3)


def test_what_is_masked_does_not_matter(ensemble, spectra):
    values, mask, edge = spectra
    mask = mask.clone()
    mask[:, 12:] = 0
    other = torch.where(mask > 0, values, torch.full_like(values, 7.0))
    assert torch.equal(ensemble(values, mask, edge).mean, ensemble(other, mask, edge).mean)


def test_the_edge_matters(ensemble, spectra):
    values, mask, edge = spectra
    assert not torch.allclose(
        ensemble(values, mask, edge).mean, ensemble(values, mask, 1 - edge).mean
    )


def test_weights_choose_members(ensemble, spectra):
    only = torch.zeros(5, 3)
    only[:, 1] = 1
    told = ensemble(*spectra, weights=only)
    mean, log, _ = ensemble.members[1](*spectra)
    assert torch.allclose(told.mean, mean, atol=1e-5)
    assert torch.allclose(told.spread, log.exp(), atol=1e-3)


def test_members_that_disagree_widen_the_spread(ensemble, spectra):
    alone = torch.zeros(5, 3)
    alone[:, 0] = 1
    before = ensemble(*spectra, weights=alone).spread
    with torch.no_grad():
        ensemble.members[1].answer.bias[:4] += 10
    assert (ensemble(*spectra).spread > before).all()


def of_one(target, cn):
    """Targets of spectra of one site each."""
    return target, torch.zeros_like(target), functional.one_hot(cn, EXPECTED_CN_CLASSES).float()


def test_loss_falls_as_a_member_learns():
    torch.manual_seed(0)
    member = encoder.Encoder(EncoderSize(grid=20, edges=1, descriptors=2, width=32, dropout=0.0))
    values, mask, edge = torch.randn(64, 20), torch.ones(64, 20), torch.zeros(64, dtype=torch.long)
    target = torch.stack([values[:, 3], values[:, 7] * 0.5], 1)
    target[::5, 1] = torch.nan
    cn = (values[:, 0] > 0).long() + 4
    told = of_one(target, cn)
    optimiser = torch.optim.Adam(member.parameters(), 5e-3)
    losses = []
    for _ in range(150):
        loss = encoder.loss(member(values, mask, edge), told, torch.ones(2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    mean, _, logits = member(values, mask, edge)
    assert (mean[:, 0] - target[:, 0]).abs().mean() < 0.2
    assert (logits.argmax(1) == cn).float().mean() > 0.9


def test_undefined_targets_teach_nothing():
    answer = tuple(torch.zeros(3, n, requires_grad=True) for n in (2, 2, 11))
    cn = torch.zeros(3, dtype=torch.long)
    target = torch.tensor([[1.0, torch.nan]] * 3)
    encoder.loss(answer, of_one(target, cn), torch.ones(2)).backward()
    assert answer[0].grad[:, 0].abs().min() > 0
    assert (answer[0].grad[:, 1] == 0).all()


def test_an_average_teaches_what_its_sites_teach_together():
    """Two sites in one target cost what they cost one by one, on the mean."""
    answer = tuple(torch.randn(1, n) for n in (2, 2, EXPECTED_CN_CLASSES))
    sites = torch.tensor([[0.5, -1.0], [1.5, 2.0]])
    cn = torch.tensor([4, 6])
    apart = [
        encoder.loss(answer, of_one(sites[k : k + 1], cn[k : k + 1]), torch.ones(2)) for k in (0, 1)
    ]
    shares = functional.one_hot(cn, EXPECTED_CN_CLASSES).float().mean(0, keepdim=True)
    told = sites.mean(0, keepdim=True), sites.var(0, correction=0, keepdim=True), shares
    together = encoder.loss(answer, told, torch.ones(2))
    assert together.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-5)


def test_what_counts_more_teaches_more():
    answer = tuple(torch.zeros(3, n, requires_grad=True) for n in (2, 2, 11))
    target = of_one(torch.ones(3, 2), torch.zeros(3, dtype=torch.long))
    encoder.loss(answer, target, torch.tensor([3.0, 1.0])).backward()
    assert torch.allclose(answer[0].grad[:, 0], 3 * answer[0].grad[:, 1])


def test_the_first_shell_counts_most():
    counts = descriptors.importance(descriptors.count(2)).tolist()
    near, far = [descriptors.NEAR_COUNTS] * descriptors.NEAR, [1.0] * 12
    assert counts == [*near, *far, *near, *far, *[descriptors.SHELL_COUNTS] * 3]


def test_a_shift_of_weight_across_the_spectrum_is_seen_as_area():
    """A peak and the hole beside it cancel in a blurred level, not in the area between them."""
    member = encoder.Encoder(SIZE).eval()
    seen = []
    member.look.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    values = torch.zeros(1, 20)
    values[0, 4], values[0, 15] = 1.0, -1.0
    member.embed(values, torch.ones(1, 20), torch.tensor([0]))
    area = seen[0][0, 2]
    assert area[:4].eq(0).all() and area[15:].eq(0).all()
    assert torch.allclose(area[4:15], torch.tensor(encoder.AREA_SCALE))


def test_unsmoothed_probabilities_are_those_before_smoothing():
    prob = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    smoothed = (1 - encoder.SMOOTHING) * prob + encoder.SMOOTHING / 4
    assert torch.allclose(encoder.unsmoothed(smoothed), prob, atol=1e-6)


def test_species_are_counted_back_from_the_descriptors():
    assert [descriptors.species_in(descriptors.count(n)) for n in (1, 2, 5)] == [1, 2, 5]
