import numpy as np
import pytest

from nearedge.models.evaluation.soundness import SoundnessRule

#: A tetrahedron of oxygen at 1.62 Å, and silicon behind one of them.
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
CLUSTER = np.vstack([1.62 * TETRAHEDRON, [[0, 0, 3.1]]])
SPECIES = np.array(["O"] * 4 + ["Si"])


@pytest.fixture
def rule(corner):
    return SoundnessRule.of([corner() for _ in range(6)])


def judged(rule, positions, cn=4):
    return rule.judge("Si", SPECIES[None], positions[None], cn=cn)


def test_what_training_has_is_sound(rule):
    low, high = rule.angles["Si", 4]
    assert low < 109.47 < high
    assert high - low == pytest.approx(2, abs=0.1)
    assert judged(rule, CLUSTER).sound.all()


def test_a_bent_angle_an_overlap_and_a_wrong_number_are_not(rule):
    bent = CLUSTER.copy()
    bent[0] = [1.62, 0, 0]
    found = judged(rule, bent)
    assert (found.angled[0], found.coordinated[0], found.sound[0]) == (False, True, False)
    over = CLUSTER.copy()
    over[4] = over[0] * 1.5
    found = judged(rule, over)
    assert (found.apart[0], found.sound[0]) == (False, False)
    far = CLUSTER.copy()
    far[3] *= 2
    found = judged(rule, far)
    assert (found.coordinated[0], found.sound[0]) == (False, False)


def test_too_few_crystals_give_no_range(corner):
    assert not SoundnessRule.of([corner() for _ in range(4)]).angles
