"""Losses of a policy and its value function, one number per token: pure functions of float32 arrays.

The caller applies masks, weights, means and coefficients. All arrays have one shape, for example `[R, L]`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rmjax.data.batch import AnyArray


def policy_loss(logprob: jax.Array, old_logprob: AnyArray, advantage: AnyArray, *, clip: float) -> jax.Array:
    """-min(A ρ, A clip(ρ, 1 - c, 1 + c)) with the ratio ρ = π / π_old.

    Args:
        logprob: log-probability of the sampled token under the policy.
        old_logprob: the same under the policy that sampled.
        advantage: A.
        clip: c; 0 for no clipping, where the loss is -A ρ.

    Example:
        At a ratio of 1.5 the gain of a good token is bounded to 1.2; the loss of a bad one is not.

        >>> ratio = jnp.log(jnp.array([1.5, 1.5, 0.5]))
        >>> loss = policy_loss(ratio, jnp.zeros(3), jnp.array([1.0, -1.0, -1.0]), clip=0.2)
        >>> [round(x, 4) for x in loss.tolist()]
        [-1.2, 1.5, 0.8]

    Source: Schulman et al. (1707.06347), equation 7.
    """
    ratio = jnp.exp(logprob - old_logprob)
    gain = ratio * advantage
    return -jnp.minimum(gain, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage) if clip else -gain


def clipped(logprob: jax.Array, old_logprob: AnyArray, advantage: AnyArray, *, clip: float) -> jax.Array:
    """1 where the clipping of `policy_loss` has set the gradient to 0, else 0; its mean is `pg_clipfrac`.

    Example:
        >>> ratio = jnp.log(jnp.array([1.5, 1.5, 0.5]))
        >>> clipped(ratio, jnp.zeros(3), jnp.array([1.0, -1.0, -1.0]), clip=0.2).tolist()
        [1.0, 0.0, 1.0]
    """
    if not clip:
        return jnp.zeros_like(logprob)
    ratio = jnp.exp(logprob - old_logprob)
    return (jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage < ratio * advantage).astype(jnp.float32)


def value_loss(value: jax.Array, old_value: AnyArray, target: AnyArray, *, clip: float) -> jax.Array:
    """max((V - G)², (V_c - G)²) / 2 with V_c = clip(V, V_old - c, V_old + c).

    Args:
        value: V of the state before the token.
        old_value: the same when the response was sampled.
        target: the return G.
        clip: c; 0 for no clipping.

    Example:
        >>> round(float(value_loss(jnp.array(1.0), jnp.array(0.0), jnp.array(2.0), clip=0.2)), 4)
        1.62

    Source: the implementation of PPO (Schulman et al. 1707.06347); value range 0.2 in Ziegler et al. (1909.08593).
    """
    loss = jnp.square(value - target)
    if clip:
        bounded = old_value + jnp.clip(value - old_value, -clip, clip)
        loss = jnp.maximum(loss, jnp.square(bounded - target))
    return 0.5 * loss


def entropy(logits: jax.Array) -> jax.Array:
    """-Σ_a π(a) log π(a) in nats, from logits `[..., V]`.

    Example:
        >>> round(float(entropy(jnp.zeros(8))), 4)  # log 8
        2.0794
    """
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def approximate_kl(logprob: jax.Array, old_logprob: AnyArray) -> jax.Array:
    """(log π - log π_old)² / 2: how far the updates of an iteration have moved the policy; its mean is `approxkl`.

    Example:
        >>> approximate_kl(jnp.array([1.0]), jnp.array([0.5])).tolist()
        [0.125]

    Source: k2 of Schulman (2020); reported under this name by Ziegler et al. and Huang et al. (2403.17031).
    """
    return 0.5 * jnp.square(logprob - old_logprob)
