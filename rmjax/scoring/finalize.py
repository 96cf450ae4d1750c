"""Normalization statistics and canary scores for the contract of a checkpoint, from the scores of its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rmjax.data.comparisons import Comparison, Demonstration, Prompt, head_index
from rmjax.scoring.contract import Canary, Contract, Normalization, choose_canaries
from rmjax.scoring.reward_model import RewardModel

References = dict[str, list[tuple[Prompt, str]]]


def reference_texts(comparisons: Sequence[Comparison], heads: Sequence[str], count: int) -> References:
    """Returns for every head up to `count` (prompt, response) texts, at even distances in its comparisons."""
    texts: References = {head: [] for head in heads}
    for comparison in comparisons:
        mine = texts[heads[head_index(comparison, heads)]]
        mine += [(comparison.prompt, response) for response in comparison.responses]
    chosen = {
        head: np.linspace(0, len(mine) - 1, min(count, len(mine))).round().astype(int) for head, mine in texts.items()
    }
    return {head: [texts[head][i] for i in indices] for head, indices in chosen.items()}


def demonstration_texts(demonstrations: Sequence[Demonstration], heads: Sequence[str], count: int) -> References:
    """Returns for every head the same up to `count` (prompt, response) texts, at even distances in the demonstrations.

    The normalized score of a demonstration is then 0 on average, as InstructGPT set it before reinforcement learning
    (2203.02155, section 3.5).
    """
    indices = np.linspace(0, len(demonstrations) - 1, min(count, len(demonstrations))).round().astype(int)
    texts = [(demonstrations[i].prompt, demonstrations[i].response) for i in indices]
    return dict.fromkeys(heads, texts)


def finalize(model: RewardModel, references: References, source: str, step: int) -> Contract:
    """Returns the model's contract with `step` and, for every head, normalization and canaries on reference texts."""
    normalization: dict[str, Normalization] = {}
    canaries: list[Canary] = []
    for head, texts in references.items():
        column = model.heads.index(head)
        raw = model.score_groups([p for p, _ in texts], [[response] for _, response in texts], exact=True).raw
        scores = np.array([scores_KxZ[0, column] for scores_KxZ in raw], np.float64)
        # If all scores are equal up to rounding in float32, a scale of 1 keeps the normalized scores finite.
        std = float(scores.std()) if scores.std() > 1e-6 * np.abs(scores).max() else 1.0
        normalization[head] = Normalization(float(scores.mean()), std, len(texts), source)
        canaries += choose_canaries(texts, scores, head)
    return dataclasses.replace(model.contract, step=step, normalization=normalization, canaries=tuple(canaries))
