"""Attention over packed rows: what a token may see, where it stands, and the mixing itself."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rmjax.data.batch import PackedBatch
from rmjax.models.block_sparse_attention import TILE, block_sparse_attention
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import Norm
from rmjax.models.linear import Linear
from rmjax.models.mask import MASKED, AttentionSpec, TokenIndex, attention_mask


class PackedContext(NamedTuple):
    """What all layers share about a batch.

    Attributes:
        segments_RxL: int32, see `PackedBatch`.
        prompt_segments_RxL: int32.
        positions_RxL: int32.
        cosine: `[R, L, 1, T/2] float32` of the rotary angles, T the channels that turn; None for learned positions.
        sine: as `cosine`.
    """

    segments_RxL: Array
    prompt_segments_RxL: Array
    positions_RxL: Array
    cosine: Array | None
    sine: Array | None


def packed_context(batch: PackedBatch, config: TransformerConfig) -> PackedContext:
    """The view of a batch that a trunk of this configuration has."""
    cosine, sine = rotary(batch.positions_RxL, config) if config.positions == "rotary" else (None, None)
    return PackedContext(batch.segments_RxL, batch.prompt_segments_RxL, batch.positions_RxL, cosine, sine)


def rotary(positions_RxL: Array, config: TransformerConfig) -> tuple[Array, Array]:
    """Cosines and sines `[R, L, 1, T/2] float32` of the rotary angles."""
    angles = positions_RxL[:, :, None, None].astype(jnp.float32) * frequencies(config)[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def frequencies(config: TransformerConfig) -> np.ndarray:
    """`[T/2] float32`, radians a token that each pair of channels turns.

    Computed in float64: a power in float32 has an error that grows with the position it is multiplied by.
    """
    turned = config.rotary_dim or config.head_dim
    plain = config.rope_theta ** (-np.arange(0, turned, 2) / turned)
    scaling = config.rope_scaling
    if scaling is None:
        return plain.astype(np.float32)
    if not scaling.original_positions:
        return (plain / scaling.factor).astype(np.float32)
    turns = scaling.original_positions * plain / (2 * np.pi)  # within the original context
    keep = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return (plain * (keep + (1 - keep) / scaling.factor)).astype(np.float32)


def rotate(x: Array, cosine: Array, sine: Array) -> Array:
    """Rotates the halves of the first channels against each other, as Hugging Face checkpoints expect.

    Channels beyond those that `cosine` speaks of stay as they are.
    """
    half = cosine.shape[-1]
    a, b, rest = jnp.split(x.astype(jnp.float32), [half, 2 * half], axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine, rest], axis=-1).astype(x.dtype)


def uses_dense_attention() -> bool:
    """Whether attention computes the whole square of a row, so that rows should be short.

    Chosen by measurement (benchmarks/RESULTS.md): tiles on a CPU; elsewhere what XLA makes of the whole square.
    """
    return jax.default_backend() != "cpu"


class Attention(nn.Module):
    """Grouped-query attention over packed rows, softmax in float32."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, seen: PackedContext, local: Array) -> Array:
        c = self.config
        R, L, _ = x.shape

        def project(name: str, heads: int) -> Array:
            projected = Linear(heads * c.head_dim, self.dtype, c.query_bias, name=name)(x)
            return projected.reshape(R, L, heads, c.head_dim)

        q, k, v = project("query", c.heads), project("key", c.kv_heads), project("value", c.kv_heads)
        if c.qk_norm:
            q, k = Norm(c, self.dtype, name="query_norm")(q), Norm(c, self.dtype, name="key_norm")(k)
        if seen.cosine is not None:
            q, k = rotate(q, seen.cosine, seen.sine), rotate(k, seen.cosine, seen.sine)
        places = TokenIndex(seen.segments_RxL, seen.prompt_segments_RxL, seen.positions_RxL, local)
        rule = AttentionSpec(c.causal, c.window if any(c.local_layers) else 0, c.attention_cap)
        mixed = (attention if L % TILE or uses_dense_attention() else block_sparse_attention)(
            q * (c.attention_scale or c.head_dim**-0.5), k, v, places, rule
        )
        # Residual branches start small in deep trunks, so that the stream keeps its scale (Radford et al. 2019).
        return Linear(c.width, self.dtype, c.out_bias, 0.5 / c.layers, name="out")(mixed.reshape(R, L, -1))


def attention(q: Array, k: Array, v: Array, places: TokenIndex, rule: AttentionSpec) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and keys and values `[R, L, G, C]` -> `[R, L, H, C]`."""
    R, L, H, C = q.shape
    G = k.shape[2]
    at = jnp.arange(L, dtype=jnp.int32)[None]
    mask_RxQxK = attention_mask(places.as_queries(), places.as_keys(), at[:, :, None], at[:, None, :], rule)
    logits = jnp.einsum("rqghc,rkgc->rghqk", q.reshape(R, L, G, H // G, C), k, preferred_element_type=jnp.float32)
    if rule.cap:
        logits = rule.cap * jnp.tanh(logits / rule.cap)
    weights = jax.nn.softmax(jnp.where(mask_RxQxK[:, None, None], logits, MASKED), axis=-1)
    return jnp.einsum("rghqk,rkgc->rqghc", weights.astype(v.dtype), v).reshape(q.shape)
