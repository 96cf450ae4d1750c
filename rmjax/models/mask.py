"""The attention mask of packed rows."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import PackedBatch

# Far below any logit, yet finite: a row of padding then gives a uniform softmax instead of NaN.
MASKED = -1e30


class TokenContext(NamedTuple):
    """The text that each token belongs to and its position in it: `[R, L] int32` each, as in `PackedBatch`.

    Attributes:
        segments: unique in a row for every prompt and response; 0 is padding.
        prompt_segments: the segment of the prompt that a token belongs to.
        positions: index of the token in its text, the prompt included.
    """

    segments: Array
    prompt_segments: Array
    positions: Array

    def as_queries(self) -> TokenContext:
        """Returns the arrays as `[..., L, 1]`, to compare with keys."""
        return TokenContext(*(x[..., :, None] for x in self))

    def as_keys(self) -> TokenContext:
        """Returns the arrays as `[..., 1, L]`, to compare with queries."""
        return TokenContext(*(x[..., None, :] for x in self))


def packed_context(batch: PackedBatch) -> TokenContext:
    """Returns the context of the tokens of a batch."""
    arrays = batch.segments_RxL, batch.prompt_segments_RxL, batch.positions_RxL
    return TokenContext(*map(jnp.asarray, arrays))


class AttentionSpec(NamedTuple):
    """Settings of attention that are fixed at compile time; see `TransformerConfig`.

    Attributes:
        causal: a token sees no later token of its row.
        window: tokens that a token of a local layer sees, itself included; 0 if no layer is local.
        cap: bound of the logits; 0 for no bound.
    """

    causal: bool
    window: int
    cap: float


def attention_mask(
    query: TokenContext,
    key: TokenContext,
    query_index: Array,
    key_index: Array,
    local: Array,
    spec: AttentionSpec,
) -> Array:
    """Returns True for every key that a query sees.

    A causal token sees its prompt and its own segment up to itself. A token of an encoder sees its whole text.

    Args:
        query: context of the queries, which broadcasts against that of the keys.
        key: context of the keys.
        query_index: indices of the queries in their rows, for the causal order.
        key_index: indices of the keys.
        local: bool, True if the window applies in this layer.
        spec: the settings.
    """
    if not spec.causal:
        return query.prompt_segments == key.prompt_segments
    visible = (query.segments == key.segments) | (query.prompt_segments == key.segments)
    visible &= query_index >= key_index
    if spec.window:
        # By position, not by index in the row: siblings may separate a response from its prompt.
        visible &= ~local | (query.positions - key.positions < spec.window)
    return visible
