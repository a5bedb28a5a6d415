import numpy as np
import pytest

from nearedge.models.training.encoders import Targets, mix

NAN = np.nan
KNOWN = Targets(
    described=np.array([[1.0, 10.0, NAN], [3.0, NAN, NAN], [5.0, 20.0, NAN]]),
    cn=np.array([4, 6, 6]),
    edge=np.zeros(3, int),
)
ALONE = np.array([[0, -1, -1], [1, -1, -1], [2, -1, -1]])
TOGETHER = np.array([[0, 1, -1], [1, -1, -1], [2, 0, 1]])


def even(members):
    there = members >= 0
    return (there / there.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def mixed():
    return mix(KNOWN, np.stack([ALONE, TOGETHER]), np.stack([even(ALONE), even(TOGETHER)]))


def test_a_view_of_one_site_has_its_targets(mixed):
    assert np.array_equal(mixed.mean[0], KNOWN.described, equal_nan=True)
    assert np.array_equal(mixed.variance[0], 0 * KNOWN.described, equal_nan=True)
    assert mixed.cn[0].argmax(1).tolist() == [4, 6, 6]
    assert (mixed.cn[0].max(1) == 1).all()


def test_an_average_has_the_mean_and_scatter_of_its_sites(mixed):
    assert mixed.mean[1, :, 0] == pytest.approx([2, 3, 3])
    assert mixed.variance[1, :, 0] == pytest.approx([1, 0, 8 / 3])
    assert mixed.cn[1, 2, [4, 6]] == pytest.approx([1 / 3, 2 / 3])


def test_what_a_site_does_not_define_does_not_count(mixed):
    assert mixed.mean[1, :, 1] == pytest.approx([10, NAN, 15], nan_ok=True)
    assert mixed.variance[1, :, 1] == pytest.approx([0, NAN, 25], nan_ok=True)
    assert np.isnan(mixed.mean[..., 2]).all()


def test_a_site_counts_by_its_share():
    shares = np.array([[[0.75, 0.25, 0], [1, 0, 0], [0.5, 0.25, 0.25]]], np.float32)
    mixed = mix(KNOWN, TOGETHER[None], shares)
    assert mixed.mean[0, :, 0] == pytest.approx([1.5, 3, 3.5])
    assert mixed.variance[0, 0, 0] == pytest.approx(0.75)
    assert mixed.cn[0, 0, [4, 6]] == pytest.approx([0.75, 0.25])
