import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models import Samples
from nearedge.streaming.answers.overlay import overlay, typical_sample

SPECIES = np.array(["O", "O", "O", "O", "Si", "Si", "Si", "Si", ""])


def tetrahedron() -> np.ndarray:
    """Four O at 1.61 Å, a Si behind each at 3.1 Å off the axis, and one place without an atom."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    behind = corners + 0.3 * np.roll(corners, 1, axis=0) + [0.05, 0.0, -0.1]
    return np.vstack([1.61 * corners, 2.7 * behind, np.zeros(3)])


def samples_of(clusters: list[np.ndarray], orders: list[np.ndarray] | None = None) -> Samples:
    count = len(clusters)
    orders = orders or [np.arange(len(SPECIES))] * count
    return Samples(
        species=np.stack([SPECIES[order] for order in orders]),
        positions=np.stack([c[order] for c, order in zip(clusters, orders, strict=True)]).astype(
            np.float32
        ),
        weights=np.full(count, 1 / count),
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_turned_mirrored_and_reordered_copies_fall_onto_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(3)]
    clusters = [tetrahedron() @ turn for turn in turns]
    laid = overlay(samples_of(clusters, [rng.permutation(len(SPECIES)) for _ in turns]))
    known = laid.spread[~np.isnan(laid.spread)]
    assert len(known) == 8
    assert known.max() < 0.02


def test_the_spread_is_where_the_samples_differ() -> None:
    moved = tetrahedron()
    moved[5] += [0.0, 0.0, 0.6]
    laid = overlay(samples_of([tetrahedron(), tetrahedron(), moved]))
    assert laid.typical in (0, 1)
    assert int(np.nanargmax(laid.spread)) == 5
    assert laid.spread[5] == pytest.approx(0.6 / np.sqrt(2), rel=0.25)
    assert np.isnan(laid.spread[8])


def test_the_typical_sample_is_not_the_odd_one() -> None:
    assert typical_sample(samples_of([2 * tetrahedron(), tetrahedron(), tetrahedron()])) == 1


def test_one_sample_is_its_own_overlay() -> None:
    laid = overlay(samples_of([tetrahedron()]))
    assert laid.typical == 0
    assert np.isnan(laid.spread).all()


def test_samples_with_different_atoms_are_matched_as_far_as_they_go() -> None:
    species = np.array([["O", "O", "Si"], ["O", "", ""]])
    positions = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    laid = overlay(Samples(species=species, positions=positions, weights=np.array([0.5, 0.5])))
    assert np.isfinite(laid.positions).all()
    assert np.isfinite(laid.spread).sum() == 1
