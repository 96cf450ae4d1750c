"""Tests of decoding with a key/value cache against the forward pass over whole rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_close, make_example, make_params, one_bin

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.cache import empty_cache
from rmjax.models.mask import TokenContext, packed_context
from rmjax.models.transformer import LanguageModel

FLOAT32 = jnp.dtype("float32")
ROTARY = {}
LEARNED = {"positions": "learned", "max_positions": 32, "tie_embeddings": True}
WINDOW = {"window": 3, "local_layers": (True, False)}
CAPPED = {"window": 2, "local_layers": (False, True), "attention_cap": 3.0, "output_cap": 5.0, "norm_order": "both"}


@pytest.fixture(scope="module")
def batch():
    """Two rows, each with one prompt: one with responses of 3, 1 and 4 tokens, one with two of 2 tokens."""
    rng = np.random.default_rng(3)

    def ids(count):
        return rng.integers(1, 50, count)

    examples = [make_example(ids(7), [ids(3), ids(1), ids(4)]), make_example(ids(4), [ids(2), ids(2)])]
    packed, _ = one_bin(examples, BatchShape(2, 16, 8, 8))
    return packed


def columns(batch, index_RxL):
    """Returns tokens and context of a batch at the given columns of each row; -1 gives padding."""
    picked = [
        jnp.asarray(np.where(index_RxL < 0, 0, np.take_along_axis(np.asarray(x), np.maximum(index_RxL, 0), axis=1)))
        for x in (batch.tokens_RxL, *packed_context(batch))
    ]
    return picked[0], TokenContext(*picked[1:])


def prompt_columns(batch):
    """Returns the columns [R, longest prompt] of the prompts, with -1 after a shorter prompt."""
    prompts = [np.flatnonzero(row == 1) for row in batch.segments_RxL]
    width = max(map(len, prompts))
    return np.stack([np.pad(p, (0, width - len(p)), constant_values=-1) for p in prompts])


def step_columns(batch, step, responses=3):
    """Returns the columns [R, K] of token `step` of every response, with -1 after its end."""
    picked = np.full((len(batch.segments_RxL), responses), -1)
    for r, row in enumerate(batch.segments_RxL):
        for k in range(responses):
            own = np.flatnonzero(row == k + 2)
            if step < len(own):
                picked[r, k] = own[step]
    return picked


@pytest.mark.parametrize("changes", [ROTARY, LEARNED, WINDOW, CAPPED], ids=["rotary", "learned", "window", "capped"])
def test_prefill_and_decoding_equal_one_forward_pass(tiny_trunk, batch, changes):
    """K responses of each prompt are decoded together, a token of each at a time, over one copy of the prompt."""
    config = dataclasses.replace(tiny_trunk, **changes)
    model = LanguageModel(config, FLOAT32)
    params = {"params": make_params(model)}
    expected = np.asarray(jax.jit(model.apply)(params, batch))
    decode = jax.jit(lambda params, *args: model.apply(params, *args, method="decode"))
    actual = np.zeros_like(expected)
    cache = empty_cache(config, 2, 15, FLOAT32)
    for index in (prompt_columns(batch), *(step_columns(batch, step) for step in range(4))):
        logits, cache = decode(params, *columns(batch, index), cache)
        rows, here = np.nonzero(index >= 0)
        actual[rows, index[rows, here]] = np.asarray(logits)[rows, here]
    real = batch.segments_RxL > 0
    assert cache.count_R.tolist() == real.sum(1).tolist() == [15, 8]
    assert_close(actual[real], expected[real])
    assert decode._cache_size() == 2  # one shape for the prompts, one for all steps


def test_the_trunk_returns_equal_hidden_states_in_chunks_of_any_size(tiny_trunk, batch):
    """Also chunks with tokens of several segments, in the order of the row."""
    model = LanguageModel(tiny_trunk, FLOAT32)
    params = {"params": make_params(model)}
    trunk = jax.jit(lambda params, *args: model.apply(params, *args, method=lambda m, *a: m.trunk(*a)))
    expected, none = trunk(params, jnp.asarray(batch.tokens_RxL), packed_context(batch))
    assert none is None
    cache, actual = empty_cache(tiny_trunk, 2, 16, FLOAT32), []
    for first in range(0, 16, 5):
        index = np.tile(np.arange(first, min(first + 5, 16)), (2, 1))
        hidden, cache = trunk(params, *columns(batch, index), cache)
        actual.append(hidden)
    real = batch.segments_RxL > 0
    assert_close(np.concatenate(actual, axis=1)[real], np.asarray(expected)[real])


def test_padding_is_not_written_and_an_overflow_is_counted(tiny_trunk, batch):
    model = LanguageModel(tiny_trunk, FLOAT32)
    params = {"params": make_params(model)}
    small = empty_cache(tiny_trunk, 2, 5, FLOAT32)
    _, cache = model.apply(params, *columns(batch, prompt_columns(batch)), small, method="decode")
    lengths = (batch.segments_RxL == 1).sum(1)
    assert cache.count_R.tolist() == lengths.tolist() == [7, 4]
    assert cache.context.segments.tolist() == [[1] * 5, [1] * 4 + [0]]
    assert not cache.keys[:, 1, 4].any()
    assert cache.keys[:, 1, :4].any((2, 3)).all()


def test_an_encoder_has_no_cache(tiny_trunk):
    with pytest.raises(InputError, match="a llama trunk is an encoder: only a causal trunk can decode with a cache"):
        empty_cache(dataclasses.replace(tiny_trunk, causal=False), 1, 8, FLOAT32)
