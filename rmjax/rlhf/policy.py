"""The policy: its outputs per token, and the objective that its updates minimize.

The K responses to a prompt are one element of a packed batch, so that the prompt is computed once. All arrays have one
value for each token of a row, `[R, L]`; only those at the tokens of responses count.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from rmjax.data.batch import PackedBatch
from rmjax.errors import InputError
from rmjax.rlhf import losses
from rmjax.rlhf.advantages import token_mask
from rmjax.rlhf.kl import KLConfig, k2, k3
from rmjax.training.objectives import LossFn

NORMALIZATIONS = ("token", "sequence", "constant")


class PolicyOutput(NamedTuple):
    """Output of a policy for the tokens of a batch, `[R, L] float32` each.

    Attributes:
        logprob: log π of each token, given the text before it.
        entropy: entropy of the distribution that each token was drawn from, in nats.
        value: value of the state before each token; 0 without a value function.
    """

    logprob: Array
    entropy: Array
    value: Array


PolicyApply = Callable[[Any, PackedBatch], PolicyOutput]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyLossConfig:
    """Settings of the objective of an update.

    Attributes:
        clip: range of the ratio π / π_old around 1; 0 for no clipping.
        value_clip: range of a value around its old one; 0 for no clipping.
        value_coef: coefficient of the value loss; 0 for a policy without a value function.
        entropy_coef: coefficient of the entropy, which is subtracted from the loss.
        normalization: `token`: the mean over the tokens of a batch. `sequence`: the mean over the tokens of each
            response, then over the responses. `constant`: the sum over the tokens of a response / `max_response`, then
            the mean over the responses, so that long responses have no smaller gradient per token (Dr. GRPO,
            2503.20783).
        max_response: the divisor of `constant`.
    """

    clip: float = 0.2
    value_clip: float = 0.2
    value_coef: float = 0.1
    entropy_coef: float = 0.0
    normalization: str = "token"
    max_response: int = 1

    def __post_init__(self) -> None:
        if self.normalization not in NORMALIZATIONS:
            raise InputError(
                f"loss.normalization must be one of {', '.join(NORMALIZATIONS)}, found {self.normalization!r}"
            )
        for field in ("clip", "value_clip", "value_coef", "entropy_coef"):
            if not 0 <= getattr(self, field) < math.inf:
                raise InputError(f"loss.{field} must not be negative, found {getattr(self, field)}")
        if self.clip >= 1:
            raise InputError(f"loss.clip must be below 1, found {self.clip}; 0 is no clipping")
        if self.max_response < 1:
            raise InputError(f"loss.max_response must be positive, found {self.max_response}")


def token_weights(length_N: np.ndarray, tokens: int, config: PolicyLossConfig) -> np.ndarray:
    """Returns the weight of each token in the objective, `[N, tokens] float32`; see `PolicyLossConfig.normalization`.

    Example:
        >>> token_weights(np.array([1, 2]), 2, PolicyLossConfig(normalization="sequence")).tolist()
        [[1.0, 0.0], [0.5, 0.5]]
    """
    divisor_N = {
        "token": np.ones(len(length_N)),
        "sequence": length_N,
        "constant": np.full(len(length_N), config.max_response),
    }[config.normalization]
    return (token_mask(length_N, tokens) / divisor_N[:, None]).astype(np.float32)


def policy_objective(apply: PolicyApply, config: PolicyLossConfig, kl: KLConfig) -> LossFn:
    """Clipped policy loss with value loss, entropy bonus and, if it is placed here, a KL penalty.

        Σ_t w_t (policy_loss + value_coef · value_loss - entropy_coef · entropy + β · estimator)
        / number of tokens (`token`) or of responses (`sequence`, `constant`)

    `batch.per_token` has `weight` (from `token_weights`), `old_logprob`, `advantage`, and the arrays of the terms in
    use: `old_value` and `return` with a value function, `ref_logprob` with a KL penalty in the loss.

    Reports `loss`, and as means over tokens `pg_loss`, `pg_clipfrac`, `approxkl`, `entropy`, `ratio`, and with a value
    function `vf_loss`.
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        given = {name: jnp.asarray(array) for name, array in batch.per_token.items()}
        answered = jnp.asarray(batch.segments_RxL != batch.prompt_segments_RxL)
        out, old = apply(params, batch), given["old_logprob"]
        logprob = jnp.where(answered, out.logprob, old)
        terms = {"pg_loss": losses.policy_loss(logprob, old, given["advantage"], clip=config.clip)}
        total = terms["pg_loss"]
        if config.value_coef:
            terms["vf_loss"] = losses.value_loss(out.value, given["old_value"], given["return"], clip=config.value_clip)
            total = total + config.value_coef * terms["vf_loss"]
        if config.entropy_coef:
            total = total - config.entropy_coef * out.entropy
        if kl.placement == "loss" and kl.coef:
            total = total + kl.coef * {"k2": k2, "k3": k3}[kl.estimator](logprob, given["ref_logprob"])
        terms |= {
            "pg_clipfrac": losses.clipped(logprob, old, given["advantage"], clip=config.clip),
            "approxkl": losses.approximate_kl(logprob, old),
            "entropy": out.entropy,
            "ratio": jnp.exp(logprob - old),
        }
        mask = answered.astype(jnp.float32)
        tokens = jnp.sum(mask)
        numerator = jnp.sum(given["weight"] * total)
        weight = tokens if config.normalization == "token" else jnp.sum(jnp.asarray(batch.responses.response_mask_N))
        sums = {"weight": weight, "loss": numerator}
        for name, term in terms.items():
            sums |= {name: jnp.sum(mask * term), f"{name}_weight": tokens}
        return numerator, sums

    return loss_fn
