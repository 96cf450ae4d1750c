"""Attention over packed rows: what a token may see, where it stands, and the mixing itself."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.packing import PackedBatch
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import Norm, dense

# Far below any logit, yet finite: a row of padding then gives a uniform softmax instead of NaN.
MASKED = -1e30


class View(NamedTuple):
    """What all layers share about a batch.

    Attributes:
        visible_RxLxL: bool, which token (last axis) a query may see.
        near_RxLxL: bool, the same within the window of the local layers; None where there are none.
        cosine: `[R, L, 1, T/2] float32` of the rotary angles, T the channels that turn; None for learned positions.
        sine: as `cosine`.
    """

    visible_RxLxL: Array
    near_RxLxL: Array | None
    cosine: Array | None
    sine: Array | None


def view(batch: PackedBatch, config: TransformerConfig) -> View:
    """The view of a batch that a trunk of this configuration has."""
    seen, near = visible(batch, causal=config.causal), None
    if any(config.local_layers):
        # Positions, not offsets: what lies between a response and its prompt in the row is not between them.
        distance = batch.positions_RxL[:, :, None] - batch.positions_RxL[:, None, :]
        near = seen & (distance < config.window)
    cosine, sine = rotary(batch.positions_RxL, config) if config.positions == "rotary" else (None, None)
    return View(seen, near, cosine, sine)


def visible(batch: PackedBatch, *, causal: bool) -> Array:
    """`[R, L, L] bool`: which token a query may see.

    Its own segment and its own prompt, never what comes later; for an encoder, whose rows hold one response behind
    each prompt, all of both.
    """
    if not causal:
        return batch.parents_RxL[:, :, None] == batch.parents_RxL[:, None, :]
    own_RxQxK = batch.segments_RxL[:, :, None] == batch.segments_RxL[:, None, :]
    prompt_RxQxK = batch.parents_RxL[:, :, None] == batch.segments_RxL[:, None, :]
    L = batch.segments_RxL.shape[-1]
    return (own_RxQxK | prompt_RxQxK) & jnp.tril(jnp.ones((1, L, L), bool))


def rotary(positions_RxL: Array, config: TransformerConfig) -> tuple[Array, Array]:
    """Cosines and sines `[R, L, 1, T/2] float32` of the rotary angles."""
    angles = positions_RxL[:, :, None, None].astype(jnp.float32) * frequencies(config)[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def frequencies(config: TransformerConfig) -> Array:
    """`[T/2] float32`, radians a token that each pair of channels turns."""
    turned = config.rotary_dim or config.head_dim
    plain = config.rope_theta ** (-jnp.arange(0, turned, 2, dtype=jnp.float32) / turned)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    if not scaling.original_positions:
        return plain / scaling.factor
    turns = scaling.original_positions * plain / (2 * jnp.pi)  # within the original context
    keep = jnp.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return plain * (keep + (1 - keep) / scaling.factor)


def rotate(x: Array, cosine: Array, sine: Array) -> Array:
    """Rotates the halves of the first channels against each other, as Hugging Face checkpoints expect.

    Channels beyond those that `cosine` speaks of stay as they are.
    """
    half = cosine.shape[-1]
    a, b, rest = jnp.split(x.astype(jnp.float32), [half, 2 * half], axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine, rest], axis=-1).astype(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention over packed rows, softmax in float32."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, seen: View, local: Array) -> Array:
        c = self.config
        R, L, _ = x.shape

        def project(name: str, heads: int) -> Array:
            projected = dense(heads * c.head_dim, name, self.dtype, bias=c.query_bias)(x)
            return projected.reshape(R, L, heads, c.head_dim)

        q, k, v = project("query", c.heads), project("key", c.kv_heads), project("value", c.kv_heads)
        if c.qk_norm:
            q, k = Norm(c, self.dtype, name="query_norm")(q), Norm(c, self.dtype, name="key_norm")(k)
        if seen.cosine is not None:
            q, k = rotate(q, seen.cosine, seen.sine), rotate(k, seen.cosine, seen.sine)
        mask = seen.visible_RxLxL
        if seen.near_RxLxL is not None:
            mask = jnp.where(local, seen.near_RxLxL, mask)
        mixed = mix(q * (c.attention_scale or c.head_dim**-0.5), k, v, mask, c.attention_cap)
        # Residual branches start small in deep trunks, so that the stream keeps its scale (Radford et al. 2019).
        return dense(c.width, "out", self.dtype, bias=c.out_bias, scale=0.5 / c.layers)(mixed)


def mix(q: Array, k: Array, v: Array, visible_RxLxL: Array, cap: float) -> Array:
    """softmax(q·k) v: queries `[R, L, H, C]`, keys and values `[R, L, G, C]` -> `[R, L, H * C]`."""
    R, L, H, C = q.shape
    G = k.shape[2]
    q = q.reshape(R, L, G, H // G, C)
    logits = jnp.einsum("rqghc,rkgc->rghqk", q, k, preferred_element_type=jnp.float32)
    if cap:
        logits = cap * jnp.tanh(logits / cap)
    weights = jax.nn.softmax(jnp.where(visible_RxLxL[:, None, None], logits, MASKED), axis=-1)
    mixed = jnp.einsum("rghqk,rkgc->rqghc", weights.astype(v.dtype), v)
    return mixed.reshape(R, L, H * C)
