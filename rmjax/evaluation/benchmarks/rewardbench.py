"""Metrics of RewardBench and RewardBench 2: the published scores, with intervals, from items and their scores.

Scores are arrays, so nothing here depends on a model. Each benchmark turns its items into measurements, a value in
[0, 1] (one of them in [-1, 1]) of a column. The score of a section is a weighted sum of the means of its columns, and
the overall score is the mean of the sections.

Sources: Lambert et al., RewardBench (2403.13787); Malik et al., RewardBench 2 (2506.01937); both as computed by
github.com/allenai/reward-bench: rewardbench/utils.py, rewardbench/constants.py, scripts/run_rm.py, scripts/run_v2.py.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.evaluation.benchmarks.rewardbench_items import BEST_OF, DOMAINS, SECTIONS, SUBSETS, TIES, Item, ties_id
from rmjax.evaluation.bootstrap import FEW_PROMPTS, cluster_interval
from rmjax.evaluation.evaluate import json_safe
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.pairs import validate_arrays
from rmjax.evaluation.text_table import interval_text, percent, text_table

Weights = Mapping[str, Mapping[str, float]]  # section -> column -> weight

# math-prm counts in Reasoning as much as the six languages of code together: 984 = 6 * 164.
_PROMPTS = {**SUBSETS, "math-prm": 984}
_WEIGHTS: Weights = {
    section: {subset: _PROMPTS[subset] / sum(_PROMPTS[other] for other in subsets) for subset in subsets}
    for section, subsets in SECTIONS.items()
}
_TIES_WEIGHTS = {
    "accuracy, tied": 0.30,
    "accuracy, reference": 0.30,
    "margin": 0.20,
    "margin with reference": 0.20,
    "size of the margin": 0.01,
}
_WEIGHTS_2: Weights = {domain: _TIES_WEIGHTS if domain == TIES else {domain: 1.0} for domain in DOMAINS}


class Measurement(NamedTuple):
    """One value of a column. The values of one cluster are resampled together."""

    cluster: Hashable
    column: str
    value: float


def evaluate_rewardbench(items: Sequence[Item], scores: Sequence[np.ndarray], *, bootstrap: int, seed: int) -> Metrics:
    """Returns the score of RewardBench.

    A pair is right if the chosen response scores strictly higher. Equal scores are wrong, as in the published
    evaluation: a model that gives every response the same score gets 0 here, and 1/2 in `rmjax.evaluation.evaluate`.
    The score of a section is the mean of its subsets weighted by their published numbers of prompts, with 984 for
    math-prm instead of its 447. The overall score is the mean of the four sections. The older preference sets, in the
    paper a fifth section with half the weight, are not included.

    Args:
        items: from `read_rewardbench`.
        scores: for each item the scores of its two responses, the chosen first.
        bootstrap: number of resamples of the prompts for the intervals; 0 for none.
        seed: seed of the resampling.

    Returns:
        JSON-safe values, scores as fractions, None if undefined; `_ci95` are [low, high] from resampling prompts, None
        if a resample has no item of a subset of few prompts.
        - benchmark; baseline, the score of random numbers; items, prompts; score_ties, the number of items whose best
          rejected response has the same score as the chosen one
        - score, score_ci95
        - missing: the sections and subsets without an item. A section without all subsets has no score, and then there
          is no overall score.
        - sizes: subset -> [found, published], of subsets with a different number of items than published
        - sections: name -> score, score_ci95, items, prompts, and parts: subset -> score, items, prompts

    Raises:
        InputError: there are no items, or a score is not finite.
        ValueError: the scores do not fit the items.
    """
    checked = _validate(items, scores)
    measurements = [
        Measurement(item.prompt, item.subset, float(score_K[0] > score_K[1]))
        for item, score_K in zip(items, checked, strict=True)
    ]
    return {
        "benchmark": "RewardBench",
        "baseline": 0.5,
        **_counts(items, checked, SUBSETS),
        **_scored(measurements, _WEIGHTS, _items_per_subset(items), bootstrap, seed),
    }


def evaluate_rewardbench2(items: Sequence[Item], scores: Sequence[np.ndarray], *, bootstrap: int, seed: int) -> Metrics:
    """Returns the score of RewardBench 2: the unweighted mean of its six domains.

    In five domains a prompt counts 1 if its chosen response scores higher than the three rejected ones, 1/n if it
    shares the highest score with n - 1 of them, else 0: the mean for a random choice among the highest.

    Ties has questions with one good answer (`ref:N`) and with several (`tied:N`). The gap of a prompt is the score of
    its worst good answer minus that of its best bad one. The range of a tied prompt is the score of its best good
    answer minus that of its worst good one. The score of the domain is the sum of

        0.30 mean(gap > 0), tied prompts             0.20 mean(gap of tied:N > range)
        0.30 mean(gap > 0), reference prompts        0.20 mean(min(gap of tied:N, gap of ref:N) > range)
                                                     0.01 mean(tanh(min(...) / range - 1)), 0 for 0/0

    with the right column over the N that have both. A perfect score is thus up to 1.01 here.

    Arguments, result and errors are as in `evaluate_rewardbench`, with domains as sections. Only Ties has parts; the
    prompts of one N are resampled together. The baseline of 1/4 is that of the five domains.
    """
    checked = _validate(items, scores)
    measurements = [
        Measurement(item.prompt, item.subset, _best_of_credit(score_K))
        for item, score_K in zip(items, checked, strict=True)
        if item.subset != TIES
    ]
    measurements += _ties([(item, s) for item, s in zip(items, checked, strict=True) if item.subset == TIES])
    return {
        "benchmark": "RewardBench 2",
        "baseline": 1 / BEST_OF,
        **_counts(items, checked, DOMAINS),
        **_scored(measurements, _WEIGHTS_2, _items_per_subset(items), bootstrap, seed),
    }


def summary(result: Metrics) -> str:
    """Returns a result as a table for the console, with notes on differences from the published benchmark."""
    return "\n".join([text_table(rows(result)), *notes(result)])


def rows(result: Metrics) -> list[tuple[str, ...]]:
    """Returns the score of a result, and that of every section and part."""
    found: list[tuple[str, ...]] = [(result["benchmark"], _cell(result) + f", random {percent(result['baseline'])}")]
    for name, section in result["sections"].items():
        found.append((f"  {name}", _cell(section)))
        found += [(f"    {column}", _cell(part)) for column, part in section.get("parts", {}).items()]
    return found


def notes(result: Metrics) -> list[str]:
    """Returns the differences from the published benchmark, and ties."""
    lines = []
    if result["score_ties"]:
        lines.append(f"{result['score_ties']} chosen responses score the same as the best rejected one.")
    if result["missing"]:
        lines.append(f"No overall score, because there are no items of: {'; '.join(result['missing'])}.")
    if result["sizes"]:
        sizes = (f"{name} {found} of {published}" for name, (found, published) in result["sizes"].items())
        lines.append(f"Not the published items, so not comparable: {', '.join(sizes)}.")
    return lines


def _cell(part: Metrics) -> str:
    interval = interval_text(part.get("score_ci95"), ", 95 % interval {}")
    few = ", few prompts" if 0 < part["prompts"] < FEW_PROMPTS else ""
    return f"{percent(part['score'])} ({part['items']} items{few}{interval})"


# --- measurements -----------------------------------------------------------------------------------------------------


def _best_of_credit(score_K: np.ndarray) -> float:
    return float(score_K[0] == score_K.max()) / int((score_K == score_K.max()).sum())


def _ties(scored: Sequence[tuple[Item, np.ndarray]]) -> list[Measurement]:
    gaps: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    ranges: dict[str, float] = {}
    for item, score_K in scored:
        kind, number = ties_id(item)
        good, bad = score_K[: len(item.chosen)], score_K[len(item.chosen) :]
        gaps[kind][number] = float(good.min() - bad.max())
        if kind == "tied":
            ranges[number] = float(good.max() - good.min())
    tied, reference, margin, margin_with_reference, size = _TIES_WEIGHTS
    # A tied prompt and its reference have the same topic, so they are resampled together.
    measurements = [Measurement((TIES, n), tied, float(gap > 0)) for n, gap in gaps["tied"].items()]
    measurements += [Measurement((TIES, n), reference, float(gap > 0)) for n, gap in gaps["ref"].items()]
    for number in [n for n in gaps["tied"] if n in gaps["ref"]]:
        tied_range, gap = ranges[number], gaps["tied"][number]
        lower = min(gap, gaps["ref"][number])
        ratio = lower / tied_range if tied_range else math.copysign(math.inf, lower)
        values = (gap > tied_range, lower > tied_range, math.tanh(ratio - 1) if tied_range or lower else 0.0)
        columns = (margin, margin_with_reference, size)
        measurements += [Measurement((TIES, number), c, float(v)) for c, v in zip(columns, values, strict=True)]
    return measurements


def _validate(items: Sequence[Item], scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    if not items:
        raise InputError("there is no item of the benchmark to evaluate on")
    names = [item.origin or f"item {number}" for number, item in enumerate(items, start=1)]
    return validate_arrays(scores, names, [(len(item.responses),) for item in items], "items")


def _items_per_subset(items: Sequence[Item]) -> collections.Counter[str]:
    return collections.Counter(item.subset for item in items)


def _counts(items: Sequence[Item], scores: Sequence[np.ndarray], published: Mapping[str, int]) -> Metrics:
    found = _items_per_subset(items)
    ties = (s[: len(item.chosen)].min() == s[len(item.chosen) :].max() for item, s in zip(items, scores, strict=True))
    return {
        "items": len(items),
        "prompts": len({item.prompt for item in items}),
        "score_ties": int(sum(ties)),
        "sizes": {name: [found[name], count] for name, count in published.items() if 0 < found[name] != count},
    }


# --- means, sections, intervals ---------------------------------------------------------------------------------------


def _scored(
    measurements: Sequence[Measurement], weights: Weights, found: Mapping[str, int], resamples: int, seed: int
) -> Metrics:
    columns = [column for section in weights.values() for column in section]
    clusters: dict[Hashable, int] = {}
    indices = [(clusters.setdefault(m.cluster, len(clusters)), columns.index(m.column)) for m in measurements]
    sums = np.zeros((len(clusters), len(columns)))
    counts = np.zeros_like(sums)
    for index, measurement in zip(indices, measurements, strict=True):
        sums[index] += measurement.value
        counts[index] += 1

    def score(weight: np.ndarray) -> Metrics:
        """Returns the weighted sum of the means of the columns, and its interval; no score without a value in each."""
        used = weight != 0
        present = counts[:, used].any(axis=1)
        sums_used, counts_used, weight = sums[present][:, used], counts[present][:, used], weight[used]
        if not counts_used.any(axis=0).all():
            return {"score": None, "score_ci95": None}
        value = float(sums_used.sum(axis=0) / counts_used.sum(axis=0) @ weight)
        interval = cluster_interval(sums_used, counts_used, weight, resamples=resamples, seed=seed)
        return json_safe({"score": value, "score_ci95": interval})

    rows = {name: np.array([section.get(c, 0.0) for c in columns]) for name, section in weights.items()}
    sections, missing = {}, []
    for name, section in weights.items():
        parts = {}
        for column in section:
            count = int(counts[:, columns.index(column)].sum())
            total = float(sums[:, columns.index(column)].sum())
            prompts = int((counts[:, columns.index(column)] > 0).sum())
            parts[column] = {"score": total / count if count else None, "items": count, "prompts": prompts}
        absent = [column for column, part in parts.items() if not part["items"]]
        missing += [name] if len(absent) == len(parts) else [f"{name}: {column}" for column in absent]
        sections[name] = {
            **score(rows[name]),
            "items": sum(found[key] for key in {name, *section}),
            "prompts": int(counts[:, rows[name] != 0].any(axis=1).sum()),
        }
        if len(parts) > 1:
            sections[name]["parts"] = parts
    return {**score(np.mean(list(rows.values()), axis=0)), "missing": missing, "sections": sections}
