"""Attention over packed rows: rotary positions and the attention module."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from rmjax.models.block_sparse_attention import TILE, block_sparse_attention
from rmjax.models.cache import DecodingStep, LayerCache, SampleKeys, cached_attention, write_entry
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import Norm
from rmjax.models.linear import Linear
from rmjax.models.mask import MASKED, AttentionSpec, TokenContext, attention_mask

# Keys and values of the tokens of one layer, `[R, L, G, C]`.
KeysValues = tuple[Array, Array]


class LayerContext(NamedTuple):
    """Inputs that are the same for all layers.

    Attributes:
        tokens: context of the tokens, `[R, L]` each; None in decoding.
        rotation: cosines and sines of the rotary angles (see `rotary`); None for learned positions.
        step: the place of the new tokens in decoding; None for whole rows.
    """

    tokens: TokenContext | None
    rotation: tuple[Array, Array] | None
    step: DecodingStep | None


def layer_context(tokens: TokenContext, config: TransformerConfig) -> LayerContext:
    """Returns the inputs that all layers of a trunk share, for whole rows."""
    return LayerContext(tokens, _rotation(tokens.positions, config), None)


def decoding_context(step: DecodingStep, config: TransformerConfig, samples: int) -> LayerContext:
    """Returns the inputs that all layers of a trunk share, for one new token of each of `[P, samples]` rows."""
    return LayerContext(None, _rotation(decoding_positions(step, samples), config), step)


def decoding_positions(step: DecodingStep, samples: int) -> Array:
    """Returns the positions `[P, samples] int32` of new tokens in their texts."""
    return jnp.broadcast_to((step.lengths_P + step.entry)[:, None], (len(step.lengths_P), samples))


def _rotation(positions: Array, config: TransformerConfig) -> tuple[Array, Array] | None:
    return rotary(positions, config) if config.positions == "rotary" else None


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
    403 ms (benchmarks/RESULTS.md). A GPU or TPU computes all pairs, also in the fused attention of a GPU.
    """
    return jax.default_backend() != "cpu"


def uses_fused_attention(dtype: DTypeLike, head_dim: int, spec: AttentionSpec) -> bool:
    """Returns True if cuDNN computes the attention: on a GPU, in half precision, without a bound of the logits."""
    half = dtype in (jnp.bfloat16, jnp.float16)
    return jax.default_backend() == "gpu" and half and head_dim % 8 == 0 and head_dim <= 128 and not spec.cap


class Attention(nn.Module):
    """Grouped-query attention over packed rows or over a cache, softmax in float32.

    With a layer's cache it gets one new token of every sample, and also returns the cache of the samples with them.
    With `keep` it also returns the keys and values of the rows.
    """

    config: TransformerConfig
    dtype: jnp.dtype
    keep: bool = False

    @nn.compact
    def __call__(
        self, x: Array, context: LayerContext, local: Array, cached: LayerCache | None
    ) -> tuple[Array, SampleKeys | KeysValues | None]:
        c = self.config
        R, L, _ = x.shape

        def project(name: str, heads: int) -> Array:
            projected = Linear(heads * c.head_dim, self.dtype, c.query_bias, lora=c.lora, name=name)(x)
            if c.qk_norm_joint and name != "value":
                projected = Norm(c, self.dtype, name=f"{name}_norm")(projected)
            return projected.reshape(R, L, heads, c.head_dim)

        q, k, v = project("query", c.heads), project("key", c.kv_heads), project("value", c.kv_heads)
        if c.qk_norm and not c.qk_norm_joint:
            q, k = Norm(c, self.dtype, name="query_norm")(q), Norm(c, self.dtype, name="key_norm")(k)
        if context.rotation is not None:
            q, k = apply_rotary(q, *context.rotation), apply_rotary(k, *context.rotation)
        spec = AttentionSpec(c.causal, c.window if any(c.local_layers) else 0, c.attention_cap)
        q = q * (c.attention_scale or c.head_dim**-0.5)
        new: SampleKeys | KeysValues | None = (k, v) if self.keep else None
        if cached is not None:
            assert context.step is not None  # all layers decode
            new = write_entry(cached.samples, k, v, context.step.entry)
            mixed = cached_attention(q, cached._replace(samples=new), context.step, local, spec)
        else:
            assert context.tokens is not None  # whole rows
            attend = dense_attention
            if not L % TILE and not uses_dense_attention():
                attend = block_sparse_attention
            elif not L % 2 and uses_fused_attention(q.dtype, c.head_dim, spec):
                attend = fused_attention
            mixed = attend(q, k, v, context.tokens, local, spec)
        # Residual branches start small in deep trunks, so that the stream keeps its scale (Radford et al. 2019).
        return Linear(c.width, self.dtype, c.out_bias, 0.5 / c.layers, c.lora, name="out")(mixed.reshape(R, L, -1)), new


def dense_attention(q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and keys and values `[R, L, G, C]` -> `[R, L, H, C]`."""
    return masked_attention(q, k, v, _row_mask(context, local, spec), spec.cap)


def fused_attention(q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec) -> Array:
    """`dense_attention` by cuDNN, in half precision on a GPU: logits and weights never leave the chip.

    The mask `[R, 1, L, L]` is in memory once for all heads. Keys and values are repeated for the heads that share them:
    with fewer key/value heads, compiling both passes did not end in 45 s on an H200 (jax 0.11.2).
    """
    mask = _row_mask(context, local, spec)[:, None]
    k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    return jax.nn.dot_product_attention(q, k, v, mask=mask, scale=1.0, implementation="cudnn")


def _row_mask(context: TokenContext, local: Array, spec: AttentionSpec) -> Array:
    """Returns the mask `[R, L, L]` of whole rows."""
    index = jnp.arange(context.segments.shape[1], dtype=jnp.int32)[None]
    return attention_mask(context.as_queries(), context.as_keys(), index[:, :, None], index[:, None, :], local, spec)


def masked_attention(q: Array, k: Array, v: Array, mask_RxLxE: Array, cap: float) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and E keys and values `[R, E, G, C]` -> `[R, L, H, C]`."""
    R, L, H, C = q.shape
    G = k.shape[2]
    logits = jnp.einsum("rqghc,rkgc->rghqk", q.reshape(R, L, G, H // G, C), k, preferred_element_type=jnp.float32)
    if cap:
        logits = cap * jnp.tanh(logits / cap)
    weights = jax.nn.softmax(jnp.where(mask_RxLxE[:, None, None], logits, MASKED), axis=-1)
    return jnp.einsum("rghqk,rkgc->rqghc", weights.astype(v.dtype), v).reshape(q.shape)
