"""How far the heads of one model want the same: they score the same responses, so no raters are needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.evaluation import metrics
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.pairs import Pairs


def agreement(
    scores: Sequence[np.ndarray], heads: Sequence[str], pairs: Pairs, resampling: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Every two heads on all comparisons, whichever head these were made for.

    Args:
        scores: for each comparison its scores `[K, Z]`.
        heads: the names of the heads.
        pairs: of the same comparisons; only their prompts are used.
        resampling: how the interval is made.

    Returns:
        head -> a later head ->
        - order_alike, order_alike_ci95: the share of all pairs of responses to a prompt, also of those that the raters
          tied, that both heads order alike. Both tying a pair is alike; where only one does, it counts half.
        - pearson, spearman: correlation of the scores less their prompt's mean, since a head's level is free per prompt
        - pairs: how many pairs of responses
    """
    gaps = [
        [score_KxZ[i] - score_KxZ[j] for i, j in itertools.combinations(range(len(score_KxZ)), 2)]
        for score_KxZ in scores
    ]
    order_PxZ = np.sign(np.concatenate(gaps))
    prompt_P = np.repeat(pairs.prompt_B, [len(gap) for gap in gaps])
    within = [metrics.within_group(score_N, pairs.prompt_N) for score_N in np.concatenate(scores).T]
    result: dict[str, dict[str, Any]] = {}
    for a, b in itertools.combinations(range(len(heads)), 2):
        alike_P = 1.0 - np.abs(order_PxZ[:, a] - order_PxZ[:, b]) / 2.0
        result.setdefault(heads[a], {})[heads[b]] = {
            "order_alike": float(alike_P.mean()),
            "order_alike_ci95": resampling.interval(alike_P, prompt_P),
            "pearson": metrics.pearson(within[a], within[b]),
            "spearman": metrics.spearman(within[a], within[b]),
            "pairs": len(alike_P),
        }
    return result
