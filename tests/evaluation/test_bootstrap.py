"""Intervals: known cases, honest coverage, and plain words where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.evaluation import bootstrap
from worldmodel.evaluation.bootstrap import Estimate, difference, estimate


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def test_equal_games_have_an_interval_of_no_width() -> None:
    (found,) = estimate((column(2, 4, 6, 8, 10), column(4, 8, 12, 16, 20)), seed=0)
    assert found == Estimate(0.5, 0.5, 0.5)


def test_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 400)
    (found,) = estimate((values[:, None], np.ones((400, 1))), seed=1)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.04)
    assert found.high == pytest.approx(values.mean() + half, abs=0.04)


def test_long_games_weigh_more() -> None:
    """A ratio of sums, not a mean of ratios."""
    (found,) = estimate((column(0, 0, 0, 0, 90), column(1, 1, 1, 1, 96)), seed=0)
    assert found.value == pytest.approx(0.9)


def test_coverage_is_near_nominal() -> None:
    """In 300 worlds of 40 games, the 95 % interval holds the truth about 95 % of the time (binomial noise: 1.3 %)."""
    generator = np.random.default_rng(0)
    hits = 0
    for world in range(300):
        size = generator.integers(50, 150, 40).astype(float)
        rate = generator.beta(30, 10, 40)  # mean 0.75, and independent of size
        (found,) = estimate(((rate * size)[:, None], size[:, None]), seed=world, num_resamples=400)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.75 <= found.high
    assert 0.90 <= hits / 300 <= 0.985


def test_pairing_removes_what_games_have_in_common() -> None:
    generator = np.random.default_rng(5)
    hardness = generator.normal(10, 5, 50)
    model, baseline, ones = hardness - 0.5 + generator.normal(0, 0.1, 50), hardness, np.ones(50)
    (found,) = difference((model[:, None], ones[:, None]), (baseline[:, None], ones[:, None]), seed=0)
    assert found.value == pytest.approx(-0.5, abs=0.05)
    assert found.high is not None
    assert found.high < -0.4  # unpaired, the half width would be about 1.4


def test_the_same_seed_gives_the_same_interval_and_another_gives_another() -> None:
    sums = (np.random.default_rng(0).normal(size=(20, 1)), np.ones((20, 1)))
    assert estimate(sums, seed=7) == estimate(sums, seed=7)
    assert estimate(sums, seed=7) != estimate(sums, seed=8)


def test_few_games_give_a_number_and_a_reason() -> None:
    (found,) = estimate((column(1, 2, 3, 4), column(2, 4, 6, 8)), seed=0)
    assert found == Estimate(0.5, None, None, "4 games; an interval needs 5")


def test_games_that_lack_a_field_do_not_count_toward_the_minimum() -> None:
    """Six games, but the field is there in three of them only."""
    (found,) = estimate((column(1, 1, 1, 0, 0, 0), column(2, 2, 2, 0, 0, 0)), seed=0)
    assert found == Estimate(0.5, None, None, "3 games; an interval needs 5")


def test_nothing_counted_and_nothing_finite_are_said() -> None:
    zeros = np.zeros((6, 1))
    assert estimate((zeros, zeros), seed=0) == [Estimate(None, None, None, "nothing to count in these games")]
    spoiled = column(1, 1, 1, 1, 1, np.nan)
    assert estimate((spoiled, np.ones((6, 1))), seed=0) == [Estimate(None, None, None, "not finite")]
    assert estimate((np.zeros((0, 2)), np.zeros((0, 2))), seed=0) == [Estimate(None, None, None, "no games")] * 2


def test_a_spoiled_metric_leaves_its_neighbours_alone() -> None:
    numerator = np.ones((6, 2))
    numerator[3, 0] = np.inf
    spoiled, sound = estimate((numerator, np.full((6, 2), 2.0)), seed=0)
    assert spoiled.value is None
    assert sound == Estimate(0.5, 0.5, 0.5)


def test_weights_are_whole_games() -> None:
    drawn = bootstrap.weights(9, seed=0, num_resamples=50)
    assert drawn.shape == (50, 9)
    assert (drawn.sum(1) == 9).all()
    assert (drawn == drawn.round()).all()


def test_sums_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not go together"):
        difference((np.ones((5, 1)), np.ones((5, 1))), (np.ones((6, 1)), np.ones((6, 1))), seed=0)
