"""Best-of-n sampling from scores: expected values of what it selects, its win rate, and its variants.

Best-of-n draws n samples from a policy and takes the one with the highest score. From N samples of a prompt, the
functions here average over all their subsets of size n. This estimate has no bias for n <= N, and less variance than
one draw of n. `score_PxN` has the scores of the N samples of P prompts, `value_PxN` what is averaged: the same scores,
or the gold rewards of the same samples. Results are `[P] float64`.

Among tied samples, best-of-n chooses one uniformly. All samples with one score are then selected with the same
probability, so every estimate is exact if it takes the mean of their values (`by_rank`).

Sources: the estimator over all subsets, Nakano et al. (WebGPT, 2112.09332), used by Gao et al. (2210.10760); soft
best-of-n, Verdun et al. (2505.03156); best-of-Poisson, Khalaf et al. (2506.19248); pessimism, Huang et al.
(2503.21878). KL divergences are in `best_of_n_kl.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError

MISSED = 1e-3  # the most probability of more than N samples with which best-of-Poisson is estimated


class Ranks(NamedTuple):
    """Samples in ascending order of their scores, `[P, N]` each.

    Attributes:
        order: index of the sample at each place.
        first: first place with the same score as this place, from 0.
        last: last such place.
    """

    order: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @property
    def tied(self) -> np.ndarray:
        """Number of samples with the score of each place."""
        return self.last - self.first + 1


def ranks(score_PxN: np.ndarray) -> Ranks:
    """Returns the ranks of the samples of every prompt.

    Raises:
        InputError: a score is not finite, or the array is not `[P, N]` with at least one sample.

    Example:
        >>> ranks(np.array([[2.0, 1.0, 2.0]])).tied
        array([[1, 2, 2]])
    """
    score_PxN = np.asarray(score_PxN)
    if score_PxN.ndim != 2 or not score_PxN.shape[1]:
        raise InputError(f"scores must be [prompts, samples], found the shape {list(score_PxN.shape)}")
    if not np.isfinite(score_PxN).all():
        raise InputError("a score is not finite: the samples of its prompt have no best one")
    order = np.argsort(score_PxN, axis=1, kind="stable")
    ascending = np.take_along_axis(score_PxN, order, axis=1)
    place = np.arange(ascending.shape[1])
    rises = ascending[:, 1:] > ascending[:, :-1]
    first = np.maximum.accumulate(np.pad(np.where(rises, place[1:], 0), ((0, 0), (1, 0))), axis=1)
    ends = np.pad(np.where(rises, place[:-1], place[-1]), ((0, 0), (0, 1)), constant_values=place[-1])
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return Ranks(order, first, last)


def by_rank(score_PxN: np.ndarray, value_PxN: np.ndarray) -> np.ndarray:
    """Returns the values in ascending order of the scores, `[P, N] float64`; tied samples have their mean value.

    Raises:
        InputError: as `ranks`, or the shapes differ.

    Example:
        >>> by_rank(np.array([[2.0, 1.0, 2.0]]), np.array([[5.0, 3.0, 7.0]]))
        array([[3., 6., 6.]])
    """
    if np.shape(score_PxN) != np.shape(value_PxN):
        raise InputError(
            f"values {list(np.shape(value_PxN))} for scores {list(np.shape(score_PxN))}: give one for each"
        )
    found = ranks(score_PxN)
    value = np.take_along_axis(np.asarray(value_PxN, np.float64), found.order, axis=1)
    total = np.pad(value.cumsum(1), ((0, 0), (1, 0)))
    mean = np.take_along_axis(total, found.last + 1, 1) - np.take_along_axis(total, found.first, 1)
    return np.where(found.tied == 1, value, mean / found.tied)


def rank_weights(samples: int, n: int) -> np.ndarray:
    """C(i - 1, n - 1) / C(N, n): the probability that sample i of N, in ascending order, is the best of n.

    Returned for i = 1, ..., N, `[N] float64`. Computed from the largest by the ratios (i - n) / (i - 1) of neighbours,
    without a large number.

    Raises:
        InputError: n is not in 1, ..., N.

    Example:
        >>> rank_weights(4, 2).round(6).tolist()  # 0, 1, 2 and 3 of the 6 pairs
        [0.0, 0.166667, 0.333333, 0.5]
    """
    if not 1 <= n <= samples:
        raise InputError(f"n must be between 1 and the {samples} samples of a prompt, found {n}")
    i = np.arange(samples, n, -1)
    falling = n / samples * np.cumprod(np.concatenate([[1.0], (i - n) / (i - 1)]))
    return np.concatenate([np.zeros(n - 1), falling[::-1]])


def best_of_n(score_PxN: np.ndarray, value_PxN: np.ndarray, n: int) -> np.ndarray:
    """Returns the expected value of the best of n samples, without bias: Σ_i C(i - 1, n - 1) / C(N, n) · v_(i).

    v_(i) is the value of the sample with the i-th lowest score.

    Raises:
        InputError: as `by_rank` and `rank_weights`.

    Example:
        >>> score, gold = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 0.0]])
        >>> best_of_n(score, gold, 2).round(6).tolist()  # the second is the best of one pair of three
        [0.333333]
    """
    return by_rank(score_PxN, value_PxN) @ rank_weights(np.shape(score_PxN)[1], n)


def win_rate(score_PxN: np.ndarray, n: int) -> np.ndarray:
    """Returns the probability that the best of n samples has a higher score than one further sample; a tie is half.

    Over all subsets of n + 1 samples with one of them as the opponent, it is

        1 - Σ_i (w_first(i) + w_last(i)) / (2 (n + 1)),   w = rank_weights(N, n + 1)

    where first(i) and last(i) are the lowest and the highest rank with the score of sample i. Without ties it is
    n / (n + 1), which is an upper bound in general (Beirami et al. 2401.01879).

    Raises:
        InputError: as `ranks`, or n is not in 1, ..., N - 1.

    Example:
        >>> win_rate(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]]), 3).tolist()
        [0.75, 0.5]
    """
    found, samples = ranks(score_PxN), np.shape(score_PxN)[1]
    if not 1 <= n < samples:
        raise InputError(f"a win rate needs 1 <= n < {samples}, the samples of a prompt, found n = {n}")
    weight = rank_weights(samples, n + 1)
    return 1 - (weight[found.first] + weight[found.last]).sum(1) / (2 * (n + 1))


def soft_best_of_n(
    score_PxN: np.ndarray, value_PxN: np.ndarray, n: int, temperature: float, *, rounds: int = 64, seed: int = 0
) -> np.ndarray:
    """Returns the expected value of soft best-of-n: of n samples, i is chosen with probability ∝ exp(s_i / T).

    Low temperatures T are close to best-of-n, high ones to the policy. There is no closed form over all subsets. Each
    round divides the samples at random into N // n groups of n, and the mean over groups has no bias. With n = N there
    is one group, and the result is exact.

    Args:
        score_PxN: scores.
        value_PxN: values.
        n: number of samples to choose from.
        temperature: T > 0, in units of the score.
        rounds: number of random divisions.
        seed: seed of the divisions.

    Raises:
        InputError: a number is out of range, or as `by_rank`.

    Example:
        >>> soft_best_of_n(np.array([[0.0, np.log(3.0)]]), np.array([[0.0, 1.0]]), 2, 1.0).round(6).tolist()
        [0.75]
    """
    if temperature <= 0 or rounds < 1:
        raise InputError(f"temperature and rounds must be above 0, found {temperature} and {rounds}")
    samples = np.shape(score_PxN)[1]
    rank_weights(samples, n)  # checks n
    value = by_rank(score_PxN, value_PxN)
    score = np.sort(np.asarray(score_PxN, np.float64), axis=1)
    rng, total = np.random.default_rng(seed), np.zeros(len(value))
    places = np.tile(np.arange(samples), (len(value), 1))
    rounds = 1 if n == samples else rounds
    for _ in range(rounds):
        groups = rng.permuted(places, axis=1)[:, : samples // n * n]
        chances, values = (np.take_along_axis(each, groups, 1).reshape(len(value), -1, n) for each in (score, value))
        total += (scipy.special.softmax(chances / temperature, axis=2) * values).sum(2).mean(1)
    return total / rounds


def best_of_poisson(score_PxN: np.ndarray, value_PxN: np.ndarray, mean: float) -> np.ndarray:
    """Returns the expected value of the best of n samples, with n - 1 drawn from a Poisson distribution.

    For scores with quantile u in the policy, without ties, the density of u is (μ u + 1) exp(μ (u - 1)), close to the
    policy that is best for its KL divergence (2506.19248). A draw of more than N samples counts as N.

    Args:
        score_PxN: scores.
        value_PxN: values.
        mean: the mean μ >= 0 of n - 1.

    Raises:
        InputError: as `by_rank`, or more than N samples are drawn with a probability above `MISSED`.

    Example:
        >>> best_of_poisson(np.array([[1.0, 2.0]]), np.array([[0.0, 1.0]]), 0.0).tolist()
        [0.5]
    """
    samples = np.shape(score_PxN)[1]
    missed = scipy.special.pdtrc(samples - 1, mean) if mean >= 0 else 1.0
    if missed > MISSED:
        raise InputError(f"mean={mean} must be between 0 and well below the {samples} samples of a prompt: draw more")
    chances = scipy.stats.poisson.pmf(np.arange(samples), mean)
    chances[-1] += missed
    weight = sum(chance * rank_weights(samples, n) for n, chance in enumerate(chances, 1) if chance > 1e-16)
    return by_rank(score_PxN, value_PxN) @ weight


def pessimistic(score_PxN: np.ndarray, value_PxN: np.ndarray, beta: float) -> np.ndarray:
    """Returns the expected value of inference-time pessimism: samples are accepted in proportion to max(0, s - λ) / β.

    λ makes the mean weight of the samples 1, so the policy is π · max(0, s - λ) / β, the best one for its χ² divergence
    from π. Low β is close to the best of N, high β to π. λ is found from the N samples that are accepted or not.

    Raises:
        InputError: β is not above 0, or as `by_rank`.

    Source: Huang et al. (2503.21878). λ is found as in the projection onto a simplex (Duchi et al. 2008).

    Example:
        >>> pessimistic(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]), 1.0).tolist()  # λ = -1/2, weights 1/2 and 3/2
        [0.75]
    """
    if beta <= 0:
        raise InputError(f"beta must be above 0, found {beta}")
    value = by_rank(score_PxN, value_PxN)[:, ::-1]
    score = -np.sort(-np.asarray(score_PxN, np.float64), axis=1)
    samples = score.shape[1]
    # With the k highest scores accepted, λ is their mean less β N / k; the lowest of them must be above it.
    shifts = (score.cumsum(1) - beta * samples) / np.arange(1, samples + 1)
    accepted = (score > shifts).sum(1, keepdims=True)
    weight = np.maximum(0, score - np.take_along_axis(shifts, accepted - 1, 1)) / beta
    return (weight * value).mean(1)
