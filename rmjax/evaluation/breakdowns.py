"""Accuracy on subsets of the pairs: by label of the data, number of turns, difference in length, and head.

Every entry is `{"accuracy", "accuracy_ci95", "pairs", "prompts"}`, with NaN for undefined values. A pair without a
label counts in the total only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmjax.data.comparisons import STRENGTHS, Comparison
from rmjax.evaluation import metrics
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.pairs import Pairs

TURNS = ("1", "2", "3", "4+")
LENGTH_BINS = 5


def accuracy_with_interval(gap_P: np.ndarray, prompt_P: np.ndarray, resampling: Bootstrap) -> Metrics:
    """Returns the accuracy on the given pairs, its interval, and the number of pairs and of prompts.

    Example:
        >>> accuracy_with_interval(np.array([1.0, -1.0]), np.array([0, 0]), Bootstrap(resamples=0, seed=0))
        {'accuracy': 0.5, 'accuracy_ci95': (nan, nan), 'pairs': 2, 'prompts': 1}
    """
    return {
        "accuracy": metrics.accuracy(gap_P),
        "accuracy_ci95": resampling.accuracy_interval(metrics.pair_credit(gap_P), prompt_P),
        "pairs": len(gap_P),
        "prompts": len(np.unique(prompt_P)),
    }


def breakdowns(
    comparisons: Sequence[Comparison], pairs: Pairs, gap_P: np.ndarray, resampling: Bootstrap
) -> dict[str, Metrics]:
    """Returns one head's accuracy on subsets of its pairs.

    Args:
        comparisons: the judgements.
        pairs: the pairs of the comparisons.
        gap_P: the gap of the head's scores in each pair.
        resampling: settings of the intervals.

    Returns:
        Name -> `accuracy_with_interval`, under
        - subsets and strengths, if the data have them;
        - turns: by the number of user turns of the prompt, "1" to "4+";
        - length_differences: by the length of the winner minus that of the loser, "LOW to HIGH" in characters, both
          ends included.
    """

    def by(label_P: np.ndarray, names: Sequence[str]) -> Metrics:
        masks = {name: label_P == name for name in names}
        return {
            name: accuracy_with_interval(gap_P[mask], pairs.prompt_P[mask], resampling) for name, mask in masks.items()
        }

    subset_B = np.array([comparison.subset for comparison in comparisons], object)
    subsets = sorted({subset for subset in subset_B if subset is not None})
    strengths = [name for name in STRENGTHS if name in pairs.strength_P]
    turns_P = np.array([turns(comparison) for comparison in comparisons], object)[pairs.comparison_P]
    length_gap_P = pairs.gap(pairs.length_N)
    length_P = length_bins(length_gap_P)
    lengths = list(dict.fromkeys(length_P[np.argsort(length_gap_P, kind="stable")]))
    result = {
        "subsets": by(subset_B[pairs.comparison_P], subsets),
        "strengths": by(pairs.strength_P, strengths),
        "turns": by(turns_P, [name for name in TURNS if name in turns_P]),
        "length_differences": by(length_P, lengths),
    }
    return {name: parts for name, parts in result.items() if parts}


def turns(comparison: Comparison) -> str:
    """Returns the number of user turns of the prompt, as one of `TURNS`.

    Example:
        >>> from rmjax.data.comparisons import Message
        >>> turns(Comparison((Message("user", "Hi"),), ("a", "b"), (1, 2)))
        '1'
    """
    count = sum(message.role == "user" for message in comparison.prompt)
    return TURNS[min(count, len(TURNS)) - 1]


def length_bins(length_gap_P: np.ndarray) -> np.ndarray:
    """Returns the bin of each pair, as "LOW to HIGH" in characters; five bins have about equally many pairs.

    The edges are quantiles of the data, not fixed numbers: a difference of 50 characters is large among answers of one
    sentence and small among essays, and equally many pairs give accuracies with similar errors. The edges do not depend
    on the scores, so any two models on the same data have the same bins. Pairs of equal difference share a bin; if many
    are equal there are fewer bins. LOW and HIGH are the smallest and the largest difference in the bin.

    Example:
        >>> length_bins(np.array([30.0, -5.0, 30.0])).tolist()
        ['+30 to +30', '-5 to -5', '+30 to +30']
    """
    if len(length_gap_P) == 0:
        return np.array([], object)
    inner = np.arange(1, LENGTH_BINS) / LENGTH_BINS
    edges = np.unique(np.quantile(length_gap_P, inner, method="inverted_cdf"))
    bin_P = np.searchsorted(edges, length_gap_P, side="left")  # an edge is the highest value of its bin
    members = {bin: length_gap_P[bin_P == bin] for bin in np.unique(bin_P)}
    names = {bin: f"{values.min():+.0f} to {values.max():+.0f}" for bin, values in members.items()}
    return np.array([names[bin] for bin in bin_P], object)


def head_by_label(
    comparisons: Sequence[Comparison],
    pairs: Pairs,
    scores_NxZ: np.ndarray,
    heads: Sequence[str],
    resampling: Bootstrap,
) -> dict[str, dict[str, Metrics]]:
    """Returns the accuracy of every head on the pairs of every label: head -> label -> `accuracy_with_interval`.

    It shows if one reward could serve two purposes: each head also judges the comparisons of the other labels.

    Args:
        comparisons: the judgements; the label of each is `Comparison.head`, those without one are left out.
        pairs: the pairs of the comparisons.
        scores_NxZ: the scores of all responses under every head.
        heads: the names of the heads. Labels are in this order; labels without a head follow, by name.
        resampling: settings of the intervals.
    """
    label_B = np.array([comparison.head for comparison in comparisons], object)
    found = {label for label in label_B if label is not None}
    labels = [head for head in heads if head in found] + sorted(found - set(heads))
    gap_PxZ = pairs.gap(scores_NxZ)
    masks = {label: label_B[pairs.comparison_P] == label for label in labels}
    return {
        head: {
            label: accuracy_with_interval(gap_PxZ[mask, z], pairs.prompt_P[mask], resampling)
            for label, mask in masks.items()
        }
        for z, head in enumerate(heads)
    }
