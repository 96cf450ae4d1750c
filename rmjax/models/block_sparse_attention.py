"""Block-sparse attention for CPUs.

Most of a packed row is masked, because a token sees its own text only. XLA's attention computes every pair of tokens of
a row and moves the logits through memory several times. This module cuts a row into tiles of 64 tokens. A query tile
visits only the key tiles with its own texts and their prompts. The logits of a pair of tiles stay in the CPU's cache,
and the softmax is computed online (Rabe & Staats 2112.05682; Dao et al. 2205.14135).

The number of loop iterations depends on the batch, which costs nothing on a CPU. JAX cannot differentiate such loops in
reverse mode, so the backward pass is written by hand.

Shape letters of this module: T tiles, Q = H/G * TILE query vectors of a tile that share a key/value head.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.models.mask import MASKED, AttentionSpec, TokenContext, attention_mask

TILE = 64


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def block_sparse_attention(
    q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec
) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and keys and values `[R, L, G, C]` -> `[R, L, H, C]`.

    L is a multiple of `TILE`. Inputs and outputs may be bfloat16, but tiles are float32: XLA computes such small
    products slower in bfloat16, even on a CPU with instructions for it.
    """
    return _forward(q, k, v, context, local, spec)[0]


class _Tiles(NamedTuple):
    """The T tiles of all rows, one after the other, and the range of tiles that each visits, as (first, last + 1)."""

    context: TokenContext  # [T, TILE] each
    local: Array
    row_index: Array  # [T, TILE], index of each token in its row
    prompts: Array  # [T, 2], of a query tile: key tiles with prompts that come before those of `keys`
    keys: Array  # [T, 2], of a query tile: key tiles from the first one with its own segments
    queries: Array  # [T, 2], of a key tile

    def mask(self, i: Array, j: Array, spec: AttentionSpec) -> Array:
        """Returns the mask `[TILE, TILE]` of the queries of tile i and the keys of tile j."""
        query, key = (TokenContext(*(x[t] for x in self.context)) for t in (i, j))
        return attention_mask(
            query.as_queries(), key.as_keys(), self.row_index[i][:, None], self.row_index[j][None, :], self.local, spec
        )


def _tiles(context: TokenContext, local: Array, spec: AttentionSpec) -> _Tiles:
    """Finds the tiles that each tile visits."""
    R, L = context.segments.shape
    index = jnp.broadcast_to(jnp.arange(L, dtype=jnp.int32)[None], (R, L))
    real = context.prompt_segments > 0  # padding visits nothing
    # The tokens of a comparison are contiguous, its prompt first. Bidirectional tokens see their whole text. A causal
    # response sees its prompt and itself, so the siblings between the two are not visited.
    first, last = _runs(context.prompt_segments, index)
    own_first, query_last, prompt_last = first, last, jnp.full_like(index, -TILE)
    if spec.causal:
        prompt = context.segments == context.prompt_segments
        own_first, own_last = _runs(context.segments, index)
        query_last = jnp.where(prompt, last, own_last)
        prompt_last = jax.lax.cummax(jnp.where(prompt, index, 0), axis=1)

    def lowest(x: Array) -> Array:
        return jnp.where(real, x, L).reshape(R, L // TILE, TILE).min(2) // TILE

    def highest(x: Array) -> Array:
        return jnp.where(real, x, -TILE).reshape(R, L // TILE, TILE).max(2) // TILE

    here = jnp.broadcast_to(jnp.arange(L // TILE, dtype=jnp.int32)[None], (R, L // TILE))
    own = lowest(own_first)
    start = jnp.repeat(own, TILE, axis=1) * TILE  # `keys` covers all tiles from here on
    prompt_last = jnp.where(first < start, jnp.minimum(prompt_last, start - 1), -TILE)
    first = lowest(first)
    prompts = jnp.stack([first, highest(prompt_last) + 1], axis=-1)
    last = highest(last) + 1
    keys = jnp.stack([own, jnp.minimum(last, here + 1) if spec.causal else last], axis=-1)
    queries = jnp.stack([jnp.maximum(first, here) if spec.causal else first, highest(query_last) + 1], axis=-1)
    offset = (jnp.arange(R, dtype=jnp.int32) * (L // TILE))[:, None, None]
    flat = TokenContext(*(x.reshape(-1, TILE) for x in context))
    return _Tiles(
        flat, local, index.reshape(-1, TILE), *((x + offset).reshape(-1, 2) for x in (prompts, keys, queries))
    )


def _runs(x: Array, index: Array) -> tuple[Array, Array]:
    """Returns the first and the last index of the run of equal values around each element of a row."""
    edge = jnp.ones((len(x), 1), bool)
    new = jnp.concatenate([edge, x[:, 1:] != x[:, :-1]], axis=1)
    end = jnp.concatenate([new[:, 1:], edge], axis=1)
    first = jax.lax.cummax(jnp.where(new, index, 0), axis=1)
    return first, jax.lax.cummin(jnp.where(end, index, x.shape[1]), axis=1, reverse=True)


def _split(x: Array, groups: int) -> Array:
    """`[R, L, H, C]` -> `[T, G, Q, C] float32`: the queries of all heads that share keys in one matrix.

    The cast comes before the transpose. After it, XLA would repeat the cast in every visit.
    """
    _, _, H, C = x.shape
    x = x.astype(jnp.float32).reshape(-1, TILE, groups, H // groups, C).transpose(0, 2, 3, 1, 4)
    return x.reshape(x.shape[0], groups, -1, C)


def _join(x: Array, shape: tuple[int, ...]) -> Array:
    """Inverse of `_split`."""
    _, groups, _, C = x.shape
    return x.reshape(x.shape[0], groups, -1, TILE, C).transpose(0, 3, 1, 2, 4).reshape(shape)


def _logits(q_i: Array, k_j: Array, mask: Array, cap: float) -> Array:
    """Returns the masked logits `[G, Q, TILE] float32`."""
    logits = jnp.einsum("gqc,gkc->gqk", q_i, k_j)
    if cap:
        logits = cap * jnp.tanh(logits / cap)
    mask = jnp.tile(mask, (q_i.shape[1] // TILE, 1))
    return jnp.where(mask[None], logits, MASKED)


def _forward(
    q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec
) -> tuple[Array, tuple]:
    tiles, G = _tiles(context, local, spec), k.shape[2]
    q_T, k_T, v_T = (_split(x, G) for x in (q, k, v))
    _, _, Q, C = q_T.shape

    def query_tile(i: Array) -> tuple[Array, Array]:
        (prompt, prompt_end), (own, end) = tiles.prompts[i], tiles.keys[i]
        prompt_count = jnp.maximum(prompt_end - prompt, 0)

        def visit(n: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            max_logit, total, mixed = carry
            j = jnp.where(n < prompt_count, prompt + n, own + n - prompt_count)
            logits = _logits(q_T[i], k_T[j], tiles.mask(i, j, spec), spec.cap)
            new_max_logit = jnp.maximum(max_logit, logits.max(-1))
            weights = jnp.exp(logits - new_max_logit[..., None])
            shrink = jnp.exp(max_logit - new_max_logit)
            mixed = mixed * shrink[..., None] + jnp.einsum("gqk,gkc->gqc", weights, v_T[j])
            return new_max_logit, total * shrink + weights.sum(-1), mixed

        empty = (
            jnp.full((G, Q), MASKED, jnp.float32),
            jnp.zeros((G, Q), jnp.float32),
            jnp.zeros((G, Q, C), jnp.float32),
        )
        max_logit, total, mixed = jax.lax.fori_loop(0, prompt_count + end - own, visit, empty)
        total = jnp.maximum(total, 1e-30)
        return mixed / total[..., None], max_logit + jnp.log(total)

    out_T, logsumexp_T = jax.lax.map(query_tile, jnp.arange(len(q_T)))
    out = _join(out_T, q.shape).astype(q.dtype)
    return out, (q, k, v, out, logsumexp_T, tiles)


def _forward_rule(
    q: Array, k: Array, v: Array, context: TokenContext, local: Array, spec: AttentionSpec
) -> tuple[Array, tuple]:
    return _forward(q, k, v, context, local, spec)


def _backward_rule(spec: AttentionSpec, residuals: tuple, d_out: Array) -> tuple:
    q, k, v, out, logsumexp_T, tiles = residuals
    G = k.shape[2]
    q_T, k_T, v_T, out_T, d_out_T = (_split(x, G) for x in (q, k, v, out, d_out))
    inner_T = (d_out_T * out_T).sum(-1)

    def key_tile(dq_T: Array, j: Array) -> tuple[Array, tuple[Array, Array]]:
        def visit(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            dq_T, dk, dv = carry
            logits = _logits(q_T[i], k_T[j], tiles.mask(i, j, spec), spec.cap)
            weights = jnp.exp(logits - logsumexp_T[i][..., None])
            d_weights = jnp.einsum("gqc,gkc->gqk", d_out_T[i], v_T[j])
            d_logits = weights * (d_weights - inner_T[i][..., None])
            if spec.cap:
                d_logits = d_logits * (1 - jnp.square(jnp.maximum(logits, -spec.cap) / spec.cap))
            dv = dv + jnp.einsum("gqk,gqc->gkc", weights, d_out_T[i])
            dk = dk + jnp.einsum("gqk,gqc->gkc", d_logits, q_T[i])
            return dq_T.at[i].add(jnp.einsum("gqk,gkc->gqc", d_logits, k_T[j])), dk, dv

        empty = jnp.zeros_like(k_T[0])
        dq_T, dk, dv = jax.lax.fori_loop(tiles.queries[j, 0], tiles.queries[j, 1], visit, (dq_T, empty, empty))
        return dq_T, (dk, dv)

    dq_T, (dk_T, dv_T) = jax.lax.scan(key_tile, jnp.zeros_like(q_T), jnp.arange(len(k_T)))
    return *(_join(x_T, x.shape).astype(x.dtype) for x_T, x in ((dq_T, q), (dk_T, k), (dv_T, v))), None, None


block_sparse_attention.defvjp(_forward_rule, _backward_rule)
