"""Key/value cache for decoding.

The mask is that of a packed row: a token sees its prompt and its own segment. So K responses of one prompt share the
entries of the prompt. The entries of a row are in the order of writing, which is the causal order. Responses that are
decoded together alternate:

    entries    p p p p a b a b b      the prompt, then three steps of two responses; a ended in the second
    segments   1 1 1 1 2 3 2 3 3
    positions  0 1 2 3 4 4 5 5 6
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.mask import TokenContext


class KVCache(NamedTuple):
    """Keys and values of earlier tokens, for all layers.

    Attributes:
        keys: `[layers, R, E, G, C]` in the compute dtype, after norm and rotary rotation.
        values: as `keys`.
        context: context of the entries, `[R, E]` each; segment 0 for an empty entry.
        count_R: int32, tokens written to each row. A token that did not fit is counted but lost, so a count above E
            means an overflow.
    """

    keys: Array
    values: Array
    context: TokenContext
    count_R: Array


def empty_cache(config: TransformerConfig, rows: int, entries: int, dtype: jnp.dtype) -> KVCache:
    """Returns a cache without tokens.

    Args:
        config: settings of the trunk.
        rows: R.
        entries: E, the most tokens of a row: those of its prompts and of all its responses.
        dtype: compute dtype of the model.

    Raises:
        InputError: the trunk is an encoder, whose tokens see later tokens.
    """
    if not config.causal:
        raise InputError(f"a {config.family} trunk is an encoder: only a causal trunk can decode with a cache")
    shape = (config.layers, rows, entries, config.kv_heads, config.head_dim)
    zeros = jnp.zeros((rows, entries), jnp.int32)
    context = TokenContext(zeros, zeros, zeros)
    return KVCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), context, jnp.zeros(rows, jnp.int32))


def entry_indices(cache: KVCache, tokens: TokenContext) -> Array:
    """Returns the entry `[R, L] int32` for each new token: the next free ones of its row, and E for padding."""
    real_RxL = tokens.segments > 0
    index_RxL = cache.count_R[:, None] + jnp.cumsum(real_RxL, axis=1, dtype=jnp.int32) - 1
    return jnp.where(real_RxL, index_RxL, cache.keys.shape[2])


def write_entries(entries: Array, new: Array, index_RxL: Array) -> Array:
    """Returns entries `[R, E, ...]`, or `[layers, R, E, G, C]`, with the new values at `index_RxL`.

    New values have L instead of E. Those with an index of E or more are lost.
    """
    rows = jnp.arange(len(index_RxL))[:, None]
    at = entries.at[:, rows, index_RxL] if entries.ndim == 5 else entries.at[rows, index_RxL]
    return at.set(new, mode="drop")


def write_context(cache: KVCache, tokens: TokenContext, index_RxL: Array) -> KVCache:
    """Returns the cache with the context of new tokens, before their keys and values are written."""
    context = TokenContext(
        *(write_entries(old, new, index_RxL) for old, new in zip(cache.context, tokens, strict=True))
    )
    count_R = cache.count_R + (tokens.segments > 0).sum(1, dtype=jnp.int32)
    return cache._replace(context=context, count_R=count_R)
