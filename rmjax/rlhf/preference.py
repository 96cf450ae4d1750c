"""Direct preference optimization: its objective, its implicit reward, and pairs among the responses of a rollout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from rmjax.data.batch import Example, PackedBatch
from rmjax.errors import InputError
from rmjax.rlhf.policy import PolicyApply
from rmjax.rlhf.rewards import Reward
from rmjax.rlhf.rollout import Rollout
from rmjax.training import losses
from rmjax.training.objectives import LossFn, pair_sums

LogProbs = Callable[[Sequence[Example]], list[np.ndarray]]
"""Examples -> log-probabilities `[T_n]` of the tokens of each response under some policy."""


def dpo_objective(apply: PolicyApply, *, beta: float) -> LossFn:
    """-log σ(β (log π(w)/π_ref(w) - log π(l)/π_ref(l))) over the pairs of a batch, w preferred to l.

    `batch.per_token` has `ref_logprob`. Reports `loss`, `accuracy` and `gap` of the implicit rewards, as
    `ranking_objective` does of scores.

    Raises:
        InputError: beta is not positive.

    Source: Rafailov et al. (2305.18290).
    """
    if not beta > 0:
        raise InputError(f"beta must be positive, found {beta}")

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        ratio_RxL = apply(params, batch).logprob - jnp.asarray(batch.per_token["ref_logprob"])
        reward_N, pairs = beta * response_sums(ratio_RxL, batch), batch.pairs
        gap = reward_N[pairs.winner_P] - reward_N[pairs.loser_P]
        untied = losses.bradley_terry(gap)
        numerator = jnp.sum(pairs.weight_P * jnp.where(pairs.tied_P, losses.tied_half(gap), untied))
        return numerator, {"weight": jnp.sum(pairs.weight_P), "loss": numerator, **pair_sums(gap, pairs)}

    return loss_fn


def response_sums(values_RxL: Array, batch: PackedBatch) -> Array:
    """Returns the sums of values over the tokens of each response slot, `[N]`; an empty slot has an arbitrary one."""
    R, L = values_RxL.shape
    row = jnp.repeat(jnp.arange(R, dtype=jnp.int32), L)
    segment, last_N = jnp.asarray(batch.segments_RxL).reshape(-1), jnp.asarray(batch.responses.score_index_N)
    member = (segment[last_N][:, None] == segment[None]) & (row[last_N][:, None] == row[None])
    return jnp.sum(jnp.where(member, values_RxL.reshape(-1)[None], 0.0), axis=1)


def implicit_reward(policy: LogProbs, reference: LogProbs, *, beta: float) -> Reward:
    """β log π_DPO(a) / π_ref(a) of every token: the reward for which a policy trained by DPO is the best one.

    The total of a response is β log π_DPO(y) / π_ref(y), which differs from the reward that the preferences follow
    only by a constant for each prompt.

    Source: Rafailov et al. (2305.18290), equation 5; per token, as in 2404.12358.
    """

    def reward(rollout: Rollout) -> np.ndarray:
        plain = rollout.examples()
        ratio = rollout.padded(policy(plain)) - rollout.padded(reference(plain))
        return (beta * ratio).astype(np.float32)

    return reward


def best_and_worst(examples: Sequence[Example], score_N: np.ndarray) -> list[Example]:
    """Returns prompts with one pair each, the best response against the worst; groups of equal scores are left out.

    With the scores of a reward model this is online DPO. With the model's own judgement as the score it is
    self-rewarding.

    Args:
        examples: prompts with K responses, as `Rollout.examples` gives them.
        score_N: scores of all responses in their order.

    Source: Guo et al. (2402.04792), online AI feedback; Yuan et al. (2401.10020), self-rewarding.
    """
    result: list[Example] = []
    start = 0
    for example in examples:
        score_K = score_N[start : start + len(example.responses)]
        start += len(score_K)
        best, worst = int(np.argmax(score_K)), int(np.argmin(score_K))
        if score_K[best] == score_K[worst]:
            continue
        kept = (best, worst)
        result.append(
            dataclasses.replace(
                example,
                responses=tuple(example.responses[k] for k in kept),
                per_token={name: tuple(arrays[k] for k in kept) for name, arrays in example.per_token.items()},
                winner=np.array([0], np.int32),
                loser=np.array([1], np.int32),
                tied=np.array([False]),
                margin=np.zeros(1, np.float32),
                weight=np.ones(1, np.float32),
            )
        )
    return result
