"""One iteration of PPO, RLOO, GRPO or online DPO: rollout, rewards, advantages, and the updates of the policy."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from rmjax.data.batch import BatchShape, Example, PackedBatch
from rmjax.data.batch_shape import rounded_shape
from rmjax.data.comparisons import Prompt
from rmjax.data.loader import BatchStream
from rmjax.data.packing import fitting_row_length
from rmjax.errors import InputError
from rmjax.models.attention import uses_dense_attention
from rmjax.parallel.layout import Layout
from rmjax.parallel.processes import is_main_process
from rmjax.rlhf import advantages
from rmjax.rlhf.algorithm import AlgorithmConfig, scaled, token_advantages
from rmjax.rlhf.kl import estimate_kl, next_coefficient
from rmjax.rlhf.policy import PolicyApply, policy_objective, token_weights
from rmjax.rlhf.preference import best_and_worst, dpo_objective
from rmjax.rlhf.rewards import Rewarded, RewardTerm, add_up, kl_penalty, variance_shares
from rmjax.rlhf.rollout import Decode, Rollout, SampleFn, make_rollout
from rmjax.rlhf.token_forward import TokenForward
from rmjax.scoring.batched_forward import WIDEST_ROW
from rmjax.training.step import TrainState, make_train_step


class NotFinite(InputError):
    """An update gave a number that is not finite; the state after it cannot be used."""


class Experience(NamedTuple):
    """A rollout with what an update needs of it.

    Attributes:
        examples: prompts and responses with the arrays of the objective.
        rewarded: the rewards by term, with the KL penalty as `kl`.
        metrics: see `Learner.evaluate`.
    """

    examples: list[Example]
    rewarded: Rewarded
    metrics: dict[str, float]


class Iteration(NamedTuple):
    """The result of an iteration.

    Attributes:
        state: the state after the updates, on the devices.
        coef: the coefficient of the KL penalty for the next iteration.
        metrics: of the rollout and of its updates (the mean over the updates).
        rollout: the responses.
        rewarded: their rewards.
    """

    state: TrainState
    coef: float
    metrics: dict[str, float]
    rollout: Rollout
    rewarded: Rewarded


class Learner:
    """Runs iterations of one algorithm. The state of a run is a `TrainState`, the KL coefficient, and the step.

    Args:
        config: the algorithm.
        apply: `(params, batch) -> PolicyOutput`, for the policy and for its reference.
        reference: parameters of the frozen reference, laid out by `layout`; not the buffers of the state, which the
            updates overwrite.
        optimizer: of the policy and its value function.
        layout: the devices.
        sample: the sampler; see `SampleFn`.
        decode: ids of a response -> text.
        rewards: the terms of the reward.
        seed: seed of the order of the prompts in minibatches.

    Attributes:
        shape: the compiled shape of the minibatches; None before the first update. It grows if a rollout needs it. A
            resumed run sets it to that of the stopped one, so that sums have the same order and results are equal.
    """

    def __init__(
        self,
        config: AlgorithmConfig,
        *,
        apply: PolicyApply,
        reference: Any,
        optimizer: optax.GradientTransformation,
        layout: Layout,
        sample: SampleFn,
        decode: Decode,
        rewards: Sequence[RewardTerm],
        seed: int,
    ) -> None:
        self.config, self.reference, self.layout = config, reference, layout
        self.sample, self.decode, self.rewards, self.seed = sample, decode, rewards, seed
        self.forward = TokenForward(_stacked(apply), layout)
        objective = (
            dpo_objective(apply, beta=config.kl.coef)
            if config.name == "online_dpo"
            else policy_objective(apply, config.loss, config.kl)
        )
        self.update_step = make_train_step(objective, optimizer, layout)
        self.shape: BatchShape | None = None
        if config.kl.bias and is_main_process():
            print(f"note: {config.kl.bias}", file=sys.stderr)

    def run(
        self, state: TrainState, coef: float, prompts: Sequence[Prompt], prompt_ids: Sequence[np.ndarray], step: int
    ) -> Iteration:
        """Runs one iteration.

        Args:
            state: the state on the devices; it is donated.
            coef: coefficient of the KL penalty.
            prompts: the conversations of this iteration.
            prompt_ids: their ids.
            step: number of the iteration; it determines the random numbers.

        Returns:
            The new state, with metrics that include the seconds of each part: `seconds_sampling`, `seconds_scoring`,
            `seconds_update`.

        Raises:
            InputError: the sampler's log-probabilities are not those of the policy, or a reward is not finite.
            NotFinite: a log-probability or a metric of the updates is not finite.
        """
        began = time.monotonic()
        rollout = make_rollout(
            self.sample,
            state.params,
            prompts,
            prompt_ids,
            samples=self.config.samples,
            step=step,
            decode=self.decode,
        )
        sampled = time.monotonic()
        experience = self.evaluate(state.params, rollout, coef)
        scored = time.monotonic()
        state, updated = self.update(state, experience.examples, step)
        learned = {
            f"{term.name}_{key}": value
            for term in self.rewards
            if term.update
            for key, value in term.update(rollout).items()
        }
        seconds = {
            "seconds_sampling": sampled - began,
            "seconds_scoring": scored - sampled,
            "seconds_update": time.monotonic() - scored,
        }
        metrics = {**experience.metrics, **updated, **learned, **seconds}
        coef = next_coefficient(self.config.kl, coef, experience.metrics["kl"], len(rollout))
        return Iteration(state, coef, metrics, rollout, experience.rewarded)

    def evaluate(self, params: Any, rollout: Rollout, coef: float) -> Experience:
        """Returns rewards, advantages and the arrays of the objective.

        Metrics: `reward` (mean total of the terms, the KL penalty not included), the terms as in `Rewarded`, `share_*`
        (the share of each in the variance of the advantages), `kl` with `kl_error` (see `estimate_kl`) and `kl_k3`,
        `kl_coef`, `length`, `cut` (share of responses without a stop token), `dead_groups` (their share), `sampler_gap`
        (mean difference of the log-probabilities of sampler and update), and `explained_variance` of the values.
        """
        config, mask = self.config, rollout.mask_NxT
        plain = rollout.examples()
        logprob, values = self._policy(params, plain, rollout)
        ref_logprob = rollout.padded([out[:, 0] for out in self.forward(self.reference, plain)])
        gap = float(np.abs(logprob - rollout.logprob_NxT)[mask].mean())
        if not np.isfinite(gap):
            raise NotFinite("a log-probability of the policy is not finite: lower the learning rate")
        if gap > config.max_gap:
            raise InputError(
                f"the log-probabilities of the sampler and of the policy differ by {gap:.2g} nats per token, more than "
                f"algorithm.max_gap={config.max_gap}: the sampler must use the same weights and a temperature of 1, "
                "and in bfloat16 rounding needs a bound of 0.1"
            )
        rewarded = add_up(self.rewards, rollout)
        reward_N = rewarded.total_NxT.sum(1)  # without the KL penalty
        dead = advantages.dead_groups(reward_N, rollout.group_N)
        if config.kl.placement == "reward" and config.kl.coef and config.name != "online_dpo":
            rewarded.parts["kl"] = kl_penalty(logprob, ref_logprob, mask, coef)
        advantage = token_advantages(config, rewarded.total_NxT, values, rollout)
        parts = {name: token_advantages(config, part, values * 0, rollout) for name, part in rewarded.parts.items()}
        if config.uses_values:
            parts["value"] = token_advantages(config, values * 0, values, rollout)
        per_token = {
            "old_logprob": logprob,
            "ref_logprob": ref_logprob,
            "weight": token_weights(rollout.length_N, mask.shape[1], config.loss),
            "advantage": scaled(config, advantage, parts.get("kl", np.zeros_like(advantage)), reward_N, rollout),
        }
        kl = estimate_kl(logprob, ref_logprob, mask)
        metrics = {
            "reward": float(reward_N.mean()),
            **rewarded.metrics,
            **{f"share_{name}": share for name, share in variance_shares(parts, mask).items()},
            "kl": kl.mean,
            "kl_error": kl.error,
            "kl_k3": kl.k3,
            "kl_coef": coef,
            "length": float(rollout.length_N.mean()),
            "cut": 1.0 - float(rollout.stopped_N.mean()),
            "dead_groups": dead.dead / dead.groups,
            "sampler_gap": gap,
        }
        if config.uses_values:
            target = np.where(mask, advantage + values, 0.0).astype(np.float32)
            per_token |= {"old_value": values, "return": target}
            metrics["explained_variance"] = explained_variance(values[mask], target[mask])
        if config.name == "online_dpo":
            plain = rollout.examples({"ref_logprob": ref_logprob})
            return Experience(best_and_worst(plain, reward_N), rewarded, metrics)
        return Experience(rollout.examples(per_token), rewarded, metrics)

    def update(self, state: TrainState, examples: Sequence[Example], step: int) -> tuple[TrainState, dict[str, float]]:
        """Runs the updates on a rollout. Returns the state and the mean of their metrics."""
        if not examples:  # online DPO, if all responses to each prompt have one score
            return state, {}
        collected = []
        stream = self._stream(examples, step)
        for batch in stream.prefetch(0, len(stream)):
            state, metrics = self.update_step(state, batch)
            collected.append(metrics)
        means = {
            name: float(np.mean([float(each[name]) for each in jax.device_get(collected)])) for name in collected[0]
        }
        if bad := [name for name, value in means.items() if not np.isfinite(value)]:
            raise NotFinite(
                f"{bad[0]} is not finite in iteration {step}: lower the learning rate or the norm of the gradient"
            )
        return state, means

    def _policy(self, params: Any, plain: Sequence[Example], rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Returns log-probabilities and values of the policy, `[N, T]`."""
        out = self.forward(params, plain)
        return rollout.padded([each[:, 0] for each in out]), rollout.padded([each[:, 1] for each in out])

    def _stream(self, examples: Sequence[Example], step: int) -> BatchStream:
        """Returns the minibatches, in a shape that only grows, so that few iterations compile."""
        dense, previous = uses_dense_attention(), self.shape
        # Rows hold whole groups, so that a prompt is computed once, if the quadratic cost of dense attention allows.
        widest = max(len(example.prompt) + sum(map(len, example.responses)) for example in examples)
        fitting = max(fitting_row_length(examples), min(-(-widest // 64) * 64, WIDEST_ROW))
        row_length = max(fitting, previous.row_length if previous else 0) if dense else 0
        stream = BatchStream(
            examples,
            batch_size=-(-len(examples) // self.config.minibatches),
            epochs=self.config.epochs,
            row_length=row_length,
            single_row=not dense,
            seed=int(np.random.SeedSequence((self.seed, step)).generate_state(1)[0]),
            microbatches=self.config.microbatches,
            shards=self.layout.shards,
            process=self.layout.process,
        )
        needed = rounded_shape(stream.shape)
        self.shape = BatchShape(*(max(sizes) for sizes in zip(needed, previous, strict=True))) if previous else needed
        stream.shape = self.shape
        return stream


def explained_variance(value: np.ndarray, target: np.ndarray) -> float:
    """1 - var(target - value) / var(target); 0 if the targets are all equal.

    Example:
        >>> explained_variance(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
        0.75
    """
    variance = float(target.var())
    return 1.0 - float((target - value).var()) / variance if variance else 0.0


def _stacked(apply: PolicyApply) -> Callable[[Any, PackedBatch], Array]:
    """Returns `(params, batch) -> [R, L, 2]`: log-probability and value of each token."""

    def function(params: Any, batch: PackedBatch) -> Array:
        out = apply(params, batch)
        return jnp.stack([out.logprob, out.value], axis=-1)

    return function
