"""Rewards: functions of a rollout that return one number for every token, and their weighted sum.

A reward of whole responses is the special case that is 0 before the last token. So all kinds of reward have one form,
and several of them add up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.rlhf.advantages import whiten
from rmjax.rlhf.rollout import Rollout

Reward = Callable[[Rollout], np.ndarray]
"""A rollout -> rewards of its tokens, `[N, T] float32`, 0 after each response."""

Score = Callable[[Rollout], np.ndarray]
"""A rollout -> scores of whole responses, `[N] float32`."""

Update = Callable[[Rollout], Mapping[str, float]]
"""Learns from a rollout after its rewards were given; returns metrics."""


@dataclasses.dataclass(frozen=True)
class RewardTerm:
    """One of several rewards that add up.

    Attributes:
        name: its name in logs; unique.
        reward: the function.
        weight: factor after normalization.
        normalize: divide the total of each response by the standard deviation of these totals in the rollout, and move
            their mean to 0. The shift is given at the last token.
        clip: with a positive number, bounds the total of each response to [-clip, clip], after normalization; the
            rewards of its tokens are scaled by one factor.
        update: called after every rollout, for rewards that are trained along.

    Raises:
        InputError: the weight is not finite, or the bound is negative.
    """

    name: str
    reward: Reward
    weight: float = 1.0
    normalize: bool = False
    clip: float = 0.0
    update: Update | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or not 0 <= self.clip < math.inf:
            raise InputError(
                f"the reward {self.name} needs a finite weight and a bound that is not negative, found {self.weight} "
                f"and {self.clip}"
            )


class Rewarded(NamedTuple):
    """Rewards of a rollout.

    Attributes:
        parts: weighted rewards by name, `[N, T]` each.
        metrics: means over responses of each term: `NAME_raw`, `NAME_normalized`, `NAME_weighted`.
    """

    parts: dict[str, np.ndarray]
    metrics: dict[str, float]

    @property
    def total_NxT(self) -> np.ndarray:
        """The sum of the parts."""
        return np.stack(list(self.parts.values())).sum(0)


def add_up(terms: Sequence[RewardTerm], rollout: Rollout) -> Rewarded:
    """Returns the weighted rewards of every term.

    Raises:
        InputError: there is no term, two terms have one name, or a reward is not finite or not 0 after the end of a
            response.
    """
    if not terms:
        raise InputError("there is no reward: give at least one, such as sparse(of_responses(from_model(model)))")
    if len({term.name for term in terms}) < len(terms):
        raise InputError(f"rewards need different names, found {', '.join(term.name for term in terms)}")
    parts: dict[str, np.ndarray] = {}
    metrics: dict[str, float] = {}
    for term in terms:
        raw_NxT = _checked(term.name, term.reward(rollout), rollout)
        normalized_NxT = _normalized(raw_NxT, rollout) if term.normalize else raw_NxT
        if term.clip:
            normalized_NxT = _bounded(normalized_NxT, term.clip)
        parts[term.name] = np.float32(term.weight) * normalized_NxT
        for stage, array in (("raw", raw_NxT), ("normalized", normalized_NxT), ("weighted", parts[term.name])):
            metrics[f"{term.name}_{stage}"] = float(array.sum(1).mean())
    return Rewarded(parts, metrics)


def variance_shares(parts: Mapping[str, np.ndarray], mask_NxT: np.ndarray) -> dict[str, float]:
    """Returns the share of each part in the variance of the sum of all, over the tokens of the mask.

    The share is cov(part, sum) / var(sum). Shares add up to 1. A part that opposes the others has a negative share.

    Args:
        parts: arrays `[N, T]` by name, for example the advantages that each reward alone would give.
        mask_NxT: the tokens that count.

    Example:
        >>> parts = {"a": np.array([[1.0, -1.0]]), "b": np.array([[3.0, -3.0]])}
        >>> variance_shares(parts, np.ones((1, 2), bool))
        {'a': 0.25, 'b': 0.75}
    """
    values = {name: part[mask_NxT].astype(np.float64) for name, part in parts.items()}
    total = np.sum(list(values.values()), axis=0)
    total = total - total.mean()
    variance = (total**2).mean()
    return {
        name: float(((part - part.mean()) * total).mean() / variance) if variance > 0 else 0.0
        for name, part in values.items()
    }


def sparse(score: Score) -> Reward:
    """The score of a response at its last token: r_T = R(x, y), else 0.

    Source: Ziegler et al. (1909.08593); Stiennon et al. (2009.01325).
    """
    return lambda rollout: rollout.at_last(score(rollout))


def kl_penalty(logprob_NxT: np.ndarray, ref_logprob_NxT: np.ndarray, mask_NxT: np.ndarray, coef: float) -> np.ndarray:
    """-β (log π - log π_ref) of every token, `[N, T]`; see `rmjax.rlhf.kl`."""
    return np.where(mask_NxT, -coef * (logprob_NxT - ref_logprob_NxT), 0.0).astype(np.float32)


def length_penalty(limit: int, per_token: float) -> Reward:
    """-`per_token` for every token after the first `limit` tokens.

    Example:
        With limit 2, a response of 4 tokens gets 0, 0, -c, -c.
    """

    def reward(rollout: Rollout) -> np.ndarray:
        late = np.arange(rollout.mask_NxT.shape[1])[None] >= limit
        return np.where(rollout.mask_NxT & late, np.float32(-per_token), np.float32(0))

    return reward


def missing_end_penalty(penalty: float) -> Reward:
    """-`penalty` at the last token of a response that was cut before its stop token."""
    return sparse(lambda rollout: np.where(rollout.stopped_N, 0.0, -penalty).astype(np.float32))


def surprisal() -> Reward:
    """-log π(a) of every token: its expectation is the entropy of the response (intrinsic reward).

    In the reward, its expected gradient is that of the entropy of whole responses, as k1 for the KL divergence.
    """
    return lambda rollout: np.where(rollout.mask_NxT, -rollout.logprob_NxT, np.float32(0))


def _checked(name: str, reward: np.ndarray, rollout: Rollout) -> np.ndarray:
    mask_NxT = rollout.mask_NxT
    if reward.shape != mask_NxT.shape or not np.issubdtype(reward.dtype, np.floating):
        raise InputError(
            f"the reward {name} gave an array {reward.dtype}{list(reward.shape)} for responses of "
            f"{list(mask_NxT.shape)}: return floats [N, T], as sparse(score) makes them of N scores"
        )
    if not np.isfinite(reward).all():
        n = int(np.argwhere(~np.isfinite(reward))[0, 0])
        raise InputError(f"the reward {name} is not finite for the response {rollout.texts[n]!r}")
    if reward[~mask_NxT].any():
        raise InputError(f"the reward {name} is not 0 after the end of a response: use rollout.mask_NxT")
    return reward.astype(np.float32)


def _normalized(reward_NxT: np.ndarray, rollout: Rollout) -> np.ndarray:
    total_N = reward_NxT.sum(1)
    whitened_N = whiten(total_N[:, None], np.ones((len(total_N), 1), bool))[:, 0]
    deviation = max(float(total_N.std()), 1e-6)
    scaled_NxT = reward_NxT / np.float32(deviation)
    return scaled_NxT + rollout.at_last(whitened_N - scaled_NxT.sum(1))


def _bounded(reward_NxT: np.ndarray, clip: float) -> np.ndarray:
    total_N = np.abs(reward_NxT.sum(1))
    return reward_NxT * np.minimum(1.0, clip / np.maximum(total_N, 1e-9)).astype(np.float32)[:, None]
