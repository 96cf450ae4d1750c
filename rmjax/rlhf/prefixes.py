"""Rewards from the scores of the beginnings of a response: dense and shaped.

Φ(s) is the score of a prefix as if the response ended there. The prefixes are converted to text, because a reward model
may have another tokenizer than the policy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rmjax.errors import InputError
from rmjax.rlhf.rewards import Reward
from rmjax.rlhf.rollout import Decode, Rollout
from rmjax.rlhf.scores import TextScore

Potential = Callable[[Rollout], np.ndarray]
"""A rollout -> Φ of the first 0, 1, ..., T tokens of each response, `[N, T + 1]`; after its end, that of the whole."""


def prefix_scores(text_score: TextScore, decode: Decode, *, every: int = 1, ending: int = 1) -> Potential:
    """Returns the function that scores the prefixes of responses.

    Args:
        text_score: scores texts.
        decode: ids of a response -> text.
        every: score after every so many tokens and at the end; the prefixes in between have the score of the last one
            before. The cost is that of scoring N · (1 + T / every) texts.
        ending: number of stop ids, which have no text.

    Raises:
        InputError: a number is not positive.
    """
    if every < 1 or ending < 1:
        raise InputError(f"every and ending must be positive, found {every} and {ending}")

    def potential(rollout: Rollout) -> np.ndarray:
        tokens = rollout.mask_NxT.shape[1]
        texts: list[list[str]] = []
        source_NxT1 = np.zeros((len(rollout), tokens + 1), int)
        for n, sample in enumerate(rollout.samples):
            length = len(sample.ids)
            words = length - ending if sample.stopped else length
            cuts = [*range(0, words, every), length]
            text = [decode(sample.ids[:cut]) if cut else "" for cut in cuts[:-1]]
            source_NxT1[n] = np.searchsorted(cuts, np.minimum(np.arange(tokens + 1), length), side="right") - 1
            # From the last word on, the text is that of the whole response.
            source_NxT1[n, words:] = len(cuts) - 1
            texts.append([*text, rollout.texts[n]])
        flat = [[text for each in group for text in each] for group in rollout.by_prompt(texts)]
        groups = text_score(rollout.prompts, flat)
        scores = np.concatenate([np.asarray(group, np.float32) for group in groups])
        starts = np.cumsum([0, *(len(each) for each in texts[:-1])])
        return scores[starts[:, None] + source_NxT1]

    return potential


def dense(potential: Potential) -> Reward:
    """r_t = Φ(first t tokens) - Φ(first t - 1 tokens), with 0 instead of Φ of the empty response.

    The total of a response is its score, as with the sparse reward, so the best policy is the same. Every token is
    credited with the change that it makes.

    Source: the redistribution of a reward over tokens, as in Chan et al. (2402.00782), by differences of scores.
    """

    def reward(rollout: Rollout) -> np.ndarray:
        phi_NxT1 = potential(rollout)
        before = phi_NxT1[:, :-1] * (np.arange(phi_NxT1.shape[1] - 1)[None] > 0)
        return np.where(rollout.mask_NxT, phi_NxT1[:, 1:] - before, 0).astype(np.float32)

    return reward


def shaped(potential: Potential, *, gamma: float = 1.0) -> Reward:
    """F_t = γ Φ(s_{t+1}) - Φ(s_t), with Φ = 0 after the last token: a term to be added to another reward.

    The discounted sum from a token on is -Φ(s_t), whatever follows. So the best policy does not change, and Φ works as
    a value function. With an advantage that is the same for all tokens of a response, it has no effect.

    Args:
        potential: Φ.
        gamma: the discount of the algorithm.

    Source: Ng, Harada & Russell (1999), Policy invariance under reward transformations.
    """

    def reward(rollout: Rollout) -> np.ndarray:
        phi_NxT1 = potential(rollout)
        last = np.arange(phi_NxT1.shape[1] - 1)[None] == rollout.length_N[:, None] - 1
        after = np.where(last, 0, phi_NxT1[:, 1:])
        return np.where(rollout.mask_NxT, gamma * after - phi_NxT1[:, :-1], 0).astype(np.float32)

    return reward
