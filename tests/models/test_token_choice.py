"""Tests of the choice of tokens against exact probabilities, sorting in NumPy, and `jax.random`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.models.token_choice import (
    SamplingSettings,
    block_count,
    choose_tokens,
    draw,
    fold_in,
    truncated,
    uniform_pairs,
)


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def grid_of_uniforms(side):
    """All pairs of the midpoints of `side` equal intervals, [1, side^2, 2]."""
    points = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(points, points), axis=-1).reshape(1, -1, 2).astype(np.float32)


@pytest.mark.parametrize("vocab", [7, 12, 37])
def test_tokens_are_drawn_with_their_probabilities(vocab):
    """An even grid of uniform numbers gives every token its share, up to the width of the grid."""
    logits = 2 * np.random.default_rng(vocab).normal(size=(2, vocab)).astype(np.float32)
    logits[1, 3] = -np.inf
    uniform = np.repeat(grid_of_uniforms(400), 2, axis=0)
    tokens, log_probs = jax.jit(draw)(logits, uniform)
    expected = softmax(logits.astype(np.float64))
    for row in range(2):
        share = np.bincount(np.asarray(tokens)[row], minlength=vocab) / uniform.shape[1]
        np.testing.assert_allclose(share, expected[row], atol=5e-3)
        np.testing.assert_allclose(np.exp(log_probs[row]), expected[row, tokens[row]], rtol=1e-5)
    assert 3 not in np.asarray(tokens)[1]


def test_the_largest_uniform_number_takes_no_token_without_probability():
    logits = np.full((1, 37), -np.inf, np.float32)
    logits[0, [5, 20]] = [0.3, -30.0]
    extremes = np.array([[[0, 0], [0, 1], [1, 0], [1, 1]]], np.float32) * np.float32(1 - 2**-24)
    tokens, _ = draw(jnp.asarray(logits), jnp.asarray(extremes))
    assert set(np.asarray(tokens)[0].tolist()) <= {5, 20}


def test_a_vocabulary_is_divided_into_equal_blocks_if_possible():
    for vocab in (1, 2, 64, 1280, 49152, 50304, 151936):
        assert vocab % block_count(vocab) == 0
        assert block_count(vocab) <= 4 * vocab**0.5 + 4
    assert block_count(50257) == 225


def test_top_k_and_top_p_keep_the_likeliest_tokens():
    logits = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    for top_k, top_p in ((3, 1.0), (0, 0.6), (10, 0.8), (0, 1e-6), (100, 1.0)):
        kept = np.asarray(truncated(jnp.asarray(logits), top_k, top_p)) > -np.inf
        for row in range(5):
            order = np.argsort(-logits[row])[: top_k or None]
            probabilities = softmax(logits[row, order].astype(np.float64))
            count = int(np.searchsorted(np.cumsum(probabilities), top_p - 1e-12)) + 1
            assert set(np.flatnonzero(kept[row])) == set(order[:count])


def test_truncation_changes_the_tokens_but_not_their_log_probabilities():
    logits = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
    settings = SamplingSettings(max_response=1, temperature=0.5, top_k=4, top_p=0.9)
    tokens, log_probs = choose_tokens(jnp.asarray(logits), jnp.asarray(grid_of_uniforms(50)), settings)
    whole = np.log(softmax(logits[0].astype(np.float64) / 0.5))
    assert set(np.asarray(tokens)[0].tolist()) <= set(np.argsort(-logits[0])[:4].tolist())
    np.testing.assert_allclose(log_probs[0], whole[tokens[0]], atol=1e-5)


def test_uniform_numbers_are_hashed_from_key_and_position():
    keys = fold_in(jnp.broadcast_to(jax.random.key_data(jax.random.key(3)), (4, 2)), jnp.arange(4))
    expected = jax.random.key_data(jax.random.fold_in(jax.random.key(3), 2))
    np.testing.assert_array_equal(keys[2], expected)
    pairs = np.stack([uniform_pairs(keys, jnp.full(4, position)) for position in range(500)])
    assert len(np.unique(pairs)) > 3990  # two of 4,000 may agree in 24 bits
    assert 0 <= pairs.min() <= pairs.max() < 1
    np.testing.assert_allclose(pairs.mean((0, 1)), 0.5, atol=0.03)
    assert abs(np.corrcoef(pairs.reshape(-1, 2).T)[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_response": 0}, "max_response must be at least 1, found 0"),
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"top_k": -2}, "top_k must not be negative"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"stop": (-1,)}, "stop must have token ids"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SamplingSettings(**{"max_response": 4, **settings})
