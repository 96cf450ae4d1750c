"""Best-of-n from scores against enumeration of all subsets and of all draws of a small policy, and known limits."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy

from rmjax.errors import InputError
from rmjax.evaluation import best_of_n as bon
from rmjax.evaluation.best_of_n_curve import curve, curve_rows, hedge_tune
from rmjax.evaluation.best_of_n_kl import kl_bound, kl_of_distribution, kl_of_poisson, kl_of_samples
from rmjax.evaluation.bootstrap import Bootstrap

# Seven samples each: no ties, ties at the top, in the middle and at the bottom, and all equal.
SCORES = np.array(
    [
        [0.3, -1.0, 2.5, 0.9, 1.1, -0.2, 7.0],
        [5.0, 1.0, 5.0, 5.0, 2.0, 0.0, 3.0],
        [0.0, 2.0, 2.0, 1.0, 3.0, 2.0, 0.0],
        [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0],
    ]
)
VALUES = np.random.default_rng(0).normal(size=SCORES.shape)
QUIET = Bootstrap(resamples=0, seed=0)
# A policy with four responses, of which two have one score.
CHANCES, LEVELS, WORTH = np.array([0.1, 0.4, 0.3, 0.2]), np.array([1.0, 0.0, 1.0, 2.0]), np.array([3.0, 1.0, -2.0, 0.5])


def mean_of_best(scores, values):
    """The value of the best, a uniform choice among tied ones."""
    return np.mean([value for score, value in zip(scores, values, strict=True) if score == max(scores)])


def draws(n):
    """Every draw of n responses of the policy, with its probability."""
    for drawn in itertools.product(range(len(CHANCES)), repeat=n):
        yield list(drawn), math.prod(CHANCES[k] for k in drawn)


def exact_best_of_n(n):
    """The probability of each response under best-of-n, by enumeration of all draws."""
    chance = np.zeros(len(CHANCES))
    for drawn, probability in draws(n):
        best = [k for k in drawn if LEVELS[k] == max(LEVELS[drawn])]
        for k in best:
            chance[k] += probability / len(best)
    return chance


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_the_estimate_is_the_mean_over_all_subsets(n):
    expected = [
        np.mean([mean_of_best(score[list(s)], value[list(s)]) for s in itertools.combinations(range(7), n)])
        for score, value in zip(SCORES, VALUES, strict=True)
    ]
    np.testing.assert_allclose(bon.best_of_n(SCORES, VALUES, n), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_the_win_rate_is_the_mean_over_all_subsets_and_other_samples(n):
    def won(score, subset, other):
        best = max(score[list(subset)])
        return (best > score[other]) + 0.5 * (best == score[other])

    expected = [
        np.mean([won(score, s, o) for s in itertools.combinations(range(7), n) for o in set(range(7)) - set(s)])
        for score in SCORES
    ]
    found = bon.win_rate(SCORES, n)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0] == pytest.approx(n / (n + 1))  # no ties
    assert (found[1:] <= n / (n + 1) + 1e-12).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_expectation_over_all_draws_of_four_samples_is_that_of_the_policy(n):
    """Value and win rate are unbiased for a policy whose responses repeat and tie."""
    chance = exact_best_of_n(n)
    above = (LEVELS[:, None] > LEVELS) + 0.5 * (LEVELS[:, None] == LEVELS)
    value = win = 0.0
    for drawn, probability in draws(4):
        score = LEVELS[drawn][None]
        value += probability * bon.best_of_n(score, WORTH[drawn][None], n)[0]
        win += probability * bon.win_rate(score, n)[0]
    assert value == pytest.approx(chance @ WORTH)
    assert win == pytest.approx(chance @ above @ CHANCES)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_divergence_of_a_discrete_policy_is_that_of_the_enumerated_one(n):
    chance = exact_best_of_n(n)
    expected = (chance * np.log(chance / CHANCES)).sum()
    assert kl_of_distribution(CHANCES, LEVELS, n) == pytest.approx(expected, abs=1e-12)
    # Ten samples in exactly these shares, where every score occurs more than once.
    samples = np.repeat(LEVELS, (10 * CHANCES).round().astype(int))
    np.testing.assert_allclose(kl_of_samples(samples[None], n), [expected], atol=1e-12)
    assert expected < kl_bound(n) or n == 1


@pytest.mark.parametrize("n", [1, 3, 17, 500])
def test_without_ties_the_divergence_is_the_bound_and_with_ties_it_is_below(n):
    rng = np.random.default_rng(1)
    untied, tied = rng.normal(size=(2, 512)), rng.normal(size=(2, 512)).round(1)
    np.testing.assert_allclose(kl_of_samples(untied, n), kl_bound(n), atol=1e-12)
    measured = kl_of_samples(tied, n)
    assert (measured >= -1e-12).all()
    assert (measured < kl_bound(n) - 1e-4).all() or n == 1
    assert (kl_of_samples(np.zeros((1, 9)), n) == 0).all()


def test_a_policy_of_many_responses_comes_to_the_bound():
    many = kl_of_distribution(np.full(100_000, 1e-5), np.arange(100_000), 16)
    assert many == pytest.approx(kl_bound(16), abs=2e-4)
    assert many < kl_bound(16)


@pytest.mark.parametrize(("samples", "n"), [(4096, 2), (4096, 64), (4096, 1024), (4096, 4095), (100, 100)])
def test_weights_of_many_samples_are_exact(samples, n):
    weight = bon.rank_weights(samples, n)
    assert weight.sum() == pytest.approx(1, abs=1e-11)
    for i in (n, (n + samples) // 2, samples - 1, samples):
        exact = float(Fraction(math.comb(i - 1, n - 1), math.comb(samples, n)))
        assert weight[i - 1] == pytest.approx(exact, rel=1e-11, abs=1e-300)


def test_soft_best_of_n_goes_from_the_policy_to_best_of_n():
    def soft(n, temperature):
        return bon.soft_best_of_n(SCORES, VALUES, n, temperature, seed=3)

    np.testing.assert_allclose(soft(7, 1e-4), bon.best_of_n(SCORES, VALUES, 7), rtol=1e-9)
    np.testing.assert_allclose(soft(7, 1e9), VALUES.mean(1), rtol=1e-6)
    np.testing.assert_allclose(soft(1, 0.7), VALUES.mean(1), rtol=1e-9)
    chances = np.exp(SCORES / 0.7)
    np.testing.assert_allclose(soft(7, 0.7), (chances * VALUES).sum(1) / chances.sum(1), rtol=1e-9)


def test_soft_best_of_n_has_no_bias_over_subsets():
    """Against all 35 subsets of 3 of 7 samples; 4,000 prompts are the same one, so their mean has a standard error."""
    score, value = SCORES[2], VALUES[2]
    chosen = [list(s) for s in itertools.combinations(range(7), 3)]
    expected = np.mean([scipy.special.softmax(score[s]) @ value[s] for s in chosen])
    found = bon.soft_best_of_n(np.tile(score, (4000, 1)), np.tile(value, (4000, 1)), 3, 1.0, rounds=1)
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(4000)
    assert found.std() > 0.01


def test_best_of_poisson_mixes_best_of_n():
    mixed = sum(
        scipy.stats.poisson.pmf(n - 1, 0.4) * bon.best_of_n(SCORES, VALUES, n) for n in range(1, 8)
    ) + scipy.stats.poisson.sf(6, 0.4) * bon.best_of_n(SCORES, VALUES, 7)
    np.testing.assert_allclose(bon.best_of_poisson(SCORES, VALUES, 0.4), mixed, rtol=1e-12)
    # The quantile has the density (μ u + 1) exp(μ (u - 1)).
    u = (np.arange(200_000) + 0.5) / 200_000
    density = (9 * u + 1) * np.exp(9 * (u - 1))
    quantile = np.arange(1, 2001)[None] / 2001
    assert bon.best_of_poisson(quantile, quantile, 9.0)[0] == pytest.approx((density * u).mean(), abs=1e-5)
    assert kl_of_poisson(9.0) == pytest.approx((density * np.log(density)).mean(), abs=1e-6)
    assert kl_of_poisson(500.0) < kl_bound(501)


def test_pessimism_weighs_samples_above_a_threshold():
    beta = 0.8
    for score, value, found in zip(SCORES, VALUES, bon.pessimistic(SCORES, VALUES, beta), strict=True):
        shift = scipy.optimize.brentq(lambda x, s=score: np.maximum(0, s - x).mean() / beta - 1, -99, 99, xtol=1e-13)
        assert found == pytest.approx((np.maximum(0, score - shift) / beta * value).mean(), rel=1e-9)
    np.testing.assert_allclose(bon.pessimistic(SCORES, np.ones_like(SCORES), beta), 1)
    np.testing.assert_allclose(bon.pessimistic(SCORES, VALUES, 1e-6), bon.best_of_n(SCORES, VALUES, 7), rtol=1e-5)
    np.testing.assert_allclose(bon.pessimistic(SCORES, VALUES, 1e6), VALUES.mean(1), atol=1e-4)


@pytest.mark.parametrize(("first", "second"), [(3, 60), (60, 3)])
def test_the_best_n_is_the_highest_of_several_peaks(first, second):
    """A gold reward with two peaks over n, compared with every n on a fine grid."""
    u = (np.arange(1000) + 0.5)[None] / 1000
    gold = (second / 60 + 0.1) * u**2 - 0.5 * u**12 + (first / 60) * u**90 - 3 * u**700
    best = hedge_tune(u, gold, max_n=400, bootstrap=QUIET)
    edge, grid = np.arange(1001) / 1000, np.geomspace(1, 400, 20_000)
    reward = np.array([gold[0] @ np.diff(edge**n) for n in grid])
    assert best.gold == pytest.approx(reward.max(), abs=1e-9)
    assert best.n == pytest.approx(grid[reward.argmax()], rel=1e-2)
    assert best.peaked


def test_a_gold_reward_that_only_rises_or_falls_has_its_best_n_at_an_end():
    u = np.random.default_rng(0).normal(size=(5, 200))
    rising, falling = (hedge_tune(u, gold, max_n=50, bootstrap=Bootstrap(200, 0)) for gold in (u, -u))
    assert (rising.n, rising.peaked, rising.interval) == (50.0, False, (50.0, 50.0))
    assert (falling.n, falling.peaked, falling.interval) == (1.0, True, (1.0, 1.0))


def test_the_best_n_is_close_to_that_of_the_estimate_without_bias():
    """The draws with replacement of `hedge_tune` against `best_of_n` for every whole n."""
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(300, 400))
    score = gold + rng.standard_t(2, size=gold.shape)  # errors with heavy tails, which win for large n
    best = hedge_tune(score, gold, max_n=100, bootstrap=Bootstrap(300, 0))
    ascending = bon.by_rank(score, gold)
    rewards = [(ascending @ bon.rank_weights(400, n)).mean() for n in range(1, 101)]
    assert best.gold == pytest.approx(max(rewards), abs=0.01)
    assert best.interval[0] <= best.n <= best.interval[1]
    assert best.peaked


def test_a_curve_has_the_means_over_prompts_with_intervals():
    rows = curve(SCORES, {"helpful": VALUES}, [2, 7], Bootstrap(200, 0))
    two, seven = rows
    assert two["score"] == pytest.approx(bon.best_of_n(SCORES, SCORES, 2).mean())
    assert two["gold_helpful"] == pytest.approx(bon.best_of_n(SCORES, VALUES, 2).mean())
    assert two["gold_helpful_gain"] == pytest.approx(two["gold_helpful"] - VALUES.mean())
    assert two["kl"] == pytest.approx(kl_of_samples(SCORES, 2).mean())
    assert (two["win_rate"], two["win_rate_bound"]) == (pytest.approx(bon.win_rate(SCORES, 2).mean()), 2 / 3)
    assert seven["win_rate"] is None
    for row, name in itertools.product(rows, ("score", "gold_helpful", "score_gain", "kl")):
        low, high = row[f"{name}_ci95"]
        assert low <= row[name] <= high
    assert [len(row) for row in curve_rows(rows)] == [7, 7, 7]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bon.best_of_n(SCORES, VALUES, 8), "n must be between 1 and the 7 samples of a prompt, found 8"),
        (lambda: bon.best_of_n(SCORES, VALUES, 0), "found 0"),
        (lambda: bon.best_of_n(SCORES, VALUES[:, :3], 2), r"values \[4, 3\] for scores \[4, 7\]"),
        (lambda: bon.win_rate(SCORES, 7), "1 <= n < 7"),
        (lambda: bon.ranks(np.array([[1.0, math.nan]])), "not finite"),
        (lambda: bon.ranks(np.zeros(3)), r"found the shape \[3\]"),
        (lambda: bon.soft_best_of_n(SCORES, VALUES, 2, 0.0), "above 0"),
        (lambda: bon.best_of_poisson(SCORES, VALUES, 7.0), "well below the 7 samples"),
        (lambda: bon.best_of_poisson(SCORES, VALUES, -1.0), "between 0"),
        (lambda: bon.pessimistic(SCORES, VALUES, 0.0), "beta must be above 0"),
        (lambda: kl_bound(0.5), "at least 1, found 0.5"),
        (lambda: kl_of_poisson(-1.0), "must not be negative"),
        (lambda: kl_of_distribution(np.array([0.5, 0.4]), np.zeros(2), 2), "found the sum 0.9"),
        (lambda: hedge_tune(SCORES, VALUES, max_n=8, bootstrap=QUIET), "max_n must be between 1 and the 7"),
    ],
)
def test_wrong_input_is_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
