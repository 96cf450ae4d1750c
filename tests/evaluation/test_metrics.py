"""Metrics against hand arithmetic, NumPy's correlations, and simulated labels."""

import numpy as np
import pytest

from rmjax.evaluation import metrics


def test_credit_and_accuracy_by_hand():
    gap_P = np.array([2.0, -1.0, 0.0, 0.5])
    np.testing.assert_array_equal(metrics.pair_credit(gap_P), [1.0, 0.0, 0.5, 1.0])
    assert metrics.accuracy(gap_P) == 2.5 / 4
    assert np.isnan(metrics.accuracy(np.array([])))


def test_swapping_every_pair_gives_one_minus_the_accuracy():
    gap_P = np.random.default_rng(0).integers(-3, 4, 101).astype(float)
    assert metrics.accuracy(gap_P) + metrics.accuracy(-gap_P) == pytest.approx(1.0)


def test_a_tied_pair_counts_half():
    assert metrics.accuracy_with_ties(np.array([1.0, 2.0, -1.0, 0.0]), 4) == (2 + 0.5 + 4 * 0.5) / 8
    assert metrics.accuracy_with_ties(np.array([1.0, -1.0]), 0) == metrics.accuracy(np.array([1.0, -1.0]))
    assert metrics.accuracy_with_ties(np.array([]), 3) == 0.5
    assert np.isnan(metrics.accuracy_with_ties(np.array([]), 0))


def test_length_balanced_accuracy_of_the_length_rule_is_a_half():
    length_gap_P = np.array([5.0, 3.0, 8.0, -2.0, 0.0])
    assert metrics.accuracy(length_gap_P) == 3.5 / 5
    assert metrics.length_balanced_accuracy(length_gap_P, length_gap_P) == 0.5
    gap_P = np.array([1.0, 1.0, -1.0, 1.0, -1.0])
    assert metrics.length_balanced_accuracy(gap_P, length_gap_P) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(metrics.length_balanced_accuracy(gap_P[:3], length_gap_P[:3]))


def test_ceiling_is_the_expected_accuracy_of_the_utilities():
    assert metrics.bayes_accuracy(np.log([3.0, 1 / 4, 1.0])) == pytest.approx((0.75 + 0.8 + 0.5) / 3)
    assert metrics.bayes_accuracy([5000.0, -5000.0]) == 1.0
    generator = np.random.default_rng(5)
    difference = generator.normal(size=200_000)
    won = generator.random(200_000) < 1 / (1 + np.exp(-difference))
    gap_P = np.where(won, difference, -difference)
    assert metrics.accuracy(gap_P) == pytest.approx(metrics.bayes_accuracy(gap_P), abs=0.004)


def test_ceiling_gain():
    assert metrics.ceiling_gain(0.7, 0.9) == pytest.approx(0.5)
    assert metrics.ceiling_gain(0.5, 0.9) == 0.0
    assert np.isnan(metrics.ceiling_gain(0.7, 0.5))
    assert np.isnan(metrics.ceiling_gain(0.7, float("nan")))


def test_loss_by_hand_and_at_extreme_gaps():
    assert metrics.bradley_terry_loss(np.array([np.log(3.0), 0.0])) == pytest.approx((np.log(4 / 3) + np.log(2)) / 2)
    assert metrics.bradley_terry_loss(np.array([-1e4])) == 1e4
    assert metrics.bradley_terry_loss(np.array([1e4])) == 0.0


def test_within_group_by_hand_and_exactly_zero_for_equal_values():
    centred = metrics.within_group(np.array([1.0, 5.0, 3.0, 7.0]), np.array([8, 2, 8, 2]))
    np.testing.assert_array_equal(centred, [-1.0, -1.0, 1.0, 1.0])
    assert not metrics.within_group(np.full(9, 0.1), np.repeat([0, 1, 2], 3)).any()


def ranks(value_N):
    """Ranks from 1: the number of smaller values and half that of the other equal ones."""
    return [(value_N < value).sum() + ((value_N == value).sum() + 1) / 2 for value in value_N]


def test_correlations_agree_with_numpy():
    """Pearson against `np.corrcoef`; Spearman against it on ranks that are counted value by value."""
    generator = np.random.default_rng(6)
    x_N = generator.integers(0, 20, 300).astype(float)  # with ties
    y_N = np.exp(x_N / 8) + generator.normal(size=300)
    assert metrics.pearson(x_N, y_N) == pytest.approx(np.corrcoef(x_N, y_N)[0, 1])
    assert metrics.spearman(x_N, y_N) == pytest.approx(np.corrcoef(ranks(x_N), ranks(y_N))[0, 1])
    assert metrics.pearson(x_N * 1e-200, y_N * 1e200) == pytest.approx(metrics.pearson(x_N, y_N))


def test_correlation_limits():
    x_N = np.arange(5.0)
    assert metrics.pearson(x_N, 3 - 2 * x_N) == pytest.approx(-1.0)
    assert metrics.spearman(x_N, np.exp(x_N)) == pytest.approx(1.0)
    assert metrics.pearson(x_N, np.exp(x_N)) < 0.95
    for undefined in (metrics.pearson, metrics.spearman):
        assert np.isnan(undefined(x_N, np.full(5, 0.1)))
        assert np.isnan(undefined(np.array([1.0]), np.array([2.0])))
