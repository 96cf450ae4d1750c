"""The interval over seeds and prompts against hand arithmetic, Student's interval, and simulated coverage."""

import math

import numpy as np
import pytest
import scipy

from rmjax.evaluation.crossed import crossed_interval, half_width


def test_variances_by_hand():
    # Means of the seeds 1 and 3, of the prompts 1, 2, 3: s² = 2, r² = 1, v = 2/2 + 1/3 = 4/3.
    found = crossed_interval(np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]), np.ones(3, int))
    assert (found.mean, found.n, found.prompts) == (2.0, 2, 3)
    assert (found.seed_sd**2, found.prompt_sd**2) == pytest.approx((2.0, 1.0))
    assert found.error == pytest.approx(math.sqrt(4 / 3))
    # ν = (4/3)² / (1² / 1 + (1/3)² / 2) = 1.684; Student's interval over two seeds, 12.706 * 1, is wider.
    freedom = (4 / 3) ** 2 / (1 + 1 / 18)
    assert scipy.stats.t.ppf(0.975, freedom) * found.error < 12.706
    assert found.high - found.mean == pytest.approx(12.706, abs=1e-3)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(2.0, 1))


def test_without_variance_over_seeds_it_is_students_interval_of_the_prompts():
    values = np.random.default_rng(0).normal(size=40)
    found = crossed_interval(np.stack([values] * 3), np.ones(40, int))
    expected = scipy.stats.t.interval(0.95, 39, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(40))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)


def test_without_variance_over_prompts_it_is_students_interval_of_the_seeds():
    means = np.array([0.1, 0.2, 0.6])
    found = crossed_interval(np.repeat(means[:, None], 50, axis=1), np.ones(50, int))
    expected = scipy.stats.t.interval(0.95, 2, loc=means.mean(), scale=means.std(ddof=1) / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(means, 0).pvalue)


def test_the_p_value_agrees_with_the_interval():
    generator = np.random.default_rng(0)
    for _ in range(300):
        values = generator.normal(0.15, 0.5, (3, 30)) + generator.normal(0, 0.1, (3, 1))
        found = crossed_interval(values, np.ones(30, int))
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_prompts_of_different_size_are_a_ratio():
    """The pigeonhole bootstrap draws prompts with their sizes. Here its variance is that over prompts, nearly alone."""
    generator = np.random.default_rng(0)
    counts = generator.integers(1, 20, 200)
    sums = generator.binomial(counts, generator.beta(2, 1, 200), (4, 200)).astype(float)
    found = crossed_interval(sums, counts)
    assert found.mean == pytest.approx(sums.sum() / counts.sum() / 4)
    drawn_S = generator.multinomial(4, [1 / 4] * 4, 4000)
    drawn_K = generator.multinomial(200, [1 / 200] * 200, 4000)
    means = np.einsum("rs,sk,rk->r", drawn_S, sums, drawn_K) / 4 / (drawn_K @ counts)
    # The bootstrap divides by S and n where the interval divides by S - 1 and n - 1.
    expected = math.sqrt(found.seed_sd**2 / 4 * 3 / 4 + found.prompt_sd**2 / 200 * 199 / 200)
    assert means.std() == pytest.approx(expected, rel=0.05)


def test_fewer_than_two_seeds_or_prompts_have_no_interval():
    for values in (np.ones((1, 5)), np.ones((3, 1))):
        found = crossed_interval(values, np.ones(values.shape[1], int))
        assert found.mean == 1.0
        assert all(map(math.isnan, (found.error, found.low, found.high, found.p)))


def test_equal_values_have_no_width():
    assert crossed_interval(np.zeros((3, 9)), np.ones(9, int))[:4] == (0.0, 0.0, 0.0, 0.0)
    assert crossed_interval(np.ones((3, 9)), np.ones(9, int)).p == 0.0


@pytest.mark.parametrize("seed_sd", [0.002, 0.01])
def test_three_seeds_cover_where_a_bootstrap_over_seeds_does_not(seed_sd):
    """2,000 data sets of 500 prompts; a share of 95 % has a standard error of 0.5 points."""
    generator = np.random.default_rng(0)
    covered = {"crossed": 0, "seeds": 0}
    for _ in range(2000):
        prompt_K = generator.normal(0, 0.2, 500)
        values = generator.normal(0, seed_sd, (3, 1)) + prompt_K + generator.normal(0, 0.2, (3, 500))
        found = crossed_interval(values, np.ones(500, int))
        covered["crossed"] += found.low <= 0 <= found.high
        low, high = np.quantile(values.mean(axis=1)[generator.integers(0, 3, (200, 3))].mean(axis=1), [0.025, 0.975])
        covered["seeds"] += low <= 0 <= high
    assert covered["crossed"] >= 0.945 * 2000
    assert covered["seeds"] < 0.75 * 2000


def test_the_width_is_computed_for_many_deviations_at_once():
    widths = half_width(np.array([0.0, 0.01, 0.05]), 0.3, 3, 500)
    assert widths.tolist() == [float(half_width(sd, 0.3, 3, 500)) for sd in (0.0, 0.01, 0.05)]
    assert (np.diff(widths) > 0).all()
