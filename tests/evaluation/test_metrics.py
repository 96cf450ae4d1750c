"""Metrics against hand arithmetic, loops over pairs, SciPy, and what a resampling interval has to satisfy."""

import numpy as np
import pytest
import scipy.stats

from rmjax.evaluation import metrics


def test_credit_and_accuracy_by_hand():
    gap_P = np.array([2.0, -1.0, 0.0, 0.5])
    np.testing.assert_array_equal(metrics.pair_credit(gap_P), [1.0, 0.0, 0.5, 1.0])
    assert metrics.accuracy(gap_P) == 2.5 / 4
    assert np.isnan(metrics.accuracy(np.array([])))


def test_turning_every_pair_turns_the_accuracy():
    gap_P = np.random.default_rng(0).integers(-3, 4, 101).astype(float)
    assert metrics.accuracy(gap_P) + metrics.accuracy(-gap_P) == pytest.approx(1.0)


def test_a_tied_pair_counts_half():
    assert metrics.accuracy_with_ties(np.array([1.0, 2.0, -1.0, 0.0]), 4) == (2 + 0.5 + 4 * 0.5) / 8
    assert metrics.accuracy_with_ties(np.array([1.0, -1.0]), 0) == metrics.accuracy(np.array([1.0, -1.0]))
    assert metrics.accuracy_with_ties(np.array([]), 3) == 0.5
    assert np.isnan(metrics.accuracy_with_ties(np.array([]), 0))


def naive_bootstrap(value_P, prompt_P, resamples, seed):
    generator = np.random.default_rng(seed)
    clusters = [value_P[prompt_P == prompt] for prompt in np.unique(prompt_P)]
    means = []
    for _ in range(resamples):
        drawn = [clusters[index] for index in generator.integers(len(clusters), size=len(clusters))]
        means.append(np.concatenate(drawn).mean())
    return np.quantile(means, [0.025, 0.975])


def test_interval_agrees_with_drawing_prompts_one_by_one():
    generator = np.random.default_rng(1)
    prompt_P = np.repeat(np.arange(60), generator.integers(1, 7, 60))
    value_P = generator.choice([0.0, 0.5, 1.0], len(prompt_P), p=[0.3, 0.1, 0.6])
    interval = metrics.bootstrap_interval(value_P, prompt_P, resamples=20_000, seed=0)
    np.testing.assert_allclose(interval, naive_bootstrap(value_P, prompt_P, 4_000, 0), atol=0.006)


def test_interval_is_as_wide_as_the_normal_approximation_for_independent_pairs():
    value_P = np.repeat([1.0, 0.0], [1400, 600])
    low, high = metrics.bootstrap_interval(value_P, np.arange(2000))
    half_width = 1.96 * np.sqrt(0.7 * 0.3 / 2000)
    np.testing.assert_allclose([low, high], [0.7 - half_width, 0.7 + half_width], atol=0.002)


def test_pairs_of_one_prompt_count_as_one_piece_of_evidence():
    value_P = np.repeat([1.0, 0.0], [140, 60])
    copies = np.repeat(value_P, 9)
    alone = metrics.bootstrap_interval(value_P, np.arange(200))
    assert metrics.bootstrap_interval(copies, np.repeat(np.arange(200), 9)) == pytest.approx(alone)
    low, high = metrics.bootstrap_interval(copies, np.arange(1800))
    assert high - low == pytest.approx((alone[1] - alone[0]) / 3, rel=0.1)


def test_interval_is_seeded_and_blind_to_order_and_names_of_prompts():
    generator = np.random.default_rng(2)
    prompt_P, value_P = generator.integers(0, 40, 150), generator.integers(0, 2, 150).astype(float)
    interval = metrics.bootstrap_interval(value_P, prompt_P, seed=3)
    order = generator.permutation(150)
    assert metrics.bootstrap_interval(value_P[order], 1000 - prompt_P[order], seed=3) == pytest.approx(interval)
    assert metrics.bootstrap_interval(value_P, prompt_P, seed=4) != interval


def test_interval_widens_with_its_level():
    value_P, prompt_P = np.tile([1.0, 0.0, 1.0], 50), np.arange(150)
    inner, outer = (metrics.bootstrap_interval(value_P, prompt_P, level=level) for level in (0.5, 0.99))
    assert outer[0] < inner[0] < 2 / 3 < inner[1] < outer[1]


@pytest.mark.parametrize(("prompts", "resamples"), [([0, 0, 0], 100), ([0, 1, 2], 0), ([], 100)])
def test_interval_is_undefined_without_spread_to_resample(prompts, resamples):
    interval = metrics.bootstrap_interval(np.ones(len(prompts)), np.array(prompts, int), resamples=resamples)
    assert np.isnan(interval).all()


def test_wilson_interval_ends_where_a_score_test_would_just_not_reject():
    """|a - p| = t √(p (1 - p) / m), with the effective number m of pairs worked out prompt by prompt."""
    generator = np.random.default_rng(3)
    prompt_P = np.repeat(np.arange(12), generator.integers(1, 9, 12))
    credit_P = generator.choice([0.0, 0.5, 1.0], len(prompt_P), p=[0.2, 0.1, 0.7])
    a, total = credit_P.mean(), len(credit_P)
    variance = 12 / 11 * sum((credit_P[prompt_P == k] - a).sum() ** 2 for k in range(12)) / total**2
    effective, t = min(total, a * (1 - a) / variance), scipy.stats.t.ppf(0.975, 11)
    low, high = metrics.wilson_interval(credit_P, prompt_P)
    assert low < a < high
    for p in (low, high):
        assert abs(a - p) == pytest.approx(t * np.sqrt(p * (1 - p) / effective))


def test_wilson_interval_of_independent_pairs_and_of_pairs_that_are_all_right():
    value_P = np.repeat([1.0, 0.0], [1400, 600])
    expected = scipy.stats.binomtest(1400, 2000).proportion_ci(method="wilson")
    assert metrics.wilson_interval(value_P, np.arange(2000)) == pytest.approx(tuple(expected), abs=2e-4)
    low, high = metrics.wilson_interval(np.ones(20), np.arange(20))
    assert (low, high) == (pytest.approx(20 / (20 + scipy.stats.t.ppf(0.975, 19) ** 2)), 1.0)
    # Nine pairs of each prompt, all right, are no more evidence than one.
    assert metrics.wilson_interval(np.ones(180), np.repeat(np.arange(20), 9)) == pytest.approx((low, high))
    assert metrics.wilson_interval(np.zeros(20), np.arange(20)) == pytest.approx((0.0, 1 - low))
    assert np.isnan(metrics.wilson_interval(np.ones(3), np.zeros(3))).all()


def test_wilson_interval_covers_few_prompts():
    """15 prompts of 1 to 36 pairs: the percentile bootstrap covers less."""
    generator, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(400):
        counts = generator.integers(1, 37, 15)
        prompt_P = np.repeat(np.arange(15), counts)
        credit_P = (generator.random(len(prompt_P)) < np.repeat(generator.beta(2.55, 0.45, 15), counts)).astype(float)
        intervals = (
            metrics.wilson_interval(credit_P, prompt_P),
            metrics.bootstrap_interval(credit_P, prompt_P, resamples=500),
        )
        covered += [low <= 0.85 <= high for low, high in intervals]
    assert covered[0] / 400 > 0.91 > 0.90 > covered[1] / 400


def test_length_balanced_accuracy_takes_the_length_rule_down_to_a_half():
    length_gap_P = np.array([5.0, 3.0, 8.0, -2.0, 0.0])
    assert metrics.accuracy(length_gap_P) == 3.5 / 5
    assert metrics.length_balanced_accuracy(length_gap_P, length_gap_P) == 0.5
    gap_P = np.array([1.0, 1.0, -1.0, 1.0, -1.0])
    assert metrics.length_balanced_accuracy(gap_P, length_gap_P) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(metrics.length_balanced_accuracy(gap_P[:3], length_gap_P[:3]))


def test_ceiling_is_what_the_true_utilities_earn_on_average():
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


def test_correlations_agree_with_scipy():
    generator = np.random.default_rng(6)
    x_N = generator.integers(0, 20, 300).astype(float)  # with ties
    y_N = np.exp(x_N / 8) + generator.normal(size=300)
    assert metrics.pearson(x_N, y_N) == pytest.approx(scipy.stats.pearsonr(x_N, y_N).statistic)
    assert metrics.spearman(x_N, y_N) == pytest.approx(scipy.stats.spearmanr(x_N, y_N).statistic)
    assert metrics.pearson(x_N * 1e-200, y_N * 1e200) == pytest.approx(metrics.pearson(x_N, y_N))


def test_correlation_limits():
    x_N = np.arange(5.0)
    assert metrics.pearson(x_N, 3 - 2 * x_N) == pytest.approx(-1.0)
    assert metrics.spearman(x_N, np.exp(x_N)) == pytest.approx(1.0)
    assert metrics.pearson(x_N, np.exp(x_N)) < 0.95
    for undefined in (metrics.pearson, metrics.spearman):
        assert np.isnan(undefined(x_N, np.full(5, 0.1)))
        assert np.isnan(undefined(np.array([1.0]), np.array([2.0])))
