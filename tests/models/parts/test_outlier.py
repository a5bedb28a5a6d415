import numpy as np
import pytest

from nearedge.models.parts.outlier import score
from nearedge.models.training.familiarity import familiarise


@pytest.fixture(scope="module")
def spectra():
    """Smooth curves of three degrees of freedom, with a little noise."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 60)
    shapes = np.array([np.sin(2 * np.pi * k * x) for k in (1, 2, 3)])
    return (
        1 + rng.normal(size=(600, 3)) * [0.3, 0.2, 0.1] @ shapes + rng.normal(size=(600, 60)) * 0.01
    )


@pytest.fixture(scope="module")
def familiar(spectra):
    learned = spectra[:400]
    edge = np.zeros(400, np.int64)
    return familiarise(learned, np.ones_like(learned), edge, edges=1)


def test_the_score_is_the_distance_where_the_misfit_is_usual_and_grows_with_it():
    assert score(0.7, 0.05, usual=0.05) == pytest.approx(0.7)
    assert 0.7 < score(0.7, 0.1, usual=0.05) < score(0.7, 0.2, usual=0.05) < 1.4
    assert score(0.7, 0.0, usual=0.05) == 0


def test_new_spectra_of_the_same_kind_are_familiar(familiar, spectra):
    distances = [familiar.distance(s, np.ones(60), edge=0) for s in spectra[400:]]
    assert 0.2 < np.median(distances) < 1.5


def test_other_shapes_are_not(familiar, spectra):
    distances = [familiar.distance(s, np.ones(60), edge=0) for s in spectra[400:]]
    odd = spectra[400:] + 0.3 * np.sin(2 * np.pi * 7 * np.linspace(0, 1, 60))
    strange = [familiar.distance(s, np.ones(60), edge=0) for s in odd]
    assert min(strange) > max(distances)


def test_a_part_of_a_familiar_spectrum_is_familiar(familiar, spectra):
    mask = (np.arange(60) < 25).astype(float)
    distances = [familiar.distance(s * mask, mask, edge=0) for s in spectra[400:]]
    assert np.median(distances) < 1.5


def test_what_was_not_measured_does_not_count(familiar, spectra):
    mask = (np.arange(60) < 25).astype(float)
    other = np.where(mask > 0, spectra[0], 99.0)
    assert familiar.distance(other, mask, edge=0) == familiar.distance(spectra[0], mask, edge=0)


def test_training_spectra_with_gaps_still_give_a_positive_definite_covariance():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 30))
    mask = (rng.random((5, 30)) < 0.6).astype(float)
    familiar = familiarise(values * mask, mask, np.zeros(5, np.int64), edges=1)
    assert np.linalg.eigvalsh(familiar.covariance[0]).min() > 0
    assert np.isfinite(familiar.distance(values[0], np.ones(30), edge=0))


def test_the_shortest_spectra_teach_nothing(familiar, spectra):
    mask = np.ones((500, 60))
    mask[400:, 20:] = 0
    shown = np.where(mask > 0, spectra[:500], 0)
    shown[400:, :20] += 5
    again = familiarise(shown, mask, np.zeros(500, np.int64), edges=1)
    assert np.array_equal(again.mean, familiar.mean)
    assert np.array_equal(again.covariance, familiar.covariance)


def test_a_spectrum_that_hardly_rings_is_less_familiar_than_its_distance_says(familiar, spectra):
    flat, ringing = np.ones(60), max(spectra[400:], key=np.ptp)
    assert familiar.distance(flat, np.ones(60), edge=0) >= 0
    mean = familiar.mean[0]
    apart = 0.3 * np.sin(2 * np.pi * 7 * np.linspace(0, 1, 60))
    quiet = familiar.distance(mean + apart * (mean > 0.9), np.ones(60), edge=0)
    loud = familiar.distance(ringing + apart * (mean > 0.9), np.ones(60), edge=0)
    assert quiet > loud
