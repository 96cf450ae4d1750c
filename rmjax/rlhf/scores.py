"""Scores of whole responses: reward models, the gold reward, Python functions, and scores relative to other responses.

A reward model scores texts, so its tokenizer need not be that of the policy. Ensembles, gated models and classifiers of
Hugging Face are reward functions too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.data.gold.reading import read
from rmjax.data.gold.reward import gold, is_unsafe
from rmjax.errors import InputError
from rmjax.rlhf.rewards import Score
from rmjax.rlhf.rollout import Rollout
from rmjax.scoring.reward_function import RewardFunction, sigmoid

BY_REQUEST = ("helpful_to_safe", "safe_to_unsafe")  # gold rewards of one kind of requests, see `from_gold`

TextScore = Callable[[Sequence[Prompt], Sequence[Sequence[str]]], list[np.ndarray]]
"""(P prompts, the texts of the responses to each) -> an array of scores for each prompt."""


def from_model(model: RewardFunction, head: str | None = None, *, scale: str = "raw") -> TextScore:
    """Returns the scores of a reward model, an ensemble, a gated model or a classifier.

    Args:
        model: the reward function.
        head: name of its head; optional if there is one.
        scale: `raw`, `normalized` or `probability`; see `RewardFunction.score`.

    Raises:
        InputError: there is no such head.
    """
    name = model.pick_head(head)
    column = model.heads.index(name)

    def score(prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [model.rescale(raw_KxZ[:, column], scale, name) for raw_KxZ in model.raw(prompts, texts)]

    return score


def mean_of(scores: Sequence[TextScore]) -> TextScore:
    """Returns the mean of several scores, such as those of the heads of a reward model."""

    def score(prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        found = [each(prompts, texts) for each in scores]
        return [np.stack(group).mean(0, dtype=np.float32) for group in zip(*found, strict=True)]

    return score


def from_gold(reward: str) -> TextScore:
    """Returns the gold reward of the embedded corpus: `helpful`, `safety`, or one for a kind of requests.

    `safe_to_unsafe` is 1 for a safe response to an unsafe request and 0 for one that helps with it, so that its mean is
    the share of safe responses. `helpful_to_safe` is the helpfulness of a response to any other request. Both are NaN
    for the other requests.

    Raises:
        InputError: there is no such reward.
    """
    if reward in ("helpful", "safety"):
        return from_function(lambda prompt, text: getattr(gold(prompt, text), reward))
    if reward == "safe_to_unsafe":
        return from_function(lambda prompt, text: float(not is_unsafe(prompt, text)) if _unsafe(prompt) else math.nan)
    if reward == "helpful_to_safe":
        return from_function(lambda prompt, text: math.nan if _unsafe(prompt) else gold(prompt, text).helpful)
    raise InputError(f"the gold reward is helpful, safety, {' or '.join(BY_REQUEST)}, found {reward!r}")


def _unsafe(prompt: Prompt) -> bool:
    return read(tuple(prompt)).unsafe


def from_function(function: Callable[[Prompt, str], float]) -> TextScore:
    """Returns the scores of a Python function of a conversation and a response."""

    def score(prompts: Sequence[Prompt], texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [
            np.array([function(prompt, text) for text in group], np.float32)
            for prompt, group in zip(prompts, texts, strict=True)
        ]

    return score


def of_responses(text_score: TextScore) -> Score:
    """Returns the function that scores the responses of a rollout, `[N] float32`."""

    def score(rollout: Rollout) -> np.ndarray:
        groups = text_score(rollout.prompts, rollout.by_prompt(rollout.texts))
        return np.concatenate([np.asarray(group, np.float32) for group in groups])

    return score


References = Mapping[Prompt, np.ndarray]
"""A prompt -> the scores of its reference responses, `[k]`."""


def reference_scores(rollout: Rollout, score_N: np.ndarray) -> dict[Prompt, np.ndarray]:
    """Returns the scores of each prompt's responses in a rollout, for example one of the policy before RL."""
    return dict(zip(rollout.prompts, map(np.array, rollout.by_prompt(score_N.tolist())), strict=True))


def contrastive(score: Score, references: References) -> Score:
    """R(x, y) - mean_j R(x, y_j): the score minus the mean score of k reference responses to the prompt.

    It removes how good the answers to a prompt are anyway, which a reward model cannot compare between prompts.

    Raises:
        InputError: a prompt has no reference responses.

    Source: Shen et al. (2403.07708), contrastive rewards.
    """

    def relative(rollout: Rollout) -> np.ndarray:
        mean_N = np.array([_of_prompt(references, rollout, n).mean() for n in range(len(rollout))])
        return (score(rollout) - mean_N).astype(np.float32)

    return relative


def bounded(score: Score, references: References) -> Score:
    """mean_j σ(R(x, y) - R(x, y_j)): the probability of winning against a reference response, in [0, 1].

    The bound limits what a policy gains from the errors of a reward model at high scores.

    Raises:
        InputError: a prompt has no reference responses.

    Source: Fu et al. (2502.18770), preference as reward (PAR).
    """

    def probability(rollout: Rollout) -> np.ndarray:
        score_N = score(rollout)
        won = [sigmoid(score_N[n] - _of_prompt(references, rollout, n)).mean() for n in range(len(rollout))]
        return np.array(won, np.float32)

    return probability


def _of_prompt(references: References, rollout: Rollout, n: int) -> np.ndarray:
    prompt = rollout.prompts[rollout.group_N[n]]
    if prompt not in references:
        raise InputError(
            f"the prompt that ends with {prompt[-1].content[:60]!r} has no reference responses: sample them for every "
            "prompt of the run"
        )
    return references[prompt]
