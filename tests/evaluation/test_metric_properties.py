"""Properties of metrics at any scores: what a strictly increasing transformation of the scores must not change."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmjax.evaluation.metrics import (
    accuracy,
    accuracy_with_ties,
    bayes_accuracy,
    bradley_terry_loss,
    length_balanced_accuracy,
    pair_credit,
    pearson,
    spearman,
    within_group,
)

FEW = settings(
    max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
SCORES = st.lists(st.integers(-8, 8).map(float), min_size=4, max_size=24).map(np.array)
INCREASING = {"affine": lambda x: 3 * x + 5, "cube": lambda x: x**3, "exp": np.exp, "arctan": np.arctan}
DECREASING = {"minus": lambda x: -x, "exp(-x)": lambda x: np.exp(-x)}


def gaps(scores):
    """Gaps of consecutive pairs (winner, loser)."""
    return scores[: len(scores) // 2 * 2].reshape(-1, 2) @ np.array([1.0, -1.0])


@pytest.mark.parametrize("name", INCREASING)
@FEW
@given(SCORES)
def test_accuracies_and_rank_correlation_depend_on_the_order_of_the_scores_alone(name, scores):
    changed = INCREASING[name](scores)
    np.testing.assert_array_equal(pair_credit(gaps(scores)), pair_credit(gaps(changed)))
    assert accuracy(gaps(scores)) == accuracy(gaps(changed))
    assert accuracy_with_ties(gaps(scores), 3) == accuracy_with_ties(gaps(changed), 3)
    lengths = np.arange(len(gaps(scores))) % 3 - 1
    np.testing.assert_equal(
        length_balanced_accuracy(gaps(scores), lengths), length_balanced_accuracy(gaps(changed), lengths)
    )
    np.testing.assert_equal(spearman(scores, scores[::-1]), spearman(changed, scores[::-1]))


@pytest.mark.parametrize("name", DECREASING)
@FEW
@given(SCORES)
def test_the_opposite_order_has_the_opposite_accuracy(name, scores):
    changed = DECREASING[name](scores)
    assert accuracy(gaps(changed)) == pytest.approx(1 - accuracy(gaps(scores)), abs=1e-12)
    np.testing.assert_allclose(spearman(changed, scores[::-1]), -spearman(scores, scores[::-1]), atol=1e-12)


@FEW
@given(SCORES, st.integers(1, 9), st.integers(-9, 9))
def test_pearson_is_that_of_standardized_values(scores, scale, shift):
    np.testing.assert_allclose(
        pearson(scores * scale + shift, scores[::-1]), pearson(scores, scores[::-1]), rtol=1e-9, atol=1e-12
    )


@FEW
@given(SCORES)
def test_no_accuracy_is_above_the_ceiling_of_its_own_odds(scores):
    """The expected accuracy of labels drawn with σ(gap) is that of the larger probability: at least 1/2."""
    odds = 1 / (1 + np.exp(-np.abs(gaps(scores))))
    assert bayes_accuracy(gaps(scores)) == pytest.approx(odds.mean(), rel=1e-12)
    assert 0.5 <= bayes_accuracy(gaps(scores)) <= 1
    assert (
        bradley_terry_loss(np.abs(gaps(scores)))
        <= np.log(2) + 1e-12
        <= bradley_terry_loss(-np.abs(gaps(scores))) + 2e-12
    )


@FEW
@given(SCORES, st.integers(1, 4))
def test_groups_have_mean_zero_and_forget_their_own_constant(scores, count):
    groups = np.arange(len(scores)) % count
    centred = within_group(scores, groups)
    for group in range(count):
        assert abs(centred[groups == group].sum()) < 1e-9
    np.testing.assert_allclose(within_group(scores + 7 * groups, groups), centred, atol=1e-9)
