"""Measured scans in the training of the model of all edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nearedge.models import NormalisedSpectrum
from nearedge.models.data.dataset import read_dataset
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.general import number_of
from nearedge.models.training.general import GeneralRecipe, lessons, train_member
from nearedge.models.training.measured import (
    KnownScan,
    TuneRecipe,
    folds_of,
    measured_lessons,
    tuned,
    varied,
)
from tests.models.training.test_general import DATA

RECIPE = GeneralRecipe(steps=4, every=2, batch=16, views=2)
TUNE = TuneRecipe(steps=60, rate=3e-3, share=0.9)


@pytest.fixture(scope="module")
def sites():
    return [s for s in read_dataset(DATA) if s.absorber == "Cu" and s.formula][:12]


@pytest.fixture(scope="module")
def scans(sites):
    """Spectra that stand in for measured ones, with a bond that no calculated site has."""
    return [
        KnownScan(
            compound=f"copper {k}",
            spectrum=replace(_normalised(site), elements=("Cu", "O")),
            cn=5.4,
            bond=2.5,
        )
        for k, site in enumerate(sites[:4])
    ]


def _normalised(site) -> NormalisedSpectrum:
    found = normalise_xanes(site.spectrum)
    assert isinstance(found, NormalisedSpectrum), found
    return found


def test_lessons_hold_what_is_read_and_what_is_true(scans):
    learned = measured_lessons(scans)
    assert len(learned) == 4
    assert learned.absorber.unique().tolist() == [number_of("Cu")]
    assert learned.cn.tolist() == [5] * 4  # the nearest whole number
    assert learned.hint[:, number_of("O")].tolist() == [1.0] * 4


def test_tuning_learns_from_scans_and_leaves_the_network_alone(sites, scans):
    data = lessons(sites)
    net = train_member(data, RECIPE)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    learned = measured_lessons(scans)
    found = tuned(net, data, learned, RECIPE, TUNE)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name])
    asked = (learned.values, learned.mask, learned.absorber, learned.hint)
    with torch.inference_mode():
        off = [(one(*asked).bond[:, 0] - learned.bond).abs().mean() for one in (net, found)]
        odds = [one(*asked).cn.softmax(-1)[:, 5].mean() for one in (net, found)]
    assert off[1] < off[0] - 0.05
    assert odds[1] > odds[0] + 0.1


def test_a_scan_measured_again_is_like_itself(scans):
    learned = measured_lessons(scans)
    generator = torch.Generator().manual_seed(0)
    values, mask = varied(learned.values, learned.mask, TUNE, generator)
    assert ((mask == 0) | (mask == 1)).all()
    assert (values[mask == 0] == 0).all()
    off = (values - learned.values)[(mask * learned.mask) == 1]
    assert 0.005 < off.square().mean().sqrt() < 0.2


def test_without_changes_a_scan_stays_as_it_is(scans):
    learned = measured_lessons(scans)
    still = TuneRecipe(stretch=0, shift=0, scale=0, noise=0, bend=0)
    values, mask = varied(learned.values, learned.mask, still, torch.Generator())
    both = (mask * learned.mask) == 1  # the last point that is known may get lost
    assert both.sum() > learned.mask.sum() - 2 * len(scans)
    torch.testing.assert_close(values[both], learned.values[both], atol=1e-4, rtol=1e-4)


def test_scans_of_one_compound_are_left_out_together():
    names = [f"compound {k % 7}" for k in range(20)]
    fold = folds_of(names, 3)
    assert set(fold) == {0, 1, 2}
    for name in set(names):
        assert len({f for f, own in zip(fold, names, strict=True) if own == name}) == 1
    np.testing.assert_array_equal(fold, folds_of(names, 3))
