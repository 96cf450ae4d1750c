"""Rank correlation and top-1 accuracy of whole rankings of K responses.

In the pairwise accuracy a comparison of K responses counts K(K-1)/2 times; here every comparison counts once. A
comparison in which the raters tied all responses has no order and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from rmjax.data.comparisons import Comparison
from rmjax.evaluation.bootstrap import Bootstrap

LEAST = 3  # responses of a ranking; with two, both metrics equal the pairwise accuracy


def kendall_tau_b(score_K: np.ndarray, rank_K: ArrayLike) -> float:
    """Returns Kendall's tau-b between scores and ranks (1 is best): 1 is the raters' order, -1 its reverse.

    Σ s_ij q_ij / sqrt(Σ s_ij² · Σ q_ij²) over the pairs i < j, with s_ij the sign of score_i - score_j and q_ij the
    sign of rank_j - rank_i. If all scores are equal the result is 0, the expected value of a random order. If all ranks
    are equal it is NaN.

    Source: Kendall (1945), section 4.

    Example:
        >>> round(kendall_tau_b(np.array([3.0, 1.0, 2.0]), np.array([1, 2, 4])), 4)  # two pairs in order, one reversed
        0.3333
    """
    if np.ptp(rank_K) == 0:
        return float("nan")
    if np.ptp(score_K) == 0:
        return 0.0
    return float(scipy.stats.kendalltau(score_K, -np.asarray(rank_K)).statistic)


def top1(score_K: np.ndarray, rank_K: ArrayLike) -> float:
    """Returns 1 if the response with the highest score is ranked first, else 0; the mean over equal highest scores.

    Example:
        >>> top1(np.array([3.0, 3.0, 1.0]), np.array([1, 2, 3]))
        0.5
    """
    return float(np.mean(_ranked_first(rank_K)[np.asarray(score_K) == np.max(score_K)]))


def top1_guessing(rank_K: ArrayLike) -> float:
    """Returns the expected `top1` of a random choice: the share of responses that are ranked first.

    Example:
        >>> top1_guessing(np.array([1, 1, 3, 4]))
        0.5
    """
    return float(np.mean(_ranked_first(rank_K)))


def rankings(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], prompt_B: np.ndarray, resampling: Bootstrap
) -> dict[str, Any] | None:
    """Returns one head's metrics of whole rankings, or None if no comparison has K >= 3 responses and an order.

    Args:
        comparisons: the judgements.
        scores: for each comparison its K scores.
        prompt_B: the prompt of each comparison, as a whole number.
        resampling: settings of the intervals.

    Returns:
        `kendall_tau_b`, `kendall_tau_b_ci95`, `top1`, `top1_ci95`, `top1_guessing`, `comparisons`, all over K >= 3; and
        the last four over every K with an order, under `any_k`.

    Example:
        >>> from rmjax.data.comparisons import Message
        >>> comparison = Comparison((Message("user", "Hi"),), ("a", "b", "c"), (1, 2, 3))
        >>> result = rankings([comparison], [np.array([3.0, 2.0, 1.0])], np.array([0]), Bootstrap(resamples=0, seed=0))
        >>> round(result["kendall_tau_b"], 6), result["top1"], result["comparisons"]
        (1.0, 1.0, 1)
    """
    ordered = [i for i, comparison in enumerate(comparisons) if len(set(comparison.ranks)) > 1]
    longer = [i for i in ordered if len(comparisons[i].responses) >= LEAST]
    if not longer:
        return None

    def top1_metrics(chosen: Sequence[int]) -> dict[str, Any]:
        hits = np.array([top1(scores[i], comparisons[i].ranks) for i in chosen])
        return {
            "top1": float(hits.mean()),
            "top1_ci95": resampling.interval(hits, prompt_B[chosen]),
            "top1_guessing": float(np.mean([top1_guessing(comparisons[i].ranks) for i in chosen])),
            "comparisons": len(chosen),
        }

    tau = np.array([kendall_tau_b(scores[i], comparisons[i].ranks) for i in longer])
    return {
        "kendall_tau_b": float(tau.mean()),
        # Rounded, because the bootstrap counts how often each value occurs.
        "kendall_tau_b_ci95": resampling.interval(tau.round(12), prompt_B[longer]),
        **top1_metrics(longer),
        "any_k": top1_metrics(ordered),
    }


def _ranked_first(rank_K: ArrayLike) -> np.ndarray:
    return np.asarray(rank_K) == np.min(rank_K)
