"""Worst mistakes of a model: the pairs with the largest gap against the raters, as records and as text."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from rmjax.data.comparisons import Comparison
from rmjax.errors import printable
from rmjax.evaluation.pairs import head_columns, pair_arrays, validate_scores
from rmjax.evaluation.temperature import LogOdds, as_log_odds

COUNT = 20  # in mistakes.jsonl of a run
WIDTH = 100


def worst_mistakes(
    comparisons: Sequence[Comparison],
    scores: Sequence[np.ndarray],
    heads: Sequence[str],
    count: int,
    link: LogOdds | None = as_log_odds,
) -> list[dict[str, Any]]:
    """Returns up to `count` pairs in the wrong order, largest gap first, at most one of each comparison.

    Without this limit, a ranking with one response whose score is far too high would fill the list.

    Args:
        comparisons: the judgements.
        scores: for each comparison its scores `[K, Z]`; only the head that judges the comparison is used.
        heads: the names of the model's heads.
        count: largest number of pairs.
        link: gives the log odds of a gap; None if gaps give no odds.

    Returns:
        JSON-safe records: `prompt` (messages), `winner` and `loser` (texts, as the raters judged), `scores` (of these
        two, in this order), `gap` (negative), `probability` (of the winner; None without odds), `head`, and from the
        data `subset`, `strength` and `origin`, None if the data do not have them.

    Raises:
        InputError: a comparison belongs to no head of the model, or a score is not finite.
        ValueError: the scores do not fit the comparisons.
    """
    column_B = head_columns(comparisons, heads)
    pairs = pair_arrays(comparisons)
    column_P = column_B[pairs.comparison_P]
    scores_NxZ = np.concatenate(validate_scores(comparisons, scores, heads))
    texts = [text for comparison in comparisons for text in comparison.responses]
    gap_P = pairs.gap(scores_NxZ)[np.arange(len(column_P)), column_P]
    found: dict[int, dict[str, Any]] = {}
    for p in np.argsort(gap_P, kind="stable"):
        index = int(pairs.comparison_P[p])
        if gap_P[p] >= 0 or len(found) == count:
            break
        if index in found:
            continue
        comparison, ends = comparisons[index], (pairs.winner_P[p], pairs.loser_P[p])
        found[index] = {
            "prompt": [message._asdict() for message in comparison.prompt],
            "winner": texts[ends[0]],
            "loser": texts[ends[1]],
            "scores": [float(scores_NxZ[end, column_P[p]]) for end in ends],
            "gap": float(gap_P[p]),
            "probability": float(scipy.special.expit(link(gap_P[p]))) if link else None,
            "head": heads[column_P[p]],
            "subset": comparison.subset,
            "strength": pairs.strength_P[p],
            "origin": comparison.origin or None,
        }
    return list(found.values())


def as_lines(mistakes: Sequence[dict[str, Any]]) -> str:
    """Returns the records as JSON lines."""
    return "".join(json.dumps(mistake, ensure_ascii=False) + "\n" for mistake in mistakes)


def as_text(mistake: dict[str, Any]) -> str:
    """Returns one mistake as wrapped text for the console: its numbers, the conversation, and both responses."""
    better, worse = mistake["scores"]
    named = [f"{name} {mistake[name]}" for name in ("head", "subset", "strength", "origin") if mistake[name]]
    title = f"gap {mistake['gap']:.2f}"
    if mistake["probability"] is not None:
        title += f", P(winner) {100 * mistake['probability']:.2g} %"
    parts = [(message["role"], message["content"]) for message in mistake["prompt"]]
    parts.append((f"preferred by the raters, scored {better:.2f}", mistake["winner"]))
    parts.append((f"preferred by the model, scored {worse:.2f}", mistake["loser"]))
    body = [f"  {label}:\n{_wrapped(text)}" for label, text in parts]
    return printable("\n".join([f"{title} ({', '.join(named)})", *body]))


def _wrapped(text: str) -> str:
    """Returns the text with its line breaks, indented, no line wider than `WIDTH`."""
    lines = text.splitlines() or [""]
    fill = functools.partial(textwrap.fill, width=WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(fill(line) if line.strip() else "" for line in lines) or "    (empty)"
