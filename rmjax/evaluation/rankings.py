"""Rankings of K responses as a whole: does the model order them as the raters did, and does it find the best?

Pairwise accuracy lets a comparison of K count K(K-1)/2 times; here every comparison counts once. A comparison whose
responses the raters all tied has no order to find and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.evaluation.bootstrap import Bootstrap

LEAST = 3  # responses of a ranking; of two, both measures are the pairwise accuracy again


def kendall_tau_b(score_K: np.ndarray, rank_K: np.ndarray) -> float:
    """Kendall's tau-b between scores and ranks (1 is best): 1 is the raters' order, -1 its reverse.

    Σ s_ij q_ij / sqrt(Σ s_ij² · Σ q_ij²) over the pairs i < j, with s_ij the sign of score_i - score_j and q_ij that of
    rank_j - rank_i: pairs tied on one side add nothing above, and shrink what can be reached below. Scores that are all
    equal order nothing and get 0, what a coin would get on average; ranks that are all equal give NaN.

    Source: Kendall (1945), section 4.
    """
    above = np.triu_indices(len(score_K), 1)
    order_P = np.sign(np.subtract.outer(score_K, score_K)[above])
    truth_P = -np.sign(np.subtract.outer(rank_K, rank_K)[above])
    if not truth_P.any():
        return float("nan")
    if not order_P.any():
        return 0.0
    return float(order_P @ truth_P / np.sqrt((order_P @ order_P) * (truth_P @ truth_P)))


def top1(score_K: np.ndarray, rank_K: np.ndarray) -> float:
    """1 if the response scored highest is one that the raters ranked first, else 0; the mean over equal scores."""
    return float(np.mean(_first(rank_K)[np.asarray(score_K) == np.max(score_K)]))


def top1_guessing(rank_K: np.ndarray) -> float:
    """What picking a response at random gets of `top1`: the share of responses ranked first."""
    return float(np.mean(_first(rank_K)))


def rankings(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], prompt_B: np.ndarray, resampling: Bootstrap
) -> dict[str, Any] | None:
    """One head's measures of whole rankings; None where no comparison has K >= 3 responses and an order.

    Args:
        comparisons: the judgements.
        scores: for each comparison its K scores.
        prompt_B: the prompt of each comparison, as a whole number.
        resampling: how intervals are made.

    Returns:
        `kendall_tau_b`, `kendall_tau_b_ci95`, `top1`, `top1_ci95`, `top1_guessing`, `comparisons`, all of K >= 3; and
        the last four over every K with an order, under `any_k`.
    """
    ordered = [i for i, comparison in enumerate(comparisons) if len(set(comparison.ranks)) > 1]
    longer = [i for i in ordered if len(comparisons[i].responses) >= LEAST]
    if not longer:
        return None

    def best(chosen: Sequence[int]) -> dict[str, Any]:
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
        # Equal up to rounding is equal: the bootstrap counts how often each value occurs.
        "kendall_tau_b_ci95": resampling.interval(tau.round(12), prompt_B[longer]),
        **best(longer),
        "any_k": best(ordered),
    }


def _first(rank_K: np.ndarray) -> np.ndarray:
    return np.asarray(rank_K) == np.min(rank_K)
