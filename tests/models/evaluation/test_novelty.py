from dataclasses import replace

import numpy as np
import pytest

from nearedge.models.evaluation.novelty import novelty


def test_what_is_known_is_not_new_and_what_is_further_is_newer(corner):
    known = corner()
    wider = replace(known, positions=1.05 * known.positions)
    widest = replace(known, positions=1.2 * known.positions)
    new = novelty([known, wider, widest], [known, widest])
    assert new[[0, 2]] == pytest.approx(0, abs=1e-9)
    assert 0 < new[1] < novelty([widest], [known])[0]


def test_angles_count_beside_distances(corner):
    site = corner()
    bent = site.positions.copy()
    bent[0] = np.linalg.norm(bent[0]) * np.array([1.0, 0.0, 0.0])
    (new,) = novelty([replace(site, positions=bent)], [site])
    assert new > 0.1


def test_a_site_of_an_unknown_absorber_is_new_without_bounds(corner):
    assert np.isinf(novelty([corner()], [replace(corner(), absorber="O")])).all()
