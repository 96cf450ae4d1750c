"""What a token may see: its own text, read from where it stands in its row."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array

# Far below any logit, yet finite: a row of padding then gives a uniform softmax instead of NaN.
MASKED = -1e30


class TokenIndex(NamedTuple):
    """Where every token stands: `[R, L] int32` each, as in `PackedBatch`.

    `local` is a bool: whether the window holds in this layer.
    """

    segments: Array
    parents: Array
    positions: Array
    local: Array

    def as_queries(self) -> TokenIndex:
        """The places along the last axis but one, against those of keys along the last."""
        return TokenIndex(*(x[..., :, None] for x in self[:3]), self.local)

    def as_keys(self) -> TokenIndex:
        """The places along the last axis."""
        return TokenIndex(*(x[..., None, :] for x in self[:3]), self.local)


class AttentionSpec(NamedTuple):
    """What is fixed when the attention is compiled: see `TransformerConfig`; `window` 0 for none."""

    causal: bool
    window: int
    cap: float


def attention_mask(query: TokenIndex, key: TokenIndex, query_at: Array, key_at: Array, rule: AttentionSpec) -> Array:
    """Which key a query sees; the places of each and their indices in the row broadcast against each other."""
    if not rule.causal:
        return query.parents == key.parents
    seen = (query.segments == key.segments) | (query.parents == key.segments)
    seen &= query_at >= key_at
    if rule.window:
        # Positions, not offsets: what lies between a response and its prompt in the row is not between them.
        seen &= ~query.local | (query.positions - key.positions < rule.window)
    return seen
