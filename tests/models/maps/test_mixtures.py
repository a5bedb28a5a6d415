"""Pixels as mixtures of end members."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from nearedge.models.maps.mixtures import MOST, mixtures


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5))
def test_the_fit_is_that_of_non_negative_least_squares(seed, count):
    rng = np.random.default_rng(seed)
    members = rng.normal(1.0, 0.5, (count, 40))
    spectra = rng.normal(0.3, 0.5, (12, count)) @ members + rng.normal(0, 0.1, (12, 40))
    found = mixtures(spectra, members)
    for k, spectrum in enumerate(spectra):
        wanted, _ = nnls(members.T, spectrum)
        assert found.fractions[k] == pytest.approx(wanted, abs=1e-8)
        off = np.sqrt(np.mean((spectrum - wanted @ members) ** 2))
        assert found.misfit[k] == pytest.approx(off)


def test_what_is_mixed_is_found_and_missing_pixels_stay_missing():
    members = np.array([[0.0, 1.0, 1.5, 1.0], [0.0, 1.3, 0.9, 1.0]])
    shares = np.array([[0.25, 0.75], [1.0, 0.0]])
    spectra = np.vstack([shares @ members, np.full((1, 4), np.nan)])
    found = mixtures(spectra, members)
    assert found.fractions[:2] == pytest.approx(shares, abs=1e-12)
    assert np.isnan(found.fractions[2]).all()
    assert found.misfit[:2] == pytest.approx(0.0, abs=1e-9)


def test_end_members_must_differ_and_be_few():
    with pytest.raises(ValueError, match="are alike"):
        mixtures(np.ones((2, 5)), np.ones((2, 5)))
    with pytest.raises(ValueError, match="expected 1 to"):
        mixtures(np.ones((2, 5)), np.ones((MOST + 1, 5)))
    with pytest.raises(ValueError, match="found 0 end members"):
        mixtures(np.ones((2, 5)), np.empty((0, 5)))
