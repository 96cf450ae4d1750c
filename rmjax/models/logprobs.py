"""Log-probabilities and entropies of the tokens of responses, without the logits of a whole batch.

Logits of R x L tokens over V ids are the largest array of training a language model: 2,048 tokens and Qwen3's 151,936
ids take 1.2 GB, several times. Here the tokens of responses are put together, and their logits are computed a chunk at
a time, in the backward pass again. Prompts and padding have no logits at all.

The number of chunks depends on the batch. JAX cannot differentiate such loops in reverse mode, so the backward pass is
written by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import PackedBatch
from rmjax.models.transformer import LanguageModel

# Logits of a chunk: on a CPU they should fit its cache, and the last chunk should waste little. An accelerator needs
# many tokens for fast products.
LOGITS_OF_CHUNK = {"cpu": 2**20}
LOGITS_ON_ACCELERATORS = 2**26
FEWEST_TOKENS = 128


class NextTokenModel(NamedTuple):
    """A language model in two parts, so that logits can be computed for some of the tokens.

    Attributes:
        hidden: (parameters, batch) -> hidden states `[R, L, D]`.
        head: parameters -> those that `logits` takes.
        logits: (parameters of the head, hidden states `[tokens, D]`) -> next-token logits `[tokens, V] float32`.
    """

    hidden: Callable[[Any, PackedBatch], Array]
    head: Callable[[Any], Any]
    logits: Callable[[Any, Array], Array]


class TokenStatistics(NamedTuple):
    """Predictions for tokens: arrays of one shape, float32 or bool. Tokens without a prediction have 0.

    Attributes:
        log_prob: log-probability of the token, in nats.
        entropy: entropy of the prediction, -Σ p log p, in nats; 0 if it is not asked for.
        likeliest: no other token is likelier.
    """

    log_prob: Array
    entropy: Array
    likeliest: Array


def next_token_model(model: LanguageModel) -> NextTokenModel:
    """Returns the two parts of a language model."""

    def hidden(params: Any, batch: PackedBatch) -> Array:
        states: Any = model.apply({"params": params}, batch, method="hidden")
        return states

    def head(params: Any) -> Any:
        if model.config.tie_embeddings:
            return {"trunk": {"embedding": params["trunk"]["embedding"]}}
        return {"output": params["output"]}

    def logits(params: Any, states: Array) -> Array:
        found: Any = model.apply({"params": params}, states, method="logits")
        return found

    return NextTokenModel(hidden, head, logits)


def response_statistics(
    model: NextTokenModel, params: Any, batch: PackedBatch, *, entropy: bool = False
) -> TokenStatistics:
    """Returns the statistics of the tokens of the responses, `[R, L]` each; 0 at prompts and padding.

    A token is predicted from the one before it in its text: see `previous_index`.
    """
    R, L = batch.tokens_RxL.shape
    answered = (jnp.asarray(batch.segments_RxL) != jnp.asarray(batch.prompt_segments_RxL)).reshape(-1)
    hidden_RxLxD = model.hidden(params, batch)
    # Tokens of responses first, in their order.
    order = jnp.argsort(~answered, stable=True)
    row = jnp.arange(R, dtype=jnp.int32)[:, None] * L
    before = (previous_index(batch) + row).reshape(-1)[order]
    found = token_statistics(
        model.logits,
        model.head(params),
        hidden_RxLxD.reshape(R * L, -1)[before],
        jnp.asarray(batch.tokens_RxL).reshape(-1)[order],
        answered.sum(dtype=jnp.int32),
        entropy=entropy,
    )
    place = jnp.where(answered, jnp.cumsum(answered, dtype=jnp.int32) - 1, 0)
    return TokenStatistics(
        *(jnp.where(answered, values[place], jnp.zeros((), values.dtype)).reshape(R, L) for values in found)
    )


def response_log_probs(model: NextTokenModel, params: Any, batch: PackedBatch) -> Array:
    """Returns the log-probability of each response, the sum over its tokens, `[N]` in nats; 0 for an empty slot."""
    log_prob_RxL = response_statistics(model, params, batch).log_prob
    R, L = log_prob_RxL.shape
    # The segments of a row are numbered 1 to L at most; 0 is padding.
    segment = (jnp.arange(R, dtype=jnp.int32)[:, None] * (L + 1) + batch.segments_RxL).reshape(-1)
    total = jax.ops.segment_sum(log_prob_RxL.reshape(-1), segment, num_segments=R * (L + 1))
    return total[segment[batch.responses.score_index_N]] * batch.responses.response_mask_N


def previous_index(batch: PackedBatch) -> Array:
    """Returns the position in the row of the token whose logits predict each token, `[R, L] int32`.

    That is the token before it. For the first token of a response it is the last token of the prompt, which is further
    back if another response is in between.
    """
    segment, prompt_segment = batch.segments_RxL, batch.prompt_segments_RxL
    index = jnp.arange(segment.shape[1], dtype=jnp.int32)
    prompt_end = jax.lax.cummax(jnp.where(segment == prompt_segment, index, 0), axis=1)
    first = (segment != prompt_segment) & (segment != jnp.roll(segment, 1, axis=1))
    return jnp.where(first, prompt_end, jnp.maximum(index - 1, 0))


def token_statistics(
    logits: Callable[[Any, Array], Array],
    params: Any,
    hidden_NxD: Array,
    tokens_N: Array,
    count: Array,
    *,
    entropy: bool = False,
    chunk: int = 0,
) -> TokenStatistics:
    """Returns the statistics of N tokens, `[N]` each.

    Args:
        logits: (params, hidden states `[tokens, D]`) -> logits `[tokens, V] float32`.
        params: parameters of `logits`, differentiated.
        hidden_NxD: the hidden states that predict the tokens, differentiated.
        tokens_N: int32 ids.
        count: int32 scalar; the first `count` tokens are computed, the others have zeros.
        entropy: compute the entropies.
        chunk: tokens of a chunk; 0 for a suitable number.
    """
    N = len(tokens_N)
    if not chunk:
        vocab = jax.eval_shape(logits, params, hidden_NxD).shape[-1]
        chunk = max(FEWEST_TOKENS, LOGITS_OF_CHUNK.get(jax.default_backend(), LOGITS_ON_ACCELERATORS) // vocab)
    chunk = min(chunk, N)
    more = -N % chunk
    hidden, tokens = jnp.pad(hidden_NxD, ((0, more), (0, 0))), jnp.pad(tokens_N, (0, more))
    found = _statistics(logits, chunk, entropy, params, hidden, tokens, count)
    counted = jnp.arange(N, dtype=jnp.int32) < count
    return TokenStatistics(*(jnp.where(counted, values[:N], jnp.zeros((), values.dtype)) for values in found[:3]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _statistics(
    logits: Callable[[Any, Array], Array],
    chunk: int,
    entropy: bool,
    params: Any,
    hidden_NxD: Array,
    tokens_N: Array,
    count: Array,
) -> tuple[Array, Array, Array, Array]:
    """Returns the statistics of `token_statistics`, and log Σ exp(logits), `[N]` each; N is a multiple of `chunk`."""

    def body(i: Array, found: tuple[Array, ...]) -> tuple[Array, ...]:
        z = logits(params, _part(hidden_NxD, i, chunk))
        highest = z.max(-1)
        weights = jnp.exp(z - highest[:, None])
        total = weights.sum(-1)
        log_total = highest + jnp.log(total)
        own = jnp.take_along_axis(z, _part(tokens_N, i, chunk)[:, None], axis=1)[:, 0]
        spread = log_total - (weights * z).sum(-1) / total if entropy else jnp.zeros_like(total)
        new = own - log_total, spread, own >= highest, log_total
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(old, part, i * chunk, axis=0)
            for old, part in zip(found, new, strict=True)
        )

    zeros = jnp.zeros(len(tokens_N), jnp.float32)
    found = jax.lax.fori_loop(0, _chunks(count, chunk), body, (zeros, zeros, zeros > 0, zeros))
    return found[0], found[1], found[2], found[3]


def _forward(
    logits: Callable[[Any, Array], Array],
    chunk: int,
    entropy: bool,
    params: Any,
    hidden_NxD: Array,
    tokens_N: Array,
    count: Array,
) -> tuple[tuple[Array, Array, Array, Array], tuple[Any, ...]]:
    found = _statistics(logits, chunk, entropy, params, hidden_NxD, tokens_N, count)
    return found, (params, hidden_NxD, tokens_N, count, found[1], found[3])


def _backward(
    logits: Callable[[Any, Array], Array],
    chunk: int,
    entropy: bool,
    residuals: tuple[Any, ...],
    gradients: tuple[Array, ...],
) -> tuple[Any, Array, None, None]:
    params, hidden_NxD, tokens_N, count, entropy_N, log_total_N = residuals
    d_log_prob_N, d_entropy_N = gradients[:2]

    def body(i: Array, total: tuple[Any, Array]) -> tuple[Any, Array]:
        def part(x: Array) -> Array:
            return _part(x, i, chunk)[:, None]

        z, pull = jax.vjp(logits, params, _part(hidden_NxD, i, chunk))
        log_p = z - part(log_total_N)
        p = jnp.exp(log_p)
        # d log p_token / dz = onehot - p, and dH / dz = -p (log p + H).
        onehot = part(tokens_N) == jnp.arange(z.shape[1], dtype=jnp.int32)[None]
        d_z = part(d_log_prob_N) * (onehot.astype(jnp.float32) - p)
        if entropy:
            d_z = d_z - part(d_entropy_N) * p * (log_p + part(entropy_N))
        d_params, d_hidden = pull(d_z)
        return (
            jax.tree.map(jnp.add, total[0], d_params),
            jax.lax.dynamic_update_slice_in_dim(total[1], d_hidden, i * chunk, axis=0),
        )

    zeros = jax.tree.map(jnp.zeros_like, (params, hidden_NxD))
    d_params, d_hidden = jax.lax.fori_loop(0, _chunks(count, chunk), body, zeros)
    return d_params, d_hidden, None, None


_statistics.defvjp(_forward, _backward)


def _part(x: Array, i: Array, chunk: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=0)


def _chunks(count: Array, chunk: int) -> Array:
    return (count + chunk - 1) // chunk
