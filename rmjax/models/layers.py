"""The small parts of a trunk: linear maps, norms, the MLP."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.models.config import TransformerConfig

ACTIVATIONS = {
    "silu": nn.silu,
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": nn.gelu,
    "tanh": jnp.tanh,
    "relu": nn.relu,
}


def dense(features: int, name: str | None, dtype: jnp.dtype, *, bias: bool = False, scale: float = 1.0) -> nn.Dense:
    """A linear map, its kernel drawn with variance scale / inputs."""
    init = nn.initializers.variance_scaling(scale, "fan_in", "normal")
    return nn.Dense(features, use_bias=bias, dtype=dtype, kernel_init=init, name=name)


class Norm(nn.Module):
    """The configuration's norm over the last axis, computed in float32.

    `rms`: x / rms(x) * scale. `layer`: (x - mean) / std * scale + bias.
    """

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        along = tuple(range(x.ndim - 1))
        # With an offset the stored value is the difference from it, so that training and weight decay act on that.
        scale = self.param("scale", nn.initializers.constant(1.0 - c.norm_offset), (x.shape[-1],), jnp.float32)
        x = x.astype(jnp.float32)
        if c.norm == "layer":
            x = x - jnp.mean(x, -1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + c.norm_eps)
        x = x * jnp.expand_dims(scale.astype(jnp.float32) + c.norm_offset, along)
        if c.norm == "layer":
            bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
            x = x + jnp.expand_dims(bias.astype(jnp.float32), along)
        return x.astype(self.dtype)


class MLP(nn.Module):
    """down(activation(gate(x)) * up(x)), or without a gate down(activation(up(x)))."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        activation = ACTIVATIONS[c.activation]
        up = dense(c.mlp_width, "up", self.dtype, bias=c.mlp_bias)(x)
        if c.gated:
            inner = activation(dense(c.mlp_width, "gate", self.dtype, bias=c.mlp_bias)(x)) * up
        else:
            inner = activation(up)
        return dense(c.width, "down", self.dtype, bias=c.mlp_bias, scale=0.5 / c.layers)(inner)
