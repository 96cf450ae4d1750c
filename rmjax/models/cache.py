"""Key/value cache for decoding n samples of each prompt.

The keys and values of a prompt exist once and are shared by its samples. Each sample adds its own, one entry per step.
A query of a sample attends to both parts with one softmax.

All samples of a shard are at the same step. So a step writes one entry for all of them, and the entries before it are
those of the earlier tokens. Samples that have ended write entries that nobody reads.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.mask import MASKED, AttentionSpec


class PromptKeys(NamedTuple):
    """Keys and values of the P prompts in one layer, `[P, G, T, C]`, after norm and rotary rotation."""

    keys: Array
    values: Array


class SampleKeys(NamedTuple):
    """Keys and values of the n samples of each prompt in one layer, `[P, n, G, E, C]`; E entries are reserved."""

    keys: Array
    values: Array


class LayerCache(NamedTuple):
    """The cache of one layer."""

    prompts: PromptKeys
    samples: SampleKeys


class DecodingStep(NamedTuple):
    """The place of the new tokens.

    Attributes:
        lengths_P: int32, tokens of each prompt; the entries after them are padding.
        entry: int32 scalar, index of the new token in its sample. Its position in the text is `lengths_P + entry`.
    """

    lengths_P: Array
    entry: Array


def empty_samples(config: TransformerConfig, prompts: int, samples: int, entries: int, dtype: jnp.dtype) -> SampleKeys:
    """Returns the cache of one layer for `prompts` x `samples` rows without tokens.

    Raises:
        InputError: the trunk is an encoder, whose tokens see later tokens.
    """
    if not config.causal:
        raise InputError(f"a {config.family} trunk is an encoder: only a causal trunk can decode with a cache")
    shape = (prompts, samples, config.kv_heads, entries, config.head_dim)
    return SampleKeys(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def prompt_keys(keys_PxTxGxC: Array, values_PxTxGxC: Array) -> PromptKeys:
    """Returns keys and values of a forward pass in the order of the cache."""
    return PromptKeys(keys_PxTxGxC.swapaxes(1, 2), values_PxTxGxC.swapaxes(1, 2))


def write_entry(samples: SampleKeys, keys: Array, values: Array, entry: Array) -> SampleKeys:
    """Returns the cache of one layer with new keys and values `[P, n, G, C]` at an entry."""
    return SampleKeys(
        *(
            jax.lax.dynamic_update_slice_in_dim(old, new[:, :, :, None], entry, axis=3)
            for old, new in zip(samples, (keys, values), strict=True)
        )
    )


def resized(samples: SampleKeys, entries: int) -> SampleKeys:
    """Returns the cache of one layer with room for `entries` entries, not fewer than before."""
    more = entries - samples.keys.shape[3]
    return SampleKeys(*(jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more), (0, 0))) for x in samples))


def cached_attention(q: Array, cache: LayerCache, step: DecodingStep, local: Array, spec: AttentionSpec) -> Array:
    """softmax(q·k) v over the prompt and the sample's entries up to the new one.

    Args:
        q: scaled queries of the new tokens, `[P, n, H, C]`.
        cache: the layer's cache, the new entries included.
        step: the place of the new tokens.
        local: bool, True if the window applies in this layer.
        spec: the settings.

    Returns:
        `[P, n, H, C]`.
    """
    P, n, H, C = q.shape
    G, T = cache.prompts.keys.shape[1:3]
    E = cache.samples.keys.shape[3]
    q = q.reshape(P, n, G, H // G, C)
    index_T, index_E = jnp.arange(T, dtype=jnp.int32), jnp.arange(E, dtype=jnp.int32)
    seen_PxT = index_T[None] < step.lengths_P[:, None]
    seen_E = index_E <= step.entry
    if spec.window:
        seen_PxT &= ~local | (step.lengths_P[:, None] + step.entry - index_T[None] < spec.window)
        seen_E &= ~local | (step.entry - index_E < spec.window)

    def logits(equation: str, keys: Array, seen: Array) -> Array:
        found = jnp.einsum(equation, q, keys, preferred_element_type=jnp.float32)
        if spec.cap:
            found = spec.cap * jnp.tanh(found / spec.cap)
        return jnp.where(seen, found, MASKED)

    prompt = logits("pngmc,pgtc->pngmt", cache.prompts.keys, seen_PxT[:, None, None, None])
    own = logits("pngmc,pngec->pngme", cache.samples.keys, seen_E[None, None, None, None])
    highest = jnp.maximum(prompt.max(-1, keepdims=True), own.max(-1, keepdims=True))
    prompt, own = jnp.exp(prompt - highest), jnp.exp(own - highest)
    total = prompt.sum(-1, keepdims=True) + own.sum(-1, keepdims=True)
    dtype = cache.prompts.values.dtype
    mixed = jnp.einsum(
        "pngmt,pgtc->pngmc", prompt.astype(dtype), cache.prompts.values, preferred_element_type=jnp.float32
    ) + jnp.einsum("pngme,pngec->pngmc", own.astype(dtype), cache.samples.values, preferred_element_type=jnp.float32)
    return (mixed / total).astype(dtype).reshape(P, n, H, C)
