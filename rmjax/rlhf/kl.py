"""KL divergence of a policy from its reference: estimators, where they are used, and the coefficient.

For a token a that was sampled from π, let k1 = log π(a) - log π_ref(a). A whole response has the reverse KL divergence
KL(π || π_ref) = E[Σ_t k1_t]. The expected gradient of an estimator depends on where it is used:

    estimator  in the reward                            in the loss
    k1         that of the reverse KL: the default      0
    k2         0 to first order where π is near π_ref   that of the reverse KL of each token, see below
    k3         as k2                                    that of the forward KL of each token: biased

In the loss, an estimator is differentiated at the tokens that were sampled, so it does not see that a token changes the
KL divergence of the tokens after it. For responses of one token, k2 in the loss has exactly the gradient of the reverse
KL divergence. For longer ones the gradient is that of Σ_t KL_t with the distribution of the prefixes held constant.
k1 in the reward has no such error, because the advantage of a token contains the later rewards.

Sources: Schulman (2020), http://joschu.net/blog/kl-approx.html; 2510.01555 on the place of the estimators; Tang & Munos
(2506.09477) on the gradient over a sequence. `tests/rlhf/test_kl_gradients.py` measures every entry of the table.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import AnyArray
from rmjax.errors import InputError

ESTIMATORS = ("k1", "k2", "k3")
PLACEMENTS = ("reward", "loss")
# Ziegler et al. bound the relative error of the measured divergence to this.
ERROR_LIMIT = 0.2
WRONG = {
    ("loss", "k1"): "the expected gradient of k1 in the loss is 0, so nothing holds the policy near its reference",
    ("reward", "k2"): "the expected gradient of k2 in the reward is 0 near the reference",
    ("reward", "k3"): "the expected gradient of k3 in the reward is 0 near the reference",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KLConfig:
    """Settings of the KL penalty.

    k3 in the loss (the habit of GRPO) is allowed, but it is biased: its expected gradient is that of the forward
    KL divergence of each token. `bias` names that in one sentence, for the log.

    Attributes:
        coef: coefficient β >= 0, or its first value if it is adaptive; 0 for no penalty.
        placement: `reward` subtracts β k1 from the reward of every token; `loss` adds β times the estimator to the
            loss of every token.
        estimator: k1 in the reward; k2 or k3 in the loss.
        target: KL divergence in nats per response that an adaptive coefficient aims at; 0 for a fixed coefficient.
        horizon: number of responses in which an adaptive coefficient can change by about 20 %. It must be more than a
            fifth of the responses of an iteration, or the coefficient could become negative.

    Raises:
        InputError: a number is out of range, or the estimator has a wrong gradient at its place.
    """

    coef: float = 0.05
    placement: str = "reward"
    estimator: str = "k1"
    target: float = 0.0
    horizon: int = 10_000

    def __post_init__(self) -> None:
        for field, known in (("placement", PLACEMENTS), ("estimator", ESTIMATORS)):
            if getattr(self, field) not in known:
                raise InputError(f"kl.{field} must be one of {', '.join(known)}, found {getattr(self, field)!r}")
        if not 0 <= self.coef < math.inf:
            raise InputError(f"kl.coef must not be negative, found {self.coef}")
        if not 0 <= self.target < math.inf or self.horizon < 1:
            raise InputError(
                f"kl.target must not be negative and kl.horizon must be positive, found {self.target} and "
                f"{self.horizon}"
            )
        if reason := WRONG.get((self.placement, self.estimator)):
            raise InputError(f"{reason}: set kl.placement=reward with kl.estimator=k1, or kl.placement=loss with k2")
        if self.target and (self.placement == "loss" or not self.coef):
            raise InputError("an adaptive coefficient needs kl.placement=reward and a positive kl.coef to begin with")

    @property
    def bias(self) -> str:
        """One sentence on the error of the expected gradient, or "" if it has none."""
        if not self.coef or self.placement == "reward":
            return ""
        if self.estimator == "k2":
            return "k2 in the loss ignores that a token changes the KL divergence of the tokens after it"
        return "k3 in the loss has the gradient of the forward KL divergence of each token, not of the reverse one"


def k1(logprob: jax.Array, ref_logprob: AnyArray) -> jax.Array:
    """log π - log π_ref: unbiased, of high variance, often negative.

    Example:
        >>> k1(np.log([0.5, 0.25]), np.log([0.25, 0.5])).round(4).tolist()
        [0.6931, -0.6931]

    Source: Schulman (2020).
    """
    return logprob - ref_logprob


def k2(logprob: jax.Array, ref_logprob: AnyArray) -> jax.Array:
    """(log π - log π_ref)² / 2: biased, of low variance, never negative.

    Example:
        >>> k2(np.log([0.5, 0.25]), np.log([0.25, 0.5])).round(4).tolist()
        [0.2402, 0.2402]

    Source: Schulman (2020).
    """
    return 0.5 * (logprob - ref_logprob) ** 2


def k3(logprob: jax.Array, ref_logprob: AnyArray) -> jax.Array:
    """r - 1 - log r with r = π_ref / π: unbiased as a number, of low variance, never negative.

    Example:
        >>> [round(x, 4) for x in k3(jnp.log(jnp.array([0.5, 0.25])), jnp.log(jnp.array([0.25, 0.5]))).tolist()]
        [0.1931, 0.3069]

    Source: Schulman (2020).
    """
    log_ratio = -(logprob - ref_logprob)
    return jnp.expm1(log_ratio) - log_ratio


def exact_kl(logits: jax.Array, ref_logits: jax.Array) -> jax.Array:
    """Σ_a π(a) (log π(a) - log π_ref(a)) in nats, from logits `[..., V]`.

    Example:
        (1/2) log 2 + (1/2) log(2/3) for the probabilities 1/2, 1/2 and 1/4, 3/4.

        >>> round(float(exact_kl(jnp.zeros(2), jnp.log(jnp.array([0.25, 0.75])))), 4)
        0.1438
    """
    log_p, log_q = jax.nn.log_softmax(logits), jax.nn.log_softmax(ref_logits)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


class KLEstimate(NamedTuple):
    """Mean KL divergence of whole responses, in nats per response.

    Attributes:
        mean: the mean of Σ_t k1_t. It can be negative by chance; see `error`.
        error: its standard error.
        k3: the mean of Σ_t k3_t, which is never negative.
    """

    mean: float
    error: float
    k3: float


def estimate_kl(logprob_NxT: np.ndarray, ref_logprob_NxT: np.ndarray, mask_NxT: np.ndarray) -> KLEstimate:
    """Returns the mean KL divergence of N sampled responses with its standard error.

    Args:
        logprob_NxT: log-probabilities of the sampled tokens under the policy.
        ref_logprob_NxT: the same under the reference.
        mask_NxT: True at the tokens of the responses.

    Example:
        >>> logprob, ref_logprob = np.log([[0.5, 0.5], [0.25, 0.9]]), np.log([[0.25, 0.25], [0.5, 0.9]])
        >>> [round(x, 4) for x in estimate_kl(logprob, ref_logprob, np.ones((2, 2), bool))]
        [0.3466, 1.0397, 0.3466]
    """
    difference = np.where(mask_NxT, logprob_NxT.astype(np.float64) - ref_logprob_NxT, 0.0)
    sum_N = difference.sum(1)
    error = sum_N.std(ddof=1) / math.sqrt(len(sum_N)) if len(sum_N) > 1 else math.nan
    third = (np.expm1(-difference) + difference).sum(1).mean()
    return KLEstimate(float(sum_N.mean()), float(error), float(third))


def next_coefficient(config: KLConfig, coef: float, kl: float, responses: int) -> float:
    """Returns the coefficient for the next iteration; a fixed one is `config.coef`.

    coef · (1 + e · responses / horizon),    e = kl / target - 1, clipped to [-0.2, 0.2].

    Args:
        config: the settings.
        coef: the coefficient of this iteration.
        kl: the divergence that this iteration measured, in nats per response.
        responses: responses of this iteration.

    Example:
        A divergence of twice the target is an error of 0.2 after clipping.

        >>> next_coefficient(KLConfig(coef=0.15, target=6.0, horizon=1000), 0.15, 12.0, 500)
        0.165

    Raises:
        InputError: the horizon is so short that the coefficient could become negative.

    Source: Ziegler et al. (1909.08593), section 2.2; with the horizon of their code.
    """
    if not config.target:
        return config.coef
    if ERROR_LIMIT * responses >= config.horizon:
        raise InputError(
            f"algorithm.kl.horizon={config.horizon} is too short for {responses} responses an iteration: set it above "
            f"{ERROR_LIMIT * responses:.0f}"
        )
    error = min(max(kl / config.target - 1.0, -ERROR_LIMIT), ERROR_LIMIT)
    return coef * (1.0 + error * responses / config.horizon)
