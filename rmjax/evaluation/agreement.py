"""Agreement between the heads of one model on the same responses; it needs no labels."""

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
    """Returns the agreement of every two heads on all comparisons, for any label of a comparison.

    Args:
        scores: for each comparison its scores `[K, Z]`.
        heads: the names of the heads.
        pairs: the pairs of the same comparisons; only their prompts are used.
        resampling: settings of the interval.

    Returns:
        head -> a later head ->
        - order_alike, order_alike_ci95: the share of pairs of responses to a prompt that both heads order alike, over
          all pairs, including those that the raters tied. A pair counts 1 if both heads tie it, 1/2 if only one does.
        - pearson, spearman: correlation of the scores minus the mean of their prompt, because the training loss does
          not fix the level of a head per prompt
        - pairs: number of pairs of responses

    Example:
        >>> from rmjax.data.comparisons import Comparison, Message
        >>> from rmjax.evaluation.pairs import pair_arrays
        >>> pairs = pair_arrays([Comparison((Message("user", "Hi"),), ("a", "b", "c"), (1, 2, 3))])
        >>> score_KxZ = np.array([[3.0, 2.0], [2.0, 3.0], [1.0, 1.0]])
        >>> result = agreement([score_KxZ], ["helpful", "safety"], pairs, Bootstrap(resamples=0, seed=0))
        >>> round(result["helpful"]["safety"]["order_alike"], 4)  # the order of a and b differs
        0.6667
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
