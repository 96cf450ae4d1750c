"""Accuracy, loss and correlation of scores, as pure functions of float64 arrays.

`gap_P` is a difference between the winner and the loser of each of the P untied pairs, as the raters judged: a gap of
scores for the model, of lengths for the length-only baseline, of utilities for the ceiling. `group_N` holds whole
numbers that name the group of each value. An undefined result (no pair, no variance) is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

Metrics = dict[str, Any]

CHANCE = 0.5


def pair_credit(gap_P: np.ndarray) -> np.ndarray:
    """Returns 1 if the winner has the higher value, 0 if it has the lower, 1/2 if the two are equal.

    1/2 is the mean credit of a coin on the pairs that the values leave undecided. Without it, the accuracy of a model
    that gives every response the same score would be 0 or 1, depending on how `>` is written.

    Example:
        >>> pair_credit(np.array([2.0, -1.0, 0.0]))
        array([1. , 0. , 0.5])
    """
    return (1.0 + np.sign(np.asarray(gap_P, np.float64))) / 2.0


def accuracy(gap_P: np.ndarray) -> float:
    """Returns the pairwise accuracy: the mean of `pair_credit`.

    Every pair has the same weight, so a comparison of K responses counts K(K-1)/2 times. With gaps of lengths it is the
    length-only baseline "the longer wins".

    Example:
        >>> accuracy(np.array([2.0, -1.0, 0.0, 0.5]))
        0.625
    """
    return _mean(pair_credit(gap_P))


def accuracy_with_ties(gap_P: np.ndarray, ties: int) -> float:
    """Returns the accuracy over all pairs, with half a win for each tied pair: (Σ credit + ties / 2) / (P + ties).

    The model's preference in a tied pair would be right half the time if the raters had to choose at random.

    Source: a draw as half a win, Elo, The Rating of Chessplayers (1978).

    Example:
        >>> accuracy_with_ties(np.array([1.0, 1.0, 1.0]), ties=1)
        0.875
    """
    total = len(gap_P) + ties
    return float((pair_credit(gap_P).sum() + ties / 2) / total) if total else float("nan")


def length_balanced_accuracy(gap_P: np.ndarray, length_gap_P: np.ndarray) -> float:
    """Returns the mean of two accuracies: on pairs with a longer winner, and on pairs with a shorter winner.

    Pairs of equal length are left out. A score that only follows length has accuracy 1 on one side and 0 on the other:
    1/2 here, for any baseline.

    Example:
        >>> length_balanced_accuracy(np.array([1.0, 1.0, -1.0]), np.array([5, 3, -2]))
        0.5
    """
    gap_P, length_gap_P = np.asarray(gap_P), np.asarray(length_gap_P)
    return (accuracy(gap_P[length_gap_P > 0]) + accuracy(gap_P[length_gap_P < 0])) / 2.0


def bayes_accuracy(utility_gap_P: np.ndarray) -> float:
    """Returns the ceiling: the mean of max(p, 1 - p) with p = sigmoid(u_winner - u_loser).

    The labels were drawn with probability p, so this is the expected accuracy of the exact utilities. On the labels
    that were drawn, a model can be above it by chance.

    Example:
        >>> round(bayes_accuracy(np.log([3.0, 1 / 3])), 6)
        0.75
    """
    return _mean(scipy.special.expit(np.abs(np.asarray(utility_gap_P, np.float64))))


def ceiling_gain(accuracy: float, ceiling: float) -> float:
    """Returns the learned share of the gain over chance: (accuracy - 1/2) / (ceiling - 1/2). NaN if the ceiling is 1/2.

    Example:
        >>> ceiling_gain(0.625, 0.75)
        0.5
    """
    return (accuracy - CHANCE) / (ceiling - CHANCE) if ceiling > CHANCE else float("nan")


def bradley_terry_loss(gap_P: np.ndarray) -> float:
    """Returns the mean of -log sigmoid(gap) in nats, without margin or smoothing; it is log 2 = 0.693 at chance.

    Source: Bradley & Terry (1952).

    Example:
        >>> round(bradley_terry_loss(np.array([0.0, 0.0])), 3)
        0.693
    """
    return _mean(np.logaddexp(0.0, -np.asarray(gap_P, np.float64)))


def within_group(value_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """Returns `value_N` minus the mean of its group.

    Example:
        >>> within_group(np.array([1.0, 5.0, 3.0, 7.0]), np.array([8, 2, 8, 2]))
        array([-1., -1.,  1.,  1.])
    """
    _, group_N = np.unique(group_N, return_inverse=True)
    value_N = np.asarray(value_N, np.float64)
    # Subtract the minimum first: equal values then give exact zeros, not rounding noise that would correlate.
    lowest = np.full(group_N.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, group_N, value_N)
    value_N = value_N - lowest[group_N]
    return value_N - (np.bincount(group_N, weights=value_N) / np.bincount(group_N))[group_N]


def pearson(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns Pearson's correlation, cov(x, y) / (std(x) std(y)); NaN if x or y is constant.

    Example:
        >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([5.0, 3.0, 1.0])), 6)
        -1.0
    """
    x_N, y_N = np.asarray(x_N, np.float64), np.asarray(y_N, np.float64)
    if len(x_N) < 2 or np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return float("nan")
    return float(scipy.stats.pearsonr(x_N, y_N).statistic)


def spearman(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns Spearman's rank correlation: Pearson's on ranks; equal values share the mean of their ranks.

    Example:
        >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])), 6)
        1.0
    """
    return pearson(scipy.stats.rankdata(x_N), scipy.stats.rankdata(y_N))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
