"""Accuracy on parts of the pairs: by label of the data, by turn, by length; and heads against labels.

Every part is `{"accuracy", "accuracy_ci95", "pairs", "prompts"}`, with NaN where it is undefined. A pair without a
label is in the totals only.
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


def part(gap_P: np.ndarray, prompt_P: np.ndarray, resampling: Bootstrap) -> Metrics:
    """Accuracy, its interval, and the number of pairs and of prompts, of these pairs."""
    return {
        "accuracy": metrics.accuracy(gap_P),
        "accuracy_ci95": resampling.accuracy_interval(metrics.pair_credit(gap_P), prompt_P),
        "pairs": len(gap_P),
        "prompts": len(np.unique(prompt_P)),
    }


def breakdowns(
    comparisons: Sequence[Comparison], pairs: Pairs, gap_P: np.ndarray, resampling: Bootstrap
) -> dict[str, Metrics]:
    """One head's accuracy on the parts of its pairs.

    Returns:
        Name -> part, under
        - subsets and strengths, where the data have them;
        - turns: by the number of user turns of the prompt, "1" to "4+";
        - length_differences: by the winner's length less the loser's, "LOW to HIGH" in characters, both ends included.
    """

    def by(label_P: np.ndarray, names: Sequence[str]) -> Metrics:
        masks = {name: label_P == name for name in names}
        return {name: part(gap_P[mask], pairs.prompt_P[mask], resampling) for name, mask in masks.items()}

    subset_B = np.array([comparison.subset for comparison in comparisons], object)
    subsets = sorted({subset for subset in subset_B if subset is not None})
    strengths = [name for name in STRENGTHS if name in pairs.strength_P]
    turns_P = np.array([turns(comparison) for comparison in comparisons], object)[pairs.comparison_P]
    length_P = length_bins(pairs.gap(pairs.length_N))
    lengths = list(dict.fromkeys(length_P[np.argsort(pairs.gap(pairs.length_N), kind="stable")]))
    result = {
        "subsets": by(subset_B[pairs.comparison_P], subsets),
        "strengths": by(pairs.strength_P, strengths),
        "turns": by(turns_P, [name for name in TURNS if name in turns_P]),
        "length_differences": by(length_P, lengths),
    }
    return {name: parts for name, parts in result.items() if parts}


def turns(comparison: Comparison) -> str:
    """How many user turns the prompt has, as one of `TURNS`."""
    count = sum(message.role == "user" for message in comparison.prompt)
    return TURNS[min(count, len(TURNS)) - 1]


def length_bins(length_gap_P: np.ndarray) -> np.ndarray:
    """The bin of each pair among five of about equally many pairs, as "LOW to HIGH" in characters.

    The edges are quantiles of the data, not fixed numbers: a difference of 50 characters is large among answers of one
    sentence and small among essays, and equally many pairs give equally sure accuracies. They do not depend on the
    scores, so that any two models on the same data have the same bins. Pairs of equal difference share a bin; where
    many are equal there are fewer bins. LOW and HIGH are the smallest and the largest difference that occur in the bin.
    """
    if len(length_gap_P) == 0:
        return np.array([], object)
    inner = np.arange(1, LENGTH_BINS) / LENGTH_BINS
    edges = np.unique(np.quantile(length_gap_P, inner, method="inverted_cdf"))
    bin_P = np.searchsorted(edges, length_gap_P, side="left")  # an edge is the highest value of its bin
    members = {bin: length_gap_P[bin_P == bin] for bin in np.unique(bin_P)}
    names = {bin: f"{values.min():+.0f} to {values.max():+.0f}" for bin, values in members.items()}
    return np.array([names[bin] for bin in bin_P], object)


def matrix(
    comparisons: Sequence[Comparison],
    pairs: Pairs,
    scores_NxZ: np.ndarray,
    heads: Sequence[str],
    resampling: Bootstrap,
) -> dict[str, dict[str, Metrics]]:
    """Every head on the pairs of every label (`Comparison.head`): head -> label -> part.

    What a head makes of judgements that were made for another purpose: whether one reward could serve for both. Labels
    are in the order of the heads, then by name; comparisons without one play no part.
    """
    label_B = np.array([comparison.head for comparison in comparisons], object)
    found = {label for label in label_B if label is not None}
    labels = [head for head in heads if head in found] + sorted(found - set(heads))
    gap_PxZ = pairs.gap(scores_NxZ)
    masks = {label: label_B[pairs.comparison_P] == label for label in labels}
    return {
        head: {label: part(gap_PxZ[mask, z], pairs.prompt_P[mask], resampling) for label, mask in masks.items()}
        for z, head in enumerate(heads)
    }
