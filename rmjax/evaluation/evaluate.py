"""All metrics of scores on comparisons, as one dictionary for JSON.

Scores are arrays, so nothing here depends on a model. `summary.py` prints the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison
from rmjax.errors import InputError
from rmjax.evaluation import metrics
from rmjax.evaluation.agreement import agreement
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.breakdowns import accuracy_with_interval, breakdowns, head_by_label
from rmjax.evaluation.calibration import calibration, calibration_error
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.pairs import Pairs, head_columns, head_gaps, pair_arrays, validate_scores
from rmjax.evaluation.rankings import rankings
from rmjax.evaluation.temperature import LogOdds, Temperature, as_log_odds
from rmjax.evaluation.unsafe import unsafe_responses


def evaluate_heads(
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    heads: tuple[str, ...],
    *,
    bootstrap: int,
    seed: int,
    temperatures: Mapping[str, Temperature] | None = None,
    link: LogOdds | None = as_log_odds,
) -> Metrics:
    """Returns the metrics of each head on its own comparisons, and of every head on all labels.

    A single head judges every comparison, for any label; with several heads, the comparison's `head` selects one.

    Args:
        comparisons: the held-out judgements.
        scores: for each comparison its scores `[K, Z]` under every head, in the order of its responses.
        heads: the names of the model's heads.
        bootstrap: number of resamples for the intervals; 0 for none.
        seed: seed of the resampling.
        temperatures: of heads, fitted on other data (`fit_temperatures`); the calibration is also measured at them.
        link: the log odds of differences of two scores; by default the differences themselves. None if the differences
            give no probabilities, as with a gate: `loss` and `calibration_error` are then None, `calibration` is empty.

    Returns:
        The metrics of the first head that has data (see `evaluate_scores`), and
        - heads: the metrics of each head by name, None for a head without data;
        - calibration: head -> reliability and errors, also at its temperature (see `calibration.calibration`);
        - matrix, if the comparisons have more than one label: head -> label -> accuracy, accuracy_ci95, pairs, prompts
          (see `head_by_label`); and labels, the same by label alone, for the head that judges the label;
        - agreement, if the model has several heads: head -> head -> see `agreement`.

    Raises:
        InputError: there is nothing to evaluate, a comparison belongs to no head, or a score is not finite.
        ValueError: the scores do not fit the comparisons.
    """
    column_B = head_columns(comparisons, heads)
    scores = validate_scores(comparisons, scores, heads)
    results: dict[str, Metrics | None] = {}
    for z, head in enumerate(heads):
        mine = np.flatnonzero(column_B == z).tolist()
        own = [comparisons[i] for i in mine], [scores[i][:, z] for i in mine]
        results[head] = evaluate_scores(*own, bootstrap=bootstrap, seed=seed, link=link) if mine else None
    first = next(result for result in results.values() if result is not None)
    odds: dict[str, np.ndarray] = {}
    if link is not None:
        gaps = head_gaps(comparisons, scores, heads)
        odds = {head: link(gap_P) for head, gap_P in gaps.items() if results[head]}
    result: Metrics = {
        **first,
        "heads": results,
        "calibration": {head: calibration(gap_P, (temperatures or {}).get(head)) for head, gap_P in odds.items()},
    }
    pairs, resampling = pair_arrays(comparisons), Bootstrap(bootstrap, seed)
    if len({comparison.head for comparison in comparisons} - {None}) > 1:
        matrix = head_by_label(comparisons, pairs, np.concatenate(scores), heads, resampling)
        result["matrix"] = matrix
        result["labels"] = {label: matrix[label if label in heads else heads[0]][label] for label in matrix[heads[0]]}
    if len(heads) > 1:
        result["agreement"] = agreement(scores, heads, pairs, resampling)
    return json_safe(result)


def evaluate_scores(
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    *,
    bootstrap: int,
    seed: int,
    link: LogOdds | None = as_log_odds,
) -> Metrics:
    """Returns the metrics of one head's scores on `comparisons`.

    Pairs that the raters tied are counted and otherwise left out; all other pairs have the same weight.

    Args:
        comparisons: the judgements.
        scores: for each comparison its K scores, in the order of its responses.
        bootstrap: number of resamples for the intervals; 0 for none.
        seed: seed of the resampling.
        link: see `evaluate_heads`.

    Returns:
        JSON-safe values, None if undefined. Accuracies are fractions, `loss` is in nats, gaps and rewards are in the
        unit of the scores; `_ci95` are [low, high] from resampling prompts. For an accuracy on fewer than 30 prompts,
        or of exactly 0 or 1, they are from `bootstrap.wilson_interval`.
        - accuracy, accuracy_ci95, pairs (untied), ties (tied by the raters), model_ties (untied pairs with equal
          scores), comparisons, prompts
        - accuracy_with_ties: over all pairs, with half a win for a tied pair (see `metrics.accuracy_with_ties`)
        - length_baseline: accuracy of "the longer wins"; length_rule and length_rule_accuracy: the better of "longer"
          and "shorter"; length_gain, length_gain_ci95: accuracy minus length_rule_accuracy, on the same pairs
        - length_balanced_accuracy, reward_length_correlation (Pearson), reward_length_rank_correlation (Spearman)
        - ceiling and ceiling_gain, if every comparison has utilities
        - loss, mean_gap, calibration_error, reward_mean, reward_std
        - rankings: Kendall's tau-b and top-1, None if no comparison has K >= 3 (see `rankings.rankings`)
        - unsafe: detection of unsafe responses, None if the data do not label them (see `unsafe.unsafe_responses`)
        - subsets, strengths, turns, length_differences: name -> accuracy, accuracy_ci95, pairs, prompts (see
          `breakdowns`)

    Raises:
        InputError: a score is not finite, or no pair is untied.
        ValueError: the scores do not fit the comparisons.
    """
    scores = validate_scores(comparisons, scores, None)
    score_N = np.concatenate(scores)
    pairs = pair_arrays(comparisons)
    if not len(pairs.winner_P):
        raise InputError(f"accuracy needs a pair with a winner, but all {pairs.ties} pairs of the comparisons are ties")
    gap_P = pairs.gap(score_N)
    credit_P = metrics.pair_credit(gap_P)
    length_gap_P = pairs.gap(pairs.length_N)
    longer_P = metrics.pair_credit(length_gap_P)

    # The loss does not fix a constant per prompt, and some prompts have long answers: a correlation over all responses
    # would measure the prompts. Within a prompt it measures a preference for length.
    score_within_N = metrics.within_group(score_N, pairs.prompt_N)
    length_within_N = metrics.within_group(pairs.length_N, pairs.prompt_N)

    # The stricter of the two length rules: if raters prefer short answers, "the longer wins" is easy to beat.
    rule, rule_P = ("longer", longer_P) if longer_P.mean() >= metrics.CHANCE else ("shorter", 1.0 - longer_P)
    resampling = Bootstrap(bootstrap, seed)
    accuracy = metrics.accuracy(gap_P)
    ceiling = _ceiling(comparisons, pairs)
    result: Metrics = {
        **accuracy_with_interval(gap_P, pairs.prompt_P, resampling),
        "ties": pairs.ties,
        "accuracy_with_ties": metrics.accuracy_with_ties(gap_P, pairs.ties),
        "model_ties": int((gap_P == 0).sum()),
        "comparisons": len(comparisons),
        "prompts": len(np.unique(pairs.prompt_N)),
        "length_baseline": float(longer_P.mean()),
        "length_rule": rule,
        "length_rule_accuracy": float(rule_P.mean()),
        "length_gain": accuracy - float(rule_P.mean()),
        "length_gain_ci95": resampling.difference_interval(credit_P - rule_P, pairs.prompt_P),
        "length_balanced_accuracy": metrics.length_balanced_accuracy(gap_P, length_gap_P),
        "reward_length_correlation": metrics.pearson(score_within_N, length_within_N),
        "reward_length_rank_correlation": metrics.spearman(score_within_N, length_within_N),
        "ceiling": ceiling,
        "ceiling_gain": metrics.ceiling_gain(accuracy, ceiling),
        "loss": metrics.bradley_terry_loss(link(gap_P)) if link else None,
        "mean_gap": float(gap_P.mean()),
        "calibration_error": calibration_error(link(gap_P)) if link else None,
        "reward_mean": float(score_N.mean()),
        "reward_std": float(score_N.std()),
        "rankings": rankings(comparisons, scores, pairs.prompt_B, resampling),
        "unsafe": unsafe_responses(comparisons, score_N, pairs.prompt_N, resampling),
        **breakdowns(comparisons, pairs, gap_P, resampling),
    }
    return json_safe(result)


def _ceiling(comparisons: Sequence[Comparison], pairs: Pairs) -> float:
    utilities = [comparison.utilities for comparison in comparisons if comparison.utilities is not None]
    if len(utilities) < len(comparisons):
        return math.nan
    return metrics.bayes_accuracy(pairs.gap(np.concatenate(utilities)))


def json_safe(value: Any) -> Any:
    """Returns the value without NaN, which JSON does not have: None for NaN and for an interval with a NaN.

    Example:
        >>> json_safe({"accuracy": float("nan"), "accuracy_ci95": (0.25, 0.75)})
        {'accuracy': None, 'accuracy_ci95': [0.25, 0.75]}
    """
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_safe(item) for item in value]
    if isinstance(value, tuple):
        return None if any(math.isnan(item) for item in value) else list(value)
    return None if isinstance(value, float) and math.isnan(value) else value
