"""Evaluation of a gate: accuracy of its one score against chance and against each head on its own judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.breakdowns import accuracy_with_interval
from rmjax.evaluation.compare import compare
from rmjax.evaluation.metrics import CHANCE, Metrics
from rmjax.evaluation.pairs import head_scores, pair_arrays
from rmjax.evaluation.text_table import comparison_word, interval_text, percent, points

# Number of comparisons of one kind. The two thresholds are chosen by agreement with the judgements. With fewer
# comparisons its standard error is above 3.5 points (√(0.25 / 200)), more than a gate can gain.
FEW_TO_FIT = 200


def evaluate_gate(
    gate_heads: tuple[str, str],
    comparisons: Sequence[Comparison],
    gate_scores: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    heads: Sequence[str],
    resampling: Bootstrap,
    fitted: Mapping[str, int],
) -> Metrics:
    """Returns the metrics of the gate's one score on judgements of both kinds, and a verdict on its use.

    Args:
        gate_heads: the head for helpfulness and the head for safety that the gate combines.
        comparisons: the judgements; the label of each (`Comparison.head`) is a head of the model.
        gate_scores: for each comparison its K scores by the gate.
        scores: for each comparison its scores `[K, Z]` by the heads.
        heads: the names of the heads.
        resampling: settings of the intervals.
        fitted: label -> number of comparisons that the thresholds were fitted on.

    Returns:
        - accuracy, accuracy_ci95, pairs, prompts; the same for every label under `labels`
        - against_heads: `compare.compare` of the gate with the head that the label of each comparison names:
          `other_accuracy` is the accuracy of routing by the labels of the data, under `labels` that of each head alone
        - fitted_comparisons: `fitted`
        - verdict: see `gate_verdict`

    Raises:
        InputError: a comparison belongs to no head of the model.
        ValueError: the scores do not fit the comparisons.
    """
    pairs = pair_arrays(comparisons)
    gap_P = pairs.gap(np.concatenate(gate_scores))
    label_P = np.array([comparison.head for comparison in comparisons], object)[pairs.comparison_P]
    labels = [head for head in gate_heads if head in label_P]
    masks = {label: label_P == label for label in labels}
    against = compare(comparisons, gate_scores, head_scores(comparisons, scores, heads), resampling)
    result = {
        **accuracy_with_interval(gap_P, pairs.prompt_P, resampling),
        "labels": {
            label: accuracy_with_interval(gap_P[mask], pairs.prompt_P[mask], resampling)
            for label, mask in masks.items()
        },
        "against_heads": against,
        "fitted_comparisons": dict(fitted),
    }
    return {**result, "verdict": gate_verdict(result)}


def gate_verdict(result: Metrics) -> str:
    """Returns the verdict on a gate in words: for each kind of judgement, on routing by label, and on its fit."""
    against = result["against_heads"]
    sentences, bad, worse = [], False, False
    for label, measured in result["labels"].items():
        # `compare` has no `labels` if there is only one.
        alone = against.get("labels", {}).get(label, against)
        by_chance = comparison_word(measured["accuracy_ci95"], CHANCE)
        by_head = comparison_word(alone["difference_ci95"])
        bad |= by_chance != "better than" and not np.isnan(measured["accuracy_ci95"][0])
        worse |= by_head == "worse than"
        sentences.append(
            f"On {label} the gate is {by_chance} chance ({percent(measured['accuracy'])}"
            f"{interval_text(measured['accuracy_ci95'], ', {}')}) and {by_head} the head {label} alone "
            f"({_difference(alone)})."
        )
    if bad:
        sentences.append("Do not use it: score each prompt with the head of its kind instead (--head of score.py).")
    elif worse:
        sentences.append(
            "If the kind of a prompt is known, score it with the head of its kind instead (--head of score.py)."
        )
    sentences.append(
        f"Routed by the label of the data, the heads have {percent(against['other_accuracy'])}, the gate "
        f"{percent(against['accuracy'])} ({_difference(against)})."
    )
    few = [f"{count} of {label}" for label, count in result["fitted_comparisons"].items() if count < FEW_TO_FIT]
    if few:
        sentences.append(f"It was fitted on few comparisons ({', '.join(few)}): its thresholds are uncertain.")
    return " ".join(sentences)


def _difference(compared: Metrics) -> str:
    return f"{points(compared['difference'])} points{interval_text(compared['difference_ci95'], ', {}', form='+.1f')}"
