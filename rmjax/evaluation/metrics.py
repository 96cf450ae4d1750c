"""The numbers of an evaluation, as pure functions of float64 arrays.

`gap_P` is always a difference turned so that the judged winner stands first, one entry for each of the P untied pairs:
a score gap for the model, a length gap for the length-only baseline, a utility gap for the ceiling. `prompt_P` and
`group_N` are whole numbers that name a prompt. What is undefined (no pair, no spread) is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Metrics = dict[str, Any]

CHANCE = 0.5


def pair_credit(gap_P: np.ndarray) -> np.ndarray:
    """1 where the winner has the higher value, 0 where it has the lower, 1/2 where the two are equal.

    Half is what a coin would earn on average on the pairs that the values leave undecided. Without it a model that
    gives every response the same score would be at 0 or at 1, depending on how `>` was written.
    """
    return (1.0 + np.sign(np.asarray(gap_P, np.float64))) / 2.0


def accuracy(gap_P: np.ndarray) -> float:
    """Pairwise accuracy: mean of `pair_credit`. Every pair weighs the same, so a comparison of K counts K(K-1)/2 times.

    With the gap in characters between winner and loser it is the length-only baseline "the longer wins".
    """
    return _mean(pair_credit(gap_P))


def accuracy_with_ties(gap_P: np.ndarray, ties: int) -> float:
    """Accuracy over all pairs, a pair that the raters tied being half a win: (Σ credit + ties / 2) / (P + ties).

    What the model prefers in a tied pair is right half the time, had the raters been made to choose at random.

    Source: a draw as half a win, Elo, The Rating of Chessplayers (1978).
    """
    total = len(gap_P) + ties
    return float((pair_credit(gap_P).sum() + ties / 2) / total) if total else float("nan")


def length_balanced_accuracy(gap_P: np.ndarray, length_gap_P: np.ndarray) -> float:
    """Mean of the accuracy where the winner is longer and the accuracy where it is shorter; equal lengths play no part.

    A score that only follows length gets 1 on one side and 0 on the other: 1/2 here, whatever the baseline is.
    """
    gap_P, length_gap_P = np.asarray(gap_P), np.asarray(length_gap_P)
    return (accuracy(gap_P[length_gap_P > 0]) + accuracy(gap_P[length_gap_P < 0])) / 2.0


def bayes_accuracy(utility_gap_P: np.ndarray) -> float:
    """The ceiling: mean of max(p, 1 - p) with p = sigmoid(u_winner - u_loser).

    The labels were drawn with probability p, so this is what knowing the utilities exactly would earn on average.
    On the labels that happened to be drawn a model can land above it by chance.
    """
    return _mean(sigmoid(np.abs(np.asarray(utility_gap_P, np.float64))))


def ceiling_gain(accuracy: float, ceiling: float) -> float:
    """Share of what can be learnt that was learnt: (accuracy - 1/2) / (ceiling - 1/2). NaN where nothing can be."""
    return (accuracy - CHANCE) / (ceiling - CHANCE) if ceiling > CHANCE else float("nan")


def bradley_terry_loss(gap_P: np.ndarray) -> float:
    """Mean of -log sigmoid(gap) in nats, without margin or smoothing; log 2 = 0.693 is a model that knows nothing.

    Source: Bradley & Terry (1952).
    """
    return _mean(np.logaddexp(0.0, -np.asarray(gap_P, np.float64)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow: the chance that a gap of `x` nats gives the winner."""
    return np.exp(-np.logaddexp(0.0, -x))


def within_group(value_N: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    """value_N less the mean of its group."""
    _, group_N = np.unique(group_N, return_inverse=True)
    value_N = np.asarray(value_N, np.float64)
    # Less the minimum first: equal values then leave exact zeros, not rounding noise that would correlate.
    lowest = np.full(group_N.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, group_N, value_N)
    value_N = value_N - lowest[group_N]
    return value_N - (np.bincount(group_N, weights=value_N) / np.bincount(group_N))[group_N]


def pearson(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Pearson's correlation, cov(x, y) / (std(x) std(y)); NaN if either has no spread."""
    x_N, y_N = np.asarray(x_N, np.float64), np.asarray(y_N, np.float64)
    if len(x_N) < 2 or np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return float("nan")
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    x_N, y_N = x_N / np.abs(x_N).max(), y_N / np.abs(y_N).max()  # squares of tiny or huge values stay in range
    return float(np.clip(x_N @ y_N / np.sqrt((x_N @ x_N) * (y_N @ y_N)), -1.0, 1.0))


def spearman(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Spearman's rank correlation: Pearson's on ranks, equal values sharing the mean of their ranks."""
    return pearson(mean_ranks(x_N), mean_ranks(y_N))


def mean_ranks(value_N: np.ndarray) -> np.ndarray:
    """Ranks from 1, lowest first; equal values share the mean of theirs."""
    _, inverse_N, counts = np.unique(value_N, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[inverse_N]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
