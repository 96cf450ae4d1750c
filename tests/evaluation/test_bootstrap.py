"""Confidence intervals against resampling prompt by prompt, normal theory, SciPy, and simulated coverage."""

import numpy as np
import pytest
import scipy.stats

from rmjax.evaluation.bootstrap import Bootstrap, bootstrap_interval, cluster_interval, wilson_interval


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
    interval = bootstrap_interval(value_P, prompt_P, resamples=20_000, seed=0)
    np.testing.assert_allclose(interval, naive_bootstrap(value_P, prompt_P, 4_000, 0), atol=0.006)


def test_interval_is_as_wide_as_the_normal_approximation_for_independent_pairs():
    value_P = np.repeat([1.0, 0.0], [1400, 600])
    low, high = bootstrap_interval(value_P, np.arange(2000))
    half_width = 1.96 * np.sqrt(0.7 * 0.3 / 2000)
    np.testing.assert_allclose([low, high], [0.7 - half_width, 0.7 + half_width], atol=0.002)


def test_pairs_of_one_prompt_count_as_one_piece_of_evidence():
    value_P = np.repeat([1.0, 0.0], [140, 60])
    copies = np.repeat(value_P, 9)
    alone = bootstrap_interval(value_P, np.arange(200))
    assert bootstrap_interval(copies, np.repeat(np.arange(200), 9)) == pytest.approx(alone)
    low, high = bootstrap_interval(copies, np.arange(1800))
    assert high - low == pytest.approx((alone[1] - alone[0]) / 3, rel=0.1)


def test_interval_depends_on_the_seed_but_not_on_order_or_names_of_prompts():
    generator = np.random.default_rng(2)
    prompt_P, value_P = generator.integers(0, 40, 150), generator.integers(0, 2, 150).astype(float)
    interval = bootstrap_interval(value_P, prompt_P, seed=3)
    order = generator.permutation(150)
    assert bootstrap_interval(value_P[order], 1000 - prompt_P[order], seed=3) == pytest.approx(interval)
    assert bootstrap_interval(value_P, prompt_P, seed=4) != interval


def test_interval_widens_with_its_level():
    value_P, prompt_P = np.tile([1.0, 0.0, 1.0], 50), np.arange(150)
    inner, outer = (bootstrap_interval(value_P, prompt_P, level=level) for level in (0.5, 0.99))
    assert outer[0] < inner[0] < 2 / 3 < inner[1] < outer[1]


@pytest.mark.parametrize(("prompts", "resamples"), [([0, 0, 0], 100), ([0, 1, 2], 0), ([], 100)])
def test_interval_is_undefined_for_one_prompt_or_no_resample(prompts, resamples):
    interval = bootstrap_interval(np.ones(len(prompts)), np.array(prompts, int), resamples=resamples)
    assert np.isnan(interval).all()


def test_interval_of_a_weighted_sum_of_means_agrees_with_drawing_clusters_one_by_one():
    generator = np.random.default_rng(4)
    counts = generator.integers(1, 5, (40, 2))
    sums, weights = generator.binomial(counts, [0.7, 0.4]), np.array([0.3, 0.6])
    means = []
    for _ in range(4000):
        drawn = generator.integers(40, size=40)
        means.append((sums[drawn].sum(axis=0) / counts[drawn].sum(axis=0)) @ weights)
    interval = cluster_interval(sums, counts, weights, resamples=20_000, seed=0)
    np.testing.assert_allclose(interval, np.quantile(means, [0.025, 0.975]), atol=0.006)


def test_interval_is_undefined_if_a_resample_has_no_value_for_a_mean():
    sums, counts = np.eye(2), np.eye(2)
    assert np.isnan(cluster_interval(sums, counts, np.array([1.0, 0.0]), resamples=50, seed=0)).all()


def test_the_interval_of_a_difference_on_few_prompts():
    """Student's by hand for one pair each, and not a point if a few prompts agree; from 30 prompts on the bootstrap."""
    values = np.array([1.0, 0.0, 0.0, -1.0, 0.5])
    reach = 2.776 * values.std(ddof=1) / 5**0.5  # t(0.975; 4)
    found = Bootstrap(200, 0).difference_interval(values, np.arange(5))
    assert found == pytest.approx((0.1 - reach, 0.1 + reach), abs=1e-3)
    low, high = Bootstrap(200, 0).difference_interval(np.ones(3), np.arange(3))
    assert (low < 0, high) == (True, 1.0)  # McNemar's p of three prompts is 0.25
    assert Bootstrap(200, 0).difference_interval(np.ones(12), np.arange(12))[0] > 0
    many = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 60)
    assert Bootstrap(200, 0).difference_interval(many, np.arange(60)) == Bootstrap(200, 0).interval(many, np.arange(60))


def test_wilson_interval_ends_at_the_limits_of_a_score_test():
    """|a - p| = t √(p (1 - p) / m), with the effective number m of pairs from a loop over prompts."""
    generator = np.random.default_rng(3)
    prompt_P = np.repeat(np.arange(12), generator.integers(1, 9, 12))
    credit_P = generator.choice([0.0, 0.5, 1.0], len(prompt_P), p=[0.2, 0.1, 0.7])
    a, total = credit_P.mean(), len(credit_P)
    variance = 12 / 11 * sum((credit_P[prompt_P == k] - a).sum() ** 2 for k in range(12)) / total**2
    effective, t = min(total, a * (1 - a) / variance), 2.200985  # Student's table, 11 degrees of freedom
    low, high = wilson_interval(credit_P, prompt_P)
    assert low < a < high
    for p in (low, high):
        assert abs(a - p) == pytest.approx(t * np.sqrt(p * (1 - p) / effective))


def test_wilson_interval_of_independent_pairs_and_of_pairs_that_are_all_right():
    value_P = np.repeat([1.0, 0.0], [1400, 600])
    expected = scipy.stats.binomtest(1400, 2000).proportion_ci(method="wilson")
    assert wilson_interval(value_P, np.arange(2000)) == pytest.approx(tuple(expected), abs=2e-4)
    low, high = wilson_interval(np.ones(20), np.arange(20))
    assert (low, high) == (pytest.approx(20 / (20 + 2.093024**2)), 1.0)
    # Nine pairs of each prompt, all right, are no more evidence than one.
    assert wilson_interval(np.ones(180), np.repeat(np.arange(20), 9)) == pytest.approx((low, high))
    assert wilson_interval(np.zeros(20), np.arange(20)) == pytest.approx((0.0, 1 - low))
    assert np.isnan(wilson_interval(np.ones(3), np.zeros(3))).all()


def test_wilson_interval_covers_few_prompts():
    """15 prompts of 1 to 36 pairs: the percentile bootstrap covers less."""
    generator, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(400):
        counts = generator.integers(1, 37, 15)
        prompt_P = np.repeat(np.arange(15), counts)
        credit_P = (generator.random(len(prompt_P)) < np.repeat(generator.beta(2.55, 0.45, 15), counts)).astype(float)
        intervals = (
            wilson_interval(credit_P, prompt_P),
            bootstrap_interval(credit_P, prompt_P, resamples=500),
        )
        covered += [low <= 0.85 <= high for low, high in intervals]
    assert covered[0] / 400 > 0.91 > 0.90 > covered[1] / 400
