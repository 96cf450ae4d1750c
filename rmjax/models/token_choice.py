"""Choice of tokens from next-token logits: temperature, top-k, top-p, and a draw with one random key per token.

`jax.random.categorical` needs a random number for each of the V tokens. Here a row needs one hash of its key, which
gives two numbers. The V tokens are divided into about √V blocks. The first number chooses a block by the sums of the
blocks, the second chooses a token of that block. So only the chosen block is accumulated token by token.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.errors import InputError

HIDDEN = -jnp.inf  # the logit of a token that cannot be chosen


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling.

    The log-probability of a sampled token is that of the model at the temperature, log softmax(logits / temperature),
    over the whole vocabulary. Top-k and top-p do not change it. With temperature 0 it is that of temperature 1.

    Attributes:
        max_response: the largest number of tokens of a sample, the stop ids included.
        stop: the ids that end a sample when they are its last ids in this order: the ending of the chat template
            (`Tokenizer.ending`). Empty: all samples have `max_response` tokens.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: only the k likeliest tokens can be chosen; 0 for all.
        top_p: only the likeliest tokens whose probabilities (after top-k) sum to at least this can be chosen; 1 for
            all (Holtzman et al. 1904.09751).

    Raises:
        InputError: a setting is outside its range.
    """

    max_response: int
    stop: tuple[int, ...] = ()
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.max_response < 1:
            raise InputError(f"max_response must be at least 1, found {self.max_response}")
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature must not be negative, found {self.temperature}")
        if self.top_k < 0:
            raise InputError(f"top_k must not be negative, found {self.top_k}: 0 takes all tokens")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be in (0, 1], found {self.top_p}: 1 takes all tokens")
        if any(token < 0 for token in self.stop):
            raise InputError(f"stop must have token ids, found {self.stop}")


def choose_tokens(logits_QxV: Array, uniform_Qxnx2: Array, settings: SamplingSettings) -> tuple[Array, Array]:
    """Returns n tokens of each row and their log-probabilities, `[Q, n]` int32 and float32.

    Args:
        logits_QxV: next-token logits, float32.
        uniform_Qxnx2: uniform numbers in [0, 1), two for each token; not read with temperature 0.
        settings: see there, also for the log-probabilities.
    """
    n = uniform_Qxnx2.shape[1]
    if not settings.temperature:
        token_Q = jnp.argmax(logits_QxV, axis=-1).astype(jnp.int32)
        chosen = jnp.take_along_axis(logits_QxV, token_Q[:, None], axis=1)
        log_prob = chosen - jax.nn.logsumexp(logits_QxV, axis=-1, keepdims=True)
        shape = len(logits_QxV), n
        return jnp.broadcast_to(token_Q[:, None], shape), jnp.broadcast_to(log_prob, shape)
    scaled = logits_QxV if settings.temperature == 1 else logits_QxV / settings.temperature
    if not settings.top_k and settings.top_p == 1:
        return draw(scaled, uniform_Qxnx2)
    token_Qxn, _ = draw(truncated(scaled, settings.top_k, settings.top_p), uniform_Qxnx2)
    chosen = jnp.take_along_axis(scaled, token_Qxn, axis=1)
    return token_Qxn, chosen - jax.nn.logsumexp(scaled, axis=-1, keepdims=True)


def draw(logits_QxV: Array, uniform_Qxnx2: Array) -> tuple[Array, Array]:
    """Returns n tokens of each row with probability softmax(logits), and their log-probabilities, `[Q, n]` each."""
    Q, V = logits_QxV.shape
    blocks = block_count(V)
    size = -(-V // blocks)
    if blocks * size > V:
        logits_QxV = jnp.pad(logits_QxV, ((0, 0), (0, blocks * size - V)), constant_values=HIDDEN)
    # Token s * blocks + b is in block b: sums over s are vectorized along b.
    logits_QxSxB = logits_QxV.reshape(Q, size, blocks)
    highest_Q = logits_QxSxB.max(1).max(-1)
    mass_QxB = jnp.exp(logits_QxSxB - highest_Q[:, None, None]).sum(1)
    block_Qxn = _pick(mass_QxB[:, None], uniform_Qxnx2[..., 0])
    of_block_QxnxS = jnp.take_along_axis(logits_QxSxB, block_Qxn[:, None], axis=2).swapaxes(1, 2)
    within = _pick(jnp.exp(of_block_QxnxS - highest_Q[:, None, None]), uniform_Qxnx2[..., 1])
    chosen = jnp.take_along_axis(of_block_QxnxS, within[..., None], axis=2)[..., 0]
    log_total_Q = highest_Q + jnp.log(mass_QxB.sum(-1))
    return within * blocks + block_Qxn, chosen - log_total_Q[:, None]


def block_count(vocab_size: int) -> int:
    """Returns the number of blocks: a divisor of V between √V / 2 and 4 √V, or else √V rounded up.

    >>> block_count(50304), block_count(50257)
    (262, 225)
    """
    root = math.isqrt(vocab_size - 1) + 1
    near = sorted(range(max(1, root // 2), 4 * root + 1), key=lambda count: abs(count - root))
    return next((count for count in near if vocab_size % count == 0), root)


def _pick(mass: Array, uniform: Array) -> Array:
    """Returns an index of the last axis of `mass [..., n or 1, B]` for each of `uniform [..., n]`, by its mass."""
    total = jnp.cumsum(mass, axis=-1)
    below = uniform * total[..., -1]
    # The first index whose sum is above. Rounding must choose no index without mass.
    found = (total > below[..., None]) & (mass > 0)
    index = jnp.argmax(found, axis=-1)
    return jnp.where(found.any(-1), index, jnp.argmax(mass, axis=-1)).astype(jnp.int32)


def truncated(logits_QxV: Array, top_k: int, top_p: float) -> Array:
    """Returns the logits with `HIDDEN` for the tokens that top-k and then top-p leave out.

    Tokens with the same logit as the last one that is left in are left in too.
    """
    V = logits_QxV.shape[-1]
    count = min(top_k or V, V)
    likeliest = jax.lax.top_k(logits_QxV, count)[0]
    last_Q = likeliest[:, -1]
    if top_p < 1:
        probability = jax.nn.softmax(likeliest, axis=-1)
        # A token is needed as long as those before it do not sum to top_p.
        needed = jnp.cumsum(probability, axis=-1) - probability < top_p
        last_Q = jnp.where(needed, likeliest, jnp.inf).min(-1)
    return jnp.where(logits_QxV >= last_Q[:, None], logits_QxV, HIDDEN)


def uniform_pairs(keys: Array, positions: Array) -> Array:
    """Returns two uniform numbers in [0, 1), `[..., 2] float32`, of a token with a key `[..., 2] uint32`.

    The key is the data of a Threefry key. `fold_in` hashes the position with it; the two words of the result are the
    numbers.
    """
    folded = fold_in(keys, positions)
    return (folded >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def fold_in(keys: Array, data: Array) -> Array:
    """Returns `jax.random.fold_in` of each key `[..., 2] uint32` with the data `[...]`."""

    def one(key: Array, number: Array) -> Array:
        wrapped = jax.random.wrap_key_data(key, impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(wrapped, number))

    flat = jax.vmap(one)(keys.reshape(-1, 2), data.reshape(-1).astype(jnp.uint32))
    return flat.reshape(keys.shape)
