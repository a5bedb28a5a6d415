import numpy as np
import pytest

from nearedge.models.evaluation.energy import energy_score, quantiles

ONE = np.ones(1)


def lists(rng, centre, spread, count):
    return np.sort(centre + spread * rng.standard_normal((count, 6)), axis=1)


def test_one_drawn_cluster_scores_its_mean_difference():
    drawn, true = np.array([[100.0, 110.0, 120.0]]), np.array([101.0, 110.0, 118.0])
    assert energy_score(quantiles(drawn), ONE, quantiles([true])) == pytest.approx(1.0)


def test_lists_of_any_length_are_compared_as_distributions():
    drawn = np.array([[90.0, 90.0, 180.0, 180.0, np.nan]])
    assert energy_score(quantiles(drawn), ONE, quantiles([np.array([90.0, 180.0])])) == 0


def test_nobody_scores_better_than_the_true_scatter():
    """A sure answer at the mean, a shifted and a twice too wide one all score worse."""
    rng = np.random.default_rng(0)
    even = np.full(32, 1 / 32)

    def mean_score(draw):
        return np.mean(
            [
                energy_score(
                    quantiles(draw()), even, quantiles(lists(rng, rng.normal(109, 5), 2, 1))
                )
                for _ in range(400)
            ]
        )

    honest = mean_score(lambda: np.vstack([lists(rng, rng.normal(109, 5), 2, 1) for _ in even]))
    assert honest < mean_score(lambda: lists(rng, 109, 2, 32)) - 0.3
    assert honest < mean_score(lambda: lists(rng, 114, 2, 32)) - 0.3
    assert honest < mean_score(
        lambda: np.vstack([lists(rng, rng.normal(109, 15), 2, 1) for _ in even])
    )


def test_what_weighs_nothing_or_defines_nothing_does_not_count():
    drawn = np.array([[100.0], [np.nan], [500.0]])
    weights = np.array([0.5, 0.5, 0.0])
    assert energy_score(quantiles(drawn), weights, quantiles([np.array([103.0])])) == pytest.approx(
        3
    )
    assert np.isnan(energy_score(quantiles(drawn[1:2]), ONE, quantiles([np.array([1.0])])))
    assert np.isnan(energy_score(quantiles(drawn[:1]), ONE, quantiles([np.zeros(0)])))
