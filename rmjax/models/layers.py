"""The small parts of a trunk: linear maps, norms, the MLP."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

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
    dot = _dot_in_bfloat16 if dtype == jnp.bfloat16 and widens_bfloat16() else None
    return nn.Dense(features, use_bias=bias, dtype=dtype, kernel_init=init, name=name, dot_general=dot)


def widens_bfloat16() -> bool:
    """Whether XLA computes products of bfloat16 in float32 unless it is told otherwise."""
    return jax.default_backend() == "cpu"


# What a product is called for `REMAT`, whose policies do not look into it.
LINEAR = "linear"


def _dot_in_bfloat16(x: Array, kernel: Array, *_: object, **__: object) -> Array:
    """`[..., I] x [I, O] -> [..., O]`, as linen calls for it; see `product_in_bfloat16`."""
    out = product_in_bfloat16(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], -1)
    return checkpoint_name(out, LINEAR)


@jax.custom_vjp
def product_in_bfloat16(x: Array, kernel: Array) -> Array:
    """x @ kernel of bfloat16 matrices `[T, I]` and `[I, O]`, summed in float32 and rounded once, backwards too.

    XLA widens a bfloat16 product on a CPU, and gives it to the matrix unit only if its result is asked for in float32;
    what it derives for the backward pass would have float32 operands again.
    """
    return _narrow_dot(x, kernel, ((1,), (0,)))


def _narrow_dot(a: Array, b: Array, contracted: tuple[tuple[int], tuple[int]]) -> Array:
    return jax.lax.dot_general(a, b, (contracted, ((), ())), preferred_element_type=jnp.float32).astype(a.dtype)


product_in_bfloat16.defvjp(
    lambda x, kernel: (product_in_bfloat16(x, kernel), (x, kernel)),
    lambda kept, d_out: (_narrow_dot(d_out, kept[1], ((1,), (1,))), _narrow_dot(kept[0], d_out, ((0,), (0,)))),
)


def keep_whole(x: Array) -> Array:
    """x, held by every device of a batch's shard in full, where a mesh of devices is in use; see `Sharded`.

    Without being told, XLA cuts the residual stream as the embedding table is cut, and has every device compute the
    tokens of all others with its part of each matrix.
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
        # With an offset the stored value is the difference from it, so that training and weight decay act on that.
        scale = self.param("scale", nn.initializers.constant(1.0 - c.norm_offset), (x.shape[-1],), jnp.float32)
        bias = None
        if c.norm == "layer":
            bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return normalize(x, scale, bias, c.norm_eps, c.norm_offset).astype(self.dtype)


@functools.partial(jax.checkpoint, static_argnums=(3, 4), prevent_cse=False)
def normalize(x: Array, scale: Array, bias: Array | None, eps: float, offset: float) -> Array:
    """x / rms(x) * (scale + offset), or with a bias (x - mean) / std * (scale + offset) + bias, in float32.

    Only x is kept for the backward pass: what lies between is cheaper to compute again than to store and read.
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
        up = dense(c.mlp_width, "up", self.dtype, bias=c.mlp_bias)(x)
        gate = dense(c.mlp_width, "gate", self.dtype, bias=c.mlp_bias)(x) if c.gated else None
        inner = activate(up, gate, c.activation)
        return dense(c.width, "down", self.dtype, bias=c.mlp_bias, scale=0.5 / c.layers)(inner)


@functools.partial(jax.checkpoint, static_argnums=(2,), prevent_cse=False)
def activate(up: Array, gate: Array | None, activation: str) -> Array:
    """activation(gate) * up, or activation(up) without a gate; computed again backwards, as `normalize`."""
    return ACTIVATIONS[activation](up) if gate is None else ACTIVATIONS[activation](gate) * up
