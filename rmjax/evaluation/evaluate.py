"""Comparisons and their scores -> one dictionary of metrics, ready for JSON, and its reading in plain words.

Nothing here knows a model: scores come in as arrays, or from a function that the caller gives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import STRENGTHS, Comparison
from rmjax.errors import InputError
from rmjax.evaluation import metrics

ScoreFn = Callable[[Sequence[Comparison], str], Sequence[np.ndarray]]
Metrics = dict[str, Any]

FEW_PROMPTS = 30  # below this the summary warns that a bootstrap interval is itself uncertain


def evaluate(
    score_fn: ScoreFn, comparisons: Sequence[Comparison], heads: tuple[str, ...], *, bootstrap: int, seed: int
) -> Metrics:
    """Scores `comparisons` with each head and measures each head on its own data.

    A single head takes every comparison, whatever its label; of several, the comparison's `head` picks one.

    Args:
        score_fn: (comparisons, head) -> one array of K scores per comparison, in the given order.
        comparisons: the held-out judgements.
        heads: the names of the model's heads.
        bootstrap: number of resamples for the intervals; 0 for none.
        seed: of the resampling.

    Returns:
        The metrics of the first head that has data (see `evaluate_scores`), and under `heads` those of each head by
        name, None for a head without data.

    Raises:
        InputError: there is nothing to evaluate, or a comparison belongs to no head of the model.
    """
    if not comparisons:
        raise InputError("there is no comparison to evaluate on")
    by_head: dict[str, list[Comparison]] = {head: [] for head in heads}
    for index, comparison in enumerate(comparisons):
        head = heads[0] if len(heads) == 1 else comparison.head
        if head not in by_head:
            found = "names no head" if head is None else f"names the head {head!r}"
            raise InputError(f"{_where(comparison, index)} {found}, but the model has {', '.join(heads)}")
        by_head[head].append(comparison)
    results = {
        head: evaluate_scores(chosen, score_fn(chosen, head), bootstrap=bootstrap, seed=seed) if chosen else None
        for head, chosen in by_head.items()
    }
    first = next(result for result in results.values() if result is not None)
    return {**first, "heads": results}


def evaluate_scores(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], *, bootstrap: int, seed: int
) -> Metrics:
    """What one head's scores are worth on `comparisons`.

    Pairs that the raters tied are counted and otherwise left out; every other pair weighs the same.

    Args:
        comparisons: the judgements.
        scores: for each comparison its K scores, in the order of its responses.
        bootstrap: number of resamples for the intervals; 0 for none.
        seed: of the resampling.

    Returns:
        JSON-safe values, None where undefined. Accuracies are fractions, `loss` is in nats, gaps and rewards in the
        unit of the scores; `_ci95` are [low, high] by resampling prompts.
        - accuracy, accuracy_ci95, pairs (untied), ties (tied by the raters), model_ties (untied pairs with equal
          scores), comparisons, prompts
        - length_baseline: accuracy of "the longer wins"; length_rule and length_rule_accuracy: the better of "longer"
          and "shorter"; length_gain, length_gain_ci95: accuracy less that, on the same pairs
        - length_balanced_accuracy, reward_length_correlation (Pearson), reward_length_rank_correlation (Spearman)
        - ceiling and ceiling_gain, where every comparison carries utilities
        - loss, mean_gap, calibration_error, reward_mean, reward_std
        - subsets and strengths, where the data has them: name -> accuracy, accuracy_ci95, pairs

    Raises:
        InputError: a score is not finite, or no pair is untied.
        ValueError: the scores do not fit the comparisons.
    """
    table = _pair_table(comparisons, scores)
    credit_P = metrics.pair_credit(table.gap_P)
    longer_P = metrics.pair_credit(table.length_gap_P)

    # Lengths in characters, which need no tokenizer and mean the same for every model. Both are taken relative to the
    # prompt's mean: the loss leaves a constant per prompt free, and long answers belong to some prompts, so an overall
    # correlation would measure the prompts. Within a prompt it is the preference for length that the loss did fix.
    score_N = np.concatenate(table.scores)
    length_N = np.array([len(text) for comparison in comparisons for text in comparison.responses], np.float64)
    score_within_N = metrics.within_group(score_N, table.prompt_N)
    length_within_N = metrics.within_group(length_N, table.prompt_N)

    # The stricter of the two length rules: where raters prefer the short answer, beating "the longer wins" is no feat.
    rule, rule_P = ("longer", longer_P) if longer_P.mean() >= metrics.CHANCE else ("shorter", 1.0 - longer_P)
    resampling = {"resamples": bootstrap, "seed": seed}
    accuracy = metrics.accuracy(table.gap_P)
    ceiling = math.nan if table.utility_gap_P is None else metrics.bayes_accuracy(table.utility_gap_P)

    def part(mask_P: np.ndarray) -> Metrics:
        return {
            "accuracy": metrics.accuracy(table.gap_P[mask_P]),
            "accuracy_ci95": metrics.bootstrap_interval(credit_P[mask_P], table.prompt_P[mask_P], **resampling),
            "pairs": int(mask_P.sum()),
        }

    result: Metrics = {
        **part(np.ones(len(credit_P), bool)),
        "ties": table.ties,
        "model_ties": int((table.gap_P == 0).sum()),
        "comparisons": len(comparisons),
        "prompts": len(np.unique(table.prompt_N)),
        "length_baseline": float(longer_P.mean()),
        "length_rule": rule,
        "length_rule_accuracy": float(rule_P.mean()),
        "length_gain": accuracy - float(rule_P.mean()),
        "length_gain_ci95": metrics.bootstrap_interval(credit_P - rule_P, table.prompt_P, **resampling),
        "length_balanced_accuracy": metrics.length_balanced_accuracy(table.gap_P, table.length_gap_P),
        "reward_length_correlation": metrics.pearson(score_within_N, length_within_N),
        "reward_length_rank_correlation": metrics.spearman(score_within_N, length_within_N),
        "ceiling": ceiling,
        "ceiling_gain": metrics.ceiling_gain(accuracy, ceiling),
        "loss": metrics.bradley_terry_loss(table.gap_P),
        "mean_gap": float(table.gap_P.mean()),
        "calibration_error": metrics.calibration_error(table.gap_P),
        "reward_mean": float(score_N.mean()),
        "reward_std": float(score_N.std()),
    }
    # Breakdowns keep what carries a label; pairs without one are in the totals only.
    subsets = sorted({comparison.subset for comparison in comparisons if comparison.subset is not None})
    if subsets:
        result["subsets"] = {name: part(np.array([label == name for label in table.subset_P])) for name in subsets}
    strengths = [name for name in STRENGTHS if name in table.strength_P]
    if strengths:
        result["strengths"] = {name: part(np.array([s == name for s in table.strength_P])) for name in strengths}
    return _json_safe(result)


def summary(result: Metrics) -> str:
    """The result of `evaluate` (or of `evaluate_scores`) as a table for the console, and a verdict for each head."""
    heads = {name: head for name, head in result.get("heads", {"": result}).items() if head is not None}
    rows = [("", list(heads))] if any(heads) else []
    rows.append(("accuracy", [_accuracy_cell(head) for head in heads.values()]))
    for kind in ("subsets", "strengths"):
        for name in dict.fromkeys(name for head in heads.values() for name in head.get(kind, {})):
            cells = [head.get(kind, {}).get(name) for head in heads.values()]
            rows.append((f"  {name}", ["-" if cell is None else _accuracy_cell(cell) for cell in cells]))
    rows += [(label, [show(head) for head in heads.values()]) for label, show in _ROWS]
    rows = [row for row in rows if any(cell != "-" for cell in row[1])]
    widths = [max(len(row[1][column]) for row in rows) for column in range(len(heads))]
    label_width = max(len(label) for label, _ in rows)
    lines = [
        "  ".join([label.ljust(label_width), *(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))])
        for label, cells in rows
    ]
    verdicts = [f"{name}: {_verdict(head)}" if name else _verdict(head) for name, head in heads.items()]
    without = [f"{name}: no data." for name, head in result.get("heads", {}).items() if head is None]
    return "\n".join([*(line.rstrip() for line in lines), "", *verdicts, *without])


def _verdict(head: Metrics) -> str:
    rule = f"judging by length alone (the {head['length_rule']} wins)"
    gain = f"{100 * head['length_gain']:+.1f} points"
    if head["length_gain_ci95"] is None:
        text = f"{gain} against {rule}, without an interval, so chance cannot be excluded."
    else:
        low, high = head["length_gain_ci95"]
        word = "Better than" if low > 0 else "Worse than" if high < 0 else "Not distinguishable from"
        text = f"{word} {rule}: {gain}, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}."
        if head["prompts"] < FEW_PROMPTS:
            text += f" With only {head['prompts']} prompts the interval itself is rough."
    interval, ceiling = head["accuracy_ci95"], head["ceiling"]
    if interval is not None and ceiling is not None and interval[0] > ceiling:
        text += " The accuracy lies above the ceiling: look for a leak."
    return text


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _accuracy_cell(part: Metrics) -> str:
    if part["accuracy"] is None:
        return "no untied pair"
    interval = part["accuracy_ci95"]
    bounds = "" if interval is None else f", 95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    return f"{_percent(part['accuracy'])} ({part['pairs']} pairs{bounds})"


_ROWS: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
    ("length-only baseline (longer wins)", lambda head: _percent(head["length_baseline"])),
    ("length-balanced accuracy", lambda head: _percent(head["length_balanced_accuracy"])),
    ("ceiling", lambda head: _percent(head["ceiling"])),
    ("share of the ceiling's gain", lambda head: _percent(head["ceiling_gain"])),
    ("loss (chance 0.693)", lambda head: _number(head["loss"])),
    ("mean gap, winner minus loser", lambda head: _number(head["mean_gap"])),
    ("calibration error", lambda head: _percent(head["calibration_error"])),
    ("reward-length correlation", lambda head: _number(head["reward_length_correlation"])),
    ("reward, mean and std", lambda head: f"{head['reward_mean']:.3f}, {head['reward_std']:.3f}"),
    ("prompts", lambda head: str(head["prompts"])),
    ("pairs tied by the raters", lambda head: str(head["ties"] or "-")),
    ("pairs tied by the model", lambda head: _percent(head["model_ties"] / head["pairs"] or None)),
)


@dataclasses.dataclass(frozen=True)
class _PairTable:
    """All untied pairs of many comparisons, flat, and the responses that they came from."""

    scores: list[np.ndarray]
    prompt_N: np.ndarray
    gap_P: np.ndarray
    length_gap_P: np.ndarray
    utility_gap_P: np.ndarray | None
    prompt_P: np.ndarray
    subset_P: list[str | None]
    strength_P: list[str | None]
    ties: int


def _pair_table(comparisons: Sequence[Comparison], scores: Sequence[np.ndarray]) -> _PairTable:
    scores = _checked_scores(comparisons, scores)
    numbers: dict[Any, int] = {}
    prompts = [numbers.setdefault(comparison.prompt, len(numbers)) for comparison in comparisons]
    has_utilities = all(comparison.utilities is not None for comparison in comparisons)
    rows, subset_P, strength_P, ties = [], [], [], 0
    for comparison, score_K, prompt in zip(comparisons, scores, prompts, strict=True):
        utility_K = comparison.utilities if has_utilities else score_K
        strengths = comparison.strengths or (None,) * len(comparison.pairs)
        for (winner, loser, tied), strength in zip(comparison.pairs, strengths, strict=True):
            if tied:
                ties += 1
                continue
            length_gap = len(comparison.responses[winner]) - len(comparison.responses[loser])
            rows.append((score_K[winner] - score_K[loser], length_gap, utility_K[winner] - utility_K[loser], prompt))
            subset_P.append(comparison.subset)
            strength_P.append(strength)
    if not rows:
        raise InputError(f"accuracy needs a pair with a winner, but all {ties} pairs of the comparisons are ties")
    gap_P, length_gap_P, utility_gap_P, prompt_P = np.array(rows, np.float64).T
    return _PairTable(
        scores=scores,
        prompt_N=np.repeat(prompts, [len(score_K) for score_K in scores]),
        gap_P=gap_P,
        length_gap_P=length_gap_P,
        utility_gap_P=utility_gap_P if has_utilities else None,
        prompt_P=prompt_P.astype(int),
        subset_P=subset_P,
        strength_P=strength_P,
        ties=ties,
    )


def _checked_scores(comparisons: Sequence[Comparison], scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    if len(scores) != len(comparisons):
        raise ValueError(f"found scores for {len(scores)} of {len(comparisons)} comparisons")
    checked = [np.asarray(score_K, np.float64) for score_K in scores]
    bad, first = 0, None
    for index, (comparison, score_K) in enumerate(zip(comparisons, checked, strict=True)):
        where = _where(comparison, index)
        if score_K.shape != (len(comparison.responses),):
            raise ValueError(f"{where} has {len(comparison.responses)} responses, but scores of shape {score_K.shape}")
        count = int((~np.isfinite(score_K)).sum())
        bad += count
        first = first or (where if count else None)
    if bad:
        raise InputError(f"{bad} of {sum(map(len, checked))} scores are not finite; the first is in {first}")
    return checked


def _where(comparison: Comparison, index: int) -> str:
    return f"the comparison at {comparison.origin}" if comparison.origin else f"comparison number {index + 1}"


def _json_safe(value: Any) -> Any:
    """NaN becomes None, and an interval with a NaN is None as a whole."""
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return None if any(math.isnan(item) for item in value) else list(value)
    return None if isinstance(value, float) and math.isnan(value) else value
