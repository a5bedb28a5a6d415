import dataclasses

import numpy as np
import pytest

from nearedge.models.evaluation.contrast import contrast
from nearedge.models.evaluation.figures import Score

NOTHING = {field.name: np.nan for field in dataclasses.fields(Score)}


def scores(cn_true=4.0, **figures):
    """Scores by spectrum, from one figure's value for each."""
    ((name, values),) = figures.items()
    return {
        str(key): Score(**{**NOTHING, "absorber": "Si", "cn_true": cn_true, name: value})
        for key, value in enumerate(values)
    }


def test_gain_and_error_are_those_of_the_differences():
    found = contrast(scores(bond_mae=[0.1, 0.2, 0.3]), scores(bond_mae=[0.2, 0.4, 0.6]), "bond_mae")
    assert (found.rows, found.gain) == (3, pytest.approx(0.2))
    assert found.error == pytest.approx(0.1 / np.sqrt(3))
    assert found.verdict == 1


def test_more_overlap_is_better():
    found = contrast(scores(rdf_overlap=[0.5, 0.6]), scores(rdf_overlap=[0.7, 0.81]), "rdf_overlap")
    assert found.gain == pytest.approx(-0.205)
    assert found.verdict == -1


def test_what_scatters_is_not_told_apart():
    found = contrast(scores(angle_mae=[1, 9, 2]), scores(angle_mae=[8, 2, 3]), "angle_mae")
    assert found.gain == pytest.approx(1 / 3)
    assert found.verdict == 0


def test_only_spectra_that_both_answer_count():
    mine = scores(angle_mae=[1.0, 2.0, np.nan, 4.0])
    other = scores(angle_mae=[2.0, 3.0, 9.0])
    assert contrast(mine, other, "angle_mae").rows == 2
    assert contrast(scores(angle_mae=[1.0]), other, "angle_mae") is None
    bare = scores(cn_true=0.0, bond_mae=[1.0, 2.0])
    assert contrast(bare, bare, "bond_mae") is None
