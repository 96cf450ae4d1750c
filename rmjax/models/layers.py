"""Norms and the MLP of a trunk."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.models.config import TransformerConfig
from rmjax.models.linear import Linear

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": nn.silu,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": nn.gelu,
    "tanh": jnp.tanh,
    "relu": nn.relu,
}


def replicate_activations(x: Array) -> Array:
    """Returns x, replicated on all devices that share a shard of the batch, if a mesh is in use; see `Sharded`.

    Without this constraint XLA shards the activations like the embedding table, and every device computes the tokens of
    all shards with its part of each matrix.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*(None for _ in x.shape)))


class Norm(nn.Module):
    """The configuration's norm over the last axis; see `normalize`."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        # The stored value is scale - offset, so that training and weight decay act on the difference.
        scale = self.param("scale", nn.initializers.constant(1.0 - c.norm_offset), (x.shape[-1],), jnp.float32)
        bias = None
        if c.norm == "layer":
            bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return normalize(x, scale, bias, c.norm_eps, c.norm_offset).astype(self.dtype)


@functools.partial(jax.checkpoint, static_argnums=(3, 4), prevent_cse=False)
def normalize(x: Array, scale: Array, bias: Array | None, eps: float, offset: float) -> Array:
    """x / rms(x) * (scale + offset), or with a bias (x - mean) / std * (scale + offset) + bias, in float32.

    Only x is stored for the backward pass: computing the intermediate values again is cheaper than memory traffic.
    """
    along = tuple(range(x.ndim - 1))
    x = x.astype(jnp.float32)
    if bias is not None:
        x = x - jnp.mean(x, -1, keepdims=True)
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + eps)
    x = x * jnp.expand_dims(scale.astype(jnp.float32) + offset, along)
    return x if bias is None else x + jnp.expand_dims(bias.astype(jnp.float32), along)


class MLP(nn.Module):
    """down(activation(gate(x)) * up(x)), or without a gate down(activation(up(x)))."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        up = Linear(c.mlp_width, self.dtype, c.mlp_bias, lora=c.lora, name="up")(x)
        gate = Linear(c.mlp_width, self.dtype, c.mlp_bias, lora=c.lora, name="gate")(x) if c.gated else None
        inner = activate(up, gate, c.activation)
        return Linear(c.width, self.dtype, c.mlp_bias, 0.5 / c.layers, c.lora, name="down")(inner)


@functools.partial(jax.checkpoint, static_argnums=(2,), prevent_cse=False)
def activate(up: Array, gate: Array | None, activation: str) -> Array:
    """activation(gate) * up, or activation(up) without a gate; recomputed in the backward pass, as in `normalize`."""
    return ACTIVATIONS[activation](up) if gate is None else ACTIVATIONS[activation](gate) * up
