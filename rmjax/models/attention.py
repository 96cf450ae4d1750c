"""Attention over packed rows: rotary positions and the attention module."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rmjax.models.block_sparse_attention import TILE, block_sparse_attention
from rmjax.models.cache import write_entries
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import Norm
from rmjax.models.linear import Linear
from rmjax.models.mask import MASKED, AttentionSpec, TokenContext, attention_mask

# Keys and values of one layer.
KeysValues = tuple[Array, Array]


class LayerContext(NamedTuple):
    """Inputs that are the same for all layers.

    Attributes:
        tokens: context of the tokens, `[R, L]` each.
        rotation: cosines and sines of the rotary angles (see `rotary`); None for learned positions.
        entries: context of the cache's entries, `[R, E]` each, the new tokens included; None without a cache.
        index_RxL: int32, the entry of each token; None without a cache.
    """

    tokens: TokenContext
    rotation: tuple[Array, Array] | None
    entries: TokenContext | None
    index_RxL: Array | None


def layer_context(
    tokens: TokenContext,
    config: TransformerConfig,
    entries: TokenContext | None = None,
    index_RxL: Array | None = None,
) -> LayerContext:
    """Returns the inputs that all layers of a trunk share."""
    rotation = rotary(tokens.positions, config) if config.positions == "rotary" else None
    return LayerContext(tokens, rotation, entries, index_RxL)


def rotary(positions_RxL: Array, config: TransformerConfig) -> tuple[Array, Array]:
    """Returns cosines and sines `[R, L, 1, rotary channels / 2] float32` of the rotary angles."""
    angles = positions_RxL[:, :, None, None].astype(jnp.float32) * frequencies(config)[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def frequencies(config: TransformerConfig) -> np.ndarray:
    """Returns `[rotary channels / 2] float32`: radians per position of each pair of channels.

    Computed in float64: an error of the frequency in float32 is multiplied by the position.
    """
    channels = config.rotary_dim or config.head_dim
    unscaled = config.rope_theta ** (-np.arange(0, channels, 2) / channels)
    scaling = config.rope_scaling
    if scaling is None:
        return unscaled.astype(np.float32)
    if not scaling.original_positions:
        return (unscaled / scaling.factor).astype(np.float32)
    cycles = scaling.original_positions * unscaled / (2 * np.pi)  # within the original context
    keep = np.clip((cycles - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return (unscaled * (keep + (1 - keep) / scaling.factor)).astype(np.float32)


def apply_rotary(x: Array, cosine: Array, sine: Array) -> Array:
    """Rotates channel c of each head with channel c + rotary channels / 2, as Hugging Face checkpoints expect.

    Channels after the rotary ones do not change.
    """
    half = cosine.shape[-1]
    a, b, rest = jnp.split(x.astype(jnp.float32), [half, 2 * half], axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine, rest], axis=-1).astype(x.dtype)


def uses_dense_attention() -> bool:
    """Returns True if attention computes all L x L pairs of tokens of a row, so that rows should be short.

    A CPU uses the block-sparse attention: forward and backward over 12 rows of 512 tokens took 130 ms, the dense one
    403 ms (benchmarks/RESULTS.md). A GPU or TPU uses the dense one: no fused attention is built for them, and none was
    measured.
    """
    return jax.default_backend() != "cpu"


class Attention(nn.Module):
    """Grouped-query attention over packed rows or over a cache, softmax in float32.

    Takes the layer's keys and values `[R, E, G, C]` of the cache, or None. With a cache it also returns the keys and
    values of the new tokens, `[R, L, G, C]`.
    """

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: Array, context: LayerContext, local: Array, cached: KeysValues | None
    ) -> tuple[Array, KeysValues | None]:
        c = self.config
        R, L, _ = x.shape

        def project(name: str, heads: int) -> Array:
            projected = Linear(heads * c.head_dim, self.dtype, c.query_bias, name=name)(x)
            return projected.reshape(R, L, heads, c.head_dim)

        q, k, v = project("query", c.heads), project("key", c.kv_heads), project("value", c.kv_heads)
        if c.qk_norm:
            q, k = Norm(c, self.dtype, name="query_norm")(q), Norm(c, self.dtype, name="key_norm")(k)
        if context.rotation is not None:
            q, k = apply_rotary(q, *context.rotation), apply_rotary(k, *context.rotation)
        spec = AttentionSpec(c.causal, c.window if any(c.local_layers) else 0, c.attention_cap)
        q = q * (c.attention_scale or c.head_dim**-0.5)
        if cached is not None:
            mixed = cached_attention(q, k, v, cached, context, local, spec)
        elif L % TILE or uses_dense_attention():
            mixed = dense_attention(q, k, v, context.tokens, local, spec)
        else:
            mixed = block_sparse_attention(q, k, v, context.tokens, local, spec)
        # Residual branches start small in deep trunks, so that the stream keeps its scale (Radford et al. 2019).
        out = Linear(c.width, self.dtype, c.out_bias, 0.5 / c.layers, name="out")(mixed.reshape(R, L, -1))
        return out, None if cached is None else (k, v)


def dense_attention(q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and keys and values `[R, L, G, C]` -> `[R, L, H, C]`."""
    index = jnp.arange(q.shape[1], dtype=jnp.int32)[None]
    mask = attention_mask(context.as_queries(), context.as_keys(), index[:, :, None], index[:, None, :], local, spec)
    return masked_attention(q, k, v, mask, spec.cap)


def cached_attention(
    q: Array, k: Array, v: Array, cached: KeysValues, context: LayerContext, local: Array, spec: AttentionSpec
) -> Array:
    """softmax(q·k) v of the new tokens `[R, L, ...]` over the entries of the cache and themselves -> `[R, L, H, C]`."""
    assert context.entries is not None  # all layers have a cache
    assert context.index_RxL is not None
    keys, values = (write_entries(old, new, context.index_RxL) for old, new in zip(cached, (k, v), strict=True))
    index_E = jnp.arange(keys.shape[1], dtype=jnp.int32)[None, None]
    queries, entries = context.tokens.as_queries(), context.entries.as_keys()
    mask = attention_mask(queries, entries, context.index_RxL[:, :, None], index_E, local, spec)
    return masked_attention(q, keys, values, mask, spec.cap)


def masked_attention(q: Array, k: Array, v: Array, mask_RxLxE: Array, cap: float) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and E keys and values `[R, E, G, C]` -> `[R, L, H, C]`."""
    R, L, H, C = q.shape
    G = k.shape[2]
    logits = jnp.einsum("rqghc,rkgc->rghqk", q.reshape(R, L, G, H // G, C), k, preferred_element_type=jnp.float32)
    if cap:
        logits = cap * jnp.tanh(logits / cap)
    weights = jax.nn.softmax(jnp.where(mask_RxLxE[:, None, None], logits, MASKED), axis=-1)
    return jnp.einsum("rghqk,rkgc->rqghc", weights.astype(v.dtype), v).reshape(q.shape)
