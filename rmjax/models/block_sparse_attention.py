"""Attention for CPUs: tile by tile, and only the tiles in which a token sees another.

A packed row is mostly masked: a token sees its own text, a fraction of the row. XLA's attention computes the whole
square, several times over through memory. Here a row is cut into tiles of 64 tokens, a query tile visits just the key
tiles that hold its own texts and their prompts, and the logits of a pair of tiles stay in cache, their softmax taken
online (Rabe & Staats 2112.05682; Dao et al. 2205.14135). The loops have as many turns as the batch at hand needs, which
a CPU does at no cost; that is also why the backward pass is written out: such loops cannot be differentiated backwards.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.models.mask import MASKED, AttentionSpec, TokenIndex, attention_mask

TILE = 64


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def block_sparse_attention(q: Array, k: Array, v: Array, places: TokenIndex, rule: AttentionSpec) -> Array:
    """softmax(q·k) v of scaled queries `[R, L, H, C]` and keys and values `[R, L, G, C]` -> `[R, L, H, C]`.

    L is a multiple of `TILE`. Tiles are float32 whatever the dtype of the inputs: XLA does products as small as theirs
    slower in bfloat16, even where the CPU has instructions for it. Only what comes in and goes out is narrow.
    """
    return _forward(q, k, v, places, rule)[0]


class _Tiles(NamedTuple):
    """T tiles of all rows, one after the other, and the tiles that each has to do with, as (first, last + 1)."""

    places: TokenIndex  # [T, TILE] each, but for `local`
    at: Array  # [T, TILE], indices of the tokens in their row
    prompts: Array  # [T, 2], of a query tile: key tiles with prompts, where these lie before `keys`
    keys: Array  # [T, 2], of a query tile: from where its own segments begin
    queries: Array  # [T, 2], of a key tile

    def mask(self, i: Array, j: Array, rule: AttentionSpec) -> Array:
        """`[TILE, TILE]`: which keys of tile j the queries of tile i see."""
        query, key = (TokenIndex(*(x[t] for x in self.places[:3]), self.places.local) for t in (i, j))
        return attention_mask(query.as_queries(), key.as_keys(), self.at[i][:, None], self.at[j][None, :], rule)


def _tiles(places: TokenIndex, rule: AttentionSpec) -> _Tiles:
    R, L = places.segments.shape
    at = jnp.broadcast_to(jnp.arange(L, dtype=jnp.int32)[None], (R, L))
    real = places.parents > 0  # padding sees nothing and asks for nothing
    # A comparison's tokens stand together, its prompt first. Bidirectional ones all see each other; of causal ones a
    # response sees the prompt and itself, so that what lies between the two, its siblings, need not be visited.
    first, last = _runs(places.parents, at)
    own_first, seen_last, prompt_last = first, last, jnp.full_like(at, -TILE)
    if rule.causal:
        prompt = places.segments == places.parents
        own_first, own_last = _runs(places.segments, at)
        seen_last = jnp.where(prompt, last, own_last)
        prompt_last = jax.lax.cummax(jnp.where(prompt, at, 0), axis=1)

    def lowest(x: Array) -> Array:
        return jnp.where(real, x, L).reshape(R, L // TILE, TILE).min(2) // TILE

    def highest(x: Array) -> Array:
        return jnp.where(real, x, -TILE).reshape(R, L // TILE, TILE).max(2) // TILE

    here = jnp.broadcast_to(jnp.arange(L // TILE, dtype=jnp.int32)[None], (R, L // TILE))
    own = lowest(own_first)
    start = jnp.repeat(own, TILE, axis=1) * TILE  # from here on `keys` has it
    prompt_last = jnp.where(first < start, jnp.minimum(prompt_last, start - 1), -TILE)
    first = lowest(first)
    prompts = jnp.stack([first, highest(prompt_last) + 1], axis=-1)
    last = highest(last) + 1
    keys = jnp.stack([own, jnp.minimum(last, here + 1) if rule.causal else last], axis=-1)
    queries = jnp.stack([jnp.maximum(first, here) if rule.causal else first, highest(seen_last) + 1], axis=-1)
    offset = (jnp.arange(R, dtype=jnp.int32) * (L // TILE))[:, None, None]
    flat = TokenIndex(*(x.reshape(-1, TILE) for x in places[:3]), places.local)
    return _Tiles(flat, at.reshape(-1, TILE), *((x + offset).reshape(-1, 2) for x in (prompts, keys, queries)))


def _runs(x: Array, at: Array) -> tuple[Array, Array]:
    """The first and the last index of the run of equal values that each element of a row is in."""
    edge = jnp.ones((len(x), 1), bool)
    new = jnp.concatenate([edge, x[:, 1:] != x[:, :-1]], axis=1)
    end = jnp.concatenate([new[:, 1:], edge], axis=1)
    first = jax.lax.cummax(jnp.where(new, at, 0), axis=1)
    return first, jax.lax.cummin(jnp.where(end, at, x.shape[1]), axis=1, reverse=True)


def _split(x: Array, groups: int) -> Array:
    """`[R, L, H, C]` -> `[T, G, H/G * TILE, C]`: the queries of the heads that share keys lie one below the other.

    Widened first: XLA widens again in every visit what is widened after it was moved.
    """
    _, _, H, C = x.shape
    x = x.astype(jnp.float32).reshape(-1, TILE, groups, H // groups, C).transpose(0, 2, 3, 1, 4)
    return x.reshape(x.shape[0], groups, -1, C)


def _join(x: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `_split`."""
    _, groups, _, C = x.shape
    return x.reshape(x.shape[0], groups, -1, TILE, C).transpose(0, 3, 1, 2, 4).reshape(shape)


def _logits(q_i: Array, k_j: Array, mask: Array, cap: float) -> Array:
    """`[G, H/G * TILE, TILE]`, float32."""
    logits = jnp.einsum("gqc,gkc->gqk", q_i, k_j)
    if cap:
        logits = cap * jnp.tanh(logits / cap)
    mask = jnp.tile(mask, (q_i.shape[1] // TILE, 1))
    return jnp.where(mask[None], logits, MASKED)


def _forward(q: Array, k: Array, v: Array, places: TokenIndex, rule: AttentionSpec) -> tuple[Array, tuple]:
    tiles, G = _tiles(places, rule), k.shape[2]
    q_T, k_T, v_T = (_split(x, G) for x in (q, k, v))
    _, _, B, C = q_T.shape

    def query_tile(i: Array) -> tuple[Array, Array]:
        (prompt, prompt_end), (own, end) = tiles.prompts[i], tiles.keys[i]
        further = jnp.maximum(prompt_end - prompt, 0)

        def visit(n: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, total, mixed = carry
            j = jnp.where(n < further, prompt + n, own + n - further)
            logits = _logits(q_T[i], k_T[j], tiles.mask(i, j, rule), rule.cap)
            new_top = jnp.maximum(top, logits.max(-1))
            weights = jnp.exp(logits - new_top[..., None])
            shrink = jnp.exp(top - new_top)
            mixed = mixed * shrink[..., None] + jnp.einsum("gqk,gkc->gqc", weights, v_T[j])
            return new_top, total * shrink + weights.sum(-1), mixed

        empty = (
            jnp.full((G, B), MASKED, jnp.float32),
            jnp.zeros((G, B), jnp.float32),
            jnp.zeros((G, B, C), jnp.float32),
        )
        top, total, mixed = jax.lax.fori_loop(0, further + end - own, visit, empty)
        total = jnp.maximum(total, 1e-30)
        return mixed / total[..., None], top + jnp.log(total)

    out_T, norm_T = jax.lax.map(query_tile, jnp.arange(len(q_T)))
    out = _join(out_T, q.shape).astype(q.dtype)
    return out, (q, k, v, out, norm_T, tiles)


def _forward_rule(q: Array, k: Array, v: Array, places: TokenIndex, rule: AttentionSpec) -> tuple[Array, tuple]:
    return _forward(q, k, v, places, rule)


def _backward_rule(rule: AttentionSpec, kept: tuple, d_out: Array) -> tuple:
    q, k, v, out, norm_T, tiles = kept
    G = k.shape[2]
    q_T, k_T, v_T, out_T, d_out_T = (_split(x, G) for x in (q, k, v, out, d_out))
    inner_T = (d_out_T * out_T).sum(-1)

    def key_tile(dq_T: Array, j: Array) -> tuple[Array, tuple[Array, Array]]:
        def visit(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            dq_T, dk, dv = carry
            logits = _logits(q_T[i], k_T[j], tiles.mask(i, j, rule), rule.cap)
            weights = jnp.exp(logits - norm_T[i][..., None])
            d_weights = jnp.einsum("gqc,gkc->gqk", d_out_T[i], v_T[j])
            d_logits = weights * (d_weights - inner_T[i][..., None])
            if rule.cap:
                d_logits = d_logits * (1 - jnp.square(jnp.maximum(logits, -rule.cap) / rule.cap))
            dv = dv + jnp.einsum("gqk,gqc->gkc", weights, d_out_T[i])
            dk = dk + jnp.einsum("gqk,gqc->gkc", d_logits, q_T[i])
            return dq_T.at[i].add(jnp.einsum("gqk,gkc->gqc", d_logits, k_T[j])), dk, dv

        empty = jnp.zeros_like(k_T[0])
        dq_T, dk, dv = jax.lax.fori_loop(tiles.queries[j, 0], tiles.queries[j, 1], visit, (dq_T, empty, empty))
        return dq_T, (dk, dv)

    dq_T, (dk_T, dv_T) = jax.lax.scan(key_tile, jnp.zeros_like(q_T), jnp.arange(len(k_T)))
    return *(_join(x_T, x.shape).astype(x.dtype) for x_T, x in ((dq_T, q), (dk_T, k), (dv_T, v))), None


block_sparse_attention.defvjp(_forward_rule, _backward_rule)
