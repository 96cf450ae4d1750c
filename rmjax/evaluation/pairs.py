"""Flat arrays of the untied pairs and of the responses of many comparisons, and validation of their scores.

The arrays are the same for every head: the gaps of a head are differences of two rows of `scores_NxZ`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Comparison, head_index
from rmjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """All untied pairs of many comparisons, and the responses of these comparisons.

    Attributes:
        winner_P: the preferred response of each pair, as an index into the N responses of all comparisons.
        loser_P: the other response, likewise.
        comparison_P: the comparison of each pair, as an index.
        prompt_P: the prompt of each pair, as a whole number; comparisons with equal prompts have the same.
        strength_P: the strength of the preference, None if the data do not say.
        prompt_N: the prompt of each response.
        prompt_B: the prompt of each comparison.
        length_N: the length of each response in characters, which need no tokenizer and are the same for every model.
        ties: number of pairs that the raters tied; they are left out.
    """

    winner_P: np.ndarray
    loser_P: np.ndarray
    comparison_P: np.ndarray
    prompt_P: np.ndarray
    strength_P: np.ndarray
    prompt_N: np.ndarray
    prompt_B: np.ndarray
    length_N: np.ndarray
    ties: int

    def gap(self, value_N: np.ndarray) -> np.ndarray:
        """Returns the winner's value minus the loser's, `[P]`, or `[P, Z]` for values `[N, Z]`."""
        return value_N[self.winner_P] - value_N[self.loser_P]


def pair_arrays(comparisons: Sequence[Comparison]) -> Pairs:
    """Returns the pairs of `comparisons`, in their order.

    Example:
        >>> from rmjax.data.comparisons import Message
        >>> pairs = pair_arrays([Comparison((Message("user", "Hi"),), ("Yes", "Hello", "No"), (2, 1, 2))])
        >>> pairs.winner_P.tolist(), pairs.loser_P.tolist(), pairs.ties
        ([1, 1], [0, 2], 1)
        >>> pairs.gap(pairs.length_N).tolist()
        [2.0, 3.0]
    """
    numbers: dict[Any, int] = {}
    prompt_B = np.array([numbers.setdefault(c.prompt, len(numbers)) for c in comparisons], int)
    counts = [len(comparison.responses) for comparison in comparisons]
    rows, strengths, ties, start = [], [], 0, 0
    for index, comparison in enumerate(comparisons):
        for pair, (winner, loser, tied) in enumerate(comparison.pairs):
            if tied:
                ties += 1
                continue
            rows.append((start + winner, start + loser, index))
            strengths.append(comparison.strengths[pair] if comparison.strengths else None)
        start += counts[index]
    winner_P, loser_P, comparison_P = np.array(rows, int).reshape(-1, 3).T
    return Pairs(
        winner_P=winner_P,
        loser_P=loser_P,
        comparison_P=comparison_P,
        prompt_P=prompt_B[comparison_P],
        strength_P=np.array(strengths, object),
        prompt_N=np.repeat(prompt_B, counts),
        prompt_B=prompt_B,
        length_N=np.array([len(text) for comparison in comparisons for text in comparison.responses], np.float64),
        ties=ties,
    )


def head_columns(comparisons: Sequence[Comparison], heads: Sequence[str]) -> np.ndarray:
    """Returns the head that judges each comparison, as an index into `heads`, `[B]`; see `head_index`.

    Raises:
        InputError: there is no comparison, or one belongs to no head of the model.
    """
    if not comparisons:
        raise InputError("there is no comparison to evaluate on")
    return np.array([head_index(comparison, heads) for comparison in comparisons], int)


def head_scores(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], heads: Sequence[str]
) -> list[np.ndarray]:
    """Returns for each comparison its scores `[K]` under the head that judges it.

    Raises:
        InputError: a comparison belongs to no head of the model, or a score is not finite.
        ValueError: the scores do not fit the comparisons.
    """
    column_B = head_columns(comparisons, heads)
    checked = validate_scores(comparisons, scores, heads)
    return [score_KxZ[:, z] for score_KxZ, z in zip(checked, column_B, strict=True)]


def head_gaps(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], heads: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns, for each head, the gaps of the pairs that it judges; arguments and errors as in `head_scores`."""
    column_B = head_columns(comparisons, heads)
    pairs = pair_arrays(comparisons)
    gap_PxZ = pairs.gap(np.concatenate(validate_scores(comparisons, scores, heads)))
    return {head: gap_PxZ[column_B[pairs.comparison_P] == z, z] for z, head in enumerate(heads)}


def validate_scores(
    comparisons: Sequence[Comparison], scores: Sequence[np.ndarray], heads: Sequence[str] | None
) -> list[np.ndarray]:
    """Returns the scores of every comparison in float64, as `[K, Z]`, or as `[K]` if `heads` is None.

    Raises:
        InputError: a score is not finite.
        ValueError: the scores do not fit the comparisons and the heads.
    """
    columns = () if heads is None else (len(heads),)
    shapes = [(len(comparison.responses), *columns) for comparison in comparisons]
    return validate_arrays(scores, list(map(comparison_name, comparisons, itertools.count())), shapes, "comparisons")


def validate_arrays(
    scores: Sequence[np.ndarray], names: Sequence[str], shapes: Sequence[tuple[int, ...]], kind: str
) -> list[np.ndarray]:
    """Returns arrays of scores in float64, after checks of their number, shapes and values.

    Args:
        scores: one array for each item.
        names: the name of each item, for messages.
        shapes: the required shape of each array.
        kind: the plural noun for the items, for messages.

    Raises:
        InputError: a score is not finite.
        ValueError: the number or the shape of the arrays is wrong.
    """
    if len(scores) != len(names):
        raise ValueError(f"found scores for {len(scores)} of {len(names)} {kind}")
    arrays = [np.asarray(array, np.float64) for array in scores]
    for name, array, shape in zip(names, arrays, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} needs scores of shape {shape}, but has scores of shape {array.shape}")
    bad = [int((~np.isfinite(array)).sum()) for array in arrays]
    if any(bad):
        total, first = sum(array.size for array in arrays), names[np.flatnonzero(bad)[0]]
        raise InputError(f"{sum(bad)} of {total} scores are not finite; the first is in {first}")
    return arrays


def comparison_name(comparison: Comparison, index: int) -> str:
    """Returns the name of a comparison for messages: its origin, or its number."""
    return f"the comparison at {comparison.origin}" if comparison.origin else f"comparison number {index + 1}"
