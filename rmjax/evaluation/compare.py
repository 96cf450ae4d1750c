"""Paired comparison of two models on the same pairs: accuracy difference, its interval, McNemar's test."""

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
    """Returns the accuracy of one model minus that of another on the same comparisons.

    Args:
        comparisons: the judgements.
        scores: for each comparison the K scores of the first model.
        other_scores: for each comparison the K scores of the other model.
        resampling: settings of the interval.

    Returns:
        - accuracy and other_accuracy, on `pairs` untied pairs
        - difference: accuracy minus other_accuracy; difference_ci95: its paired interval. A resample of prompts takes
          the differences of all pairs of a prompt. For fewer than 30 prompts see `Bootstrap.difference_interval`.
        - agree: the share of pairs on which both are right, both wrong or both undecided
        - better and worse: the number of pairs on which the first model is right and the other is not, and the
          reverse. A model that gives both responses the same score is between right and wrong.
        - mcnemar_p: see `mcnemar`. It assumes independent pairs. The pairs of one prompt, and even more those of one
          ranking, are not independent, so it is too small there. The interval has no such assumption.
        - labels: the same for each label (`Comparison.head`), if the data have several

    Example:
        >>> from rmjax.data.comparisons import Message
        >>> comparisons = [Comparison((Message("user", prompt),), ("a", "b"), (1, 2)) for prompt in ("Hi", "Bye")]
        >>> right, wrong = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        >>> result = compare(comparisons, [right, right], [right, wrong], Bootstrap(resamples=0, seed=0))
        >>> result["difference"], result["agree"], result["better"], result["worse"]
        (0.5, 0.5, 1, 0)
    """
    pairs = pair_arrays(comparisons)
    credits = [metrics.pair_credit(pairs.gap(np.concatenate(values))) for values in (scores, other_scores)]
    label_P = np.array([comparison.head for comparison in comparisons], object)[pairs.comparison_P]

    def measure(mask: np.ndarray) -> dict[str, Any]:
        one_P, other_P = (credit_P[mask] for credit_P in credits)
        better, worse = int((one_P > other_P).sum()), int((one_P < other_P).sum())
        return {
            "accuracy": float(one_P.mean()),
            "other_accuracy": float(other_P.mean()),
            "difference": float((one_P - other_P).mean()),
            "difference_ci95": resampling.difference_interval(one_P - other_P, pairs.prompt_P[mask]),
            "pairs": len(one_P),
            "agree": 1.0 - (better + worse) / len(one_P),
            "better": better,
            "worse": worse,
            "mcnemar_p": mcnemar(better, worse),
        }

    result = measure(np.ones(len(label_P), bool))
    labels = sorted({label for label in label_P if label is not None})
    if len(labels) > 1:
        result["labels"] = {label: measure(label_P == label) for label in labels}
    return result


def mcnemar(better: int, worse: int) -> float:
    """Returns the p value of McNemar's exact test: if neither model is better, the chance of a split this uneven.

    min(1, 2 Σ_{k <= m} C(n, k) / 2^n) with n = better + worse discordant pairs and m the smaller of the two numbers; 1
    without discordant pairs. The test assumes that each discordant pair is an independent coin toss.

    Source: McNemar (1947); the exact, binomial form, Edwards (1948).

    Example:
        >>> round(mcnemar(3, 0), 6)  # 2 / 2^3
        0.25
    """
    return float(scipy.stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
