"""Is one checkpoint better than another? Both are judged on the same pairs, so what they have in common cancels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from rmjax.data.comparisons import Comparison
from rmjax.evaluation import metrics
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.pairs import pair_arrays


def compare(
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    other_scores: Sequence[np.ndarray],
    resampling: Bootstrap,
) -> dict[str, Any]:
    """One model against another on the same comparisons.

    Args:
        comparisons: the judgements.
        scores: for each comparison the K scores of the one model.
        other_scores: those of the other.
        resampling: how the interval is made.

    Returns:
        - accuracy and other_accuracy, on `pairs` untied pairs
        - difference: accuracy less other_accuracy; difference_ci95 by resampling prompts, each with the difference of
          all its pairs, so that the interval is one of the paired difference
        - agree: the share of pairs on which both are right, both wrong or both undecided
        - better and worse: on how many pairs the model is right and the other is not, and the reverse; a model that
          scores both responses alike stands between right and wrong
        - mcnemar_p: see `mcnemar`. It takes the pairs for independent draws, which pairs of one prompt, and all the
          more those of one ranking, are not: it comes out too small there. The interval makes no such assumption.

        All of them under `labels` once more for each label (`Comparison.head`) where the data have several.
    """
    pairs = pair_arrays(comparisons)
    credits = [metrics.pair_credit(pairs.gap(np.concatenate(values))) for values in (scores, other_scores)]
    label_P = np.array([comparison.head for comparison in comparisons], object)[pairs.comparison_P]

    def measured(mask: np.ndarray) -> dict[str, Any]:
        one_P, other_P = (credit_P[mask] for credit_P in credits)
        better, worse = int((one_P > other_P).sum()), int((one_P < other_P).sum())
        return {
            "accuracy": float(one_P.mean()),
            "other_accuracy": float(other_P.mean()),
            "difference": float((one_P - other_P).mean()),
            "difference_ci95": resampling.interval(one_P - other_P, pairs.prompt_P[mask]),
            "pairs": len(one_P),
            "agree": 1.0 - (better + worse) / len(one_P),
            "better": better,
            "worse": worse,
            "mcnemar_p": mcnemar(better, worse),
        }

    result = measured(np.ones(len(label_P), bool))
    labels = sorted({label for label in label_P if label is not None})
    if len(labels) > 1:
        result["labels"] = {label: measured(label_P == label) for label in labels}
    return result


def mcnemar(better: int, worse: int) -> float:
    """McNemar's exact test: the chance of a split at least as uneven among the discordant pairs if neither is better.

    min(1, 2 Σ_{k <= m} C(n, k) / 2^n) with n = better + worse and m the smaller of the two; 1 without discordant pairs.
    Assumes that each discordant pair is a coin tossed by itself.

    Source: McNemar (1947); the exact, binomial form, Edwards (1948).
    """
    return float(scipy.stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
