"""Agreement of several raters, and the items that they rank differently."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from rmjax.evaluation.krippendorff import interval, krippendorff_alpha

WINS, TIES, LOSES = 1, 0, -1


def agreement(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the agreement of raters for every head.

    A unit is a pair of responses to a prompt. Its value is 1, 0 or -1: the first is better, a tie, the second. α is
    Krippendorff's with squared distances, so a tie is half as far from a win as a loss is. Pairs of one ranking are not
    independent; α has no interval.

    Returns:
        head ->
        - alpha: α, or None if no pair has two raters, or all judgements are alike
        - raters: rater -> number of items
        - items: number of items with two or more raters
        - disagreements: items with a pair that one rater orders against another: `item`, `prompt`, `responses`, and
          `ranks` by rater; those with the most such pairs first
    """
    result = {}
    for head in dict.fromkeys(record["head"] for record in records):
        mine = [record for record in records if record["head"] == head]
        judged: dict[str, dict[str, Any]] = {}
        for record in mine:  # a later judgement of a rater replaces an earlier one
            judged.setdefault(record["item"], {})[record["rater"]] = record
        units = {
            (item, i, j): [_order(record["ranks"], i, j) for record in by_rater.values()]
            for item, by_rater in judged.items()
            for i, j in itertools.combinations(range(len(next(iter(by_rater.values()))["ranks"])), 2)
        }
        opposed: dict[str, int] = {}
        for (item, _, _), values in units.items():
            opposed[item] = opposed.get(item, 0) + (WINS in values and LOSES in values)
        worst = sorted((item for item in opposed if opposed[item]), key=lambda item: -opposed[item])
        raters = sorted({record["rater"] for record in mine})
        result[head] = {
            "alpha": krippendorff_alpha(units, interval),
            "raters": {rater: sum(rater in by_rater for by_rater in judged.values()) for rater in raters},
            "items": sum(len(by_rater) > 1 for by_rater in judged.values()),
            "disagreements": [_disagreement(judged[item]) for item in worst],
        }
    return result


def _order(ranks: Sequence[int], i: int, j: int) -> int:
    return (ranks[i] < ranks[j]) - (ranks[i] > ranks[j])


def _disagreement(by_rater: dict[str, dict[str, Any]]) -> dict[str, Any]:
    record = next(iter(by_rater.values()))
    ranks = {rater: each["ranks"] for rater, each in by_rater.items()}
    return {key: record[key] for key in ("item", "prompt", "responses")} | {"ranks": ranks}
