"""Tests of chunked log-probabilities and entropies against the plain formulas on whole logits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_close, make_example, make_params, one_bin, random_examples

from rmjax.data.batch import BatchShape
from rmjax.models.logprobs import (
    next_token_model,
    previous_index,
    response_log_probs,
    response_statistics,
    token_statistics,
)
from rmjax.models.transformer import LanguageModel

N, D, V = 23, 5, 11


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    kernel, hidden, weights = (rng.normal(size=size).astype(np.float32) for size in ((D, V), (N, D), (2, N)))
    return jnp.asarray(kernel), jnp.asarray(hidden), jnp.asarray(rng.integers(0, V, N), jnp.int32), jnp.asarray(weights)


def head(kernel, hidden):
    return hidden @ kernel


def plain(kernel, hidden, tokens):
    log_p = jax.nn.log_softmax(head(kernel, hidden))
    return log_p[jnp.arange(N), tokens], -(jnp.exp(log_p) * log_p).sum(-1)


@pytest.mark.parametrize("chunk", [4, 23, 100])
@pytest.mark.parametrize("count", [0, 8, 23])
def test_statistics_and_gradients_are_those_of_the_plain_formula(inputs, chunk, count):
    """A weighted sum of log-probabilities and entropies of the first `count` tokens."""
    kernel, hidden, tokens, weights = inputs
    counted = jnp.arange(N) < count

    def chunked(kernel, hidden):
        found = token_statistics(head, kernel, hidden, tokens, jnp.int32(count), entropy=True, chunk=chunk)
        return (weights[0] * found.log_prob + weights[1] * found.entropy).sum(), found

    def expected(kernel, hidden):
        log_prob, entropy = plain(kernel, hidden, tokens)
        return jnp.where(counted, weights[0] * log_prob + weights[1] * entropy, 0).sum()

    (value, found), gradient = jax.jit(jax.value_and_grad(chunked, (0, 1), has_aux=True))(kernel, hidden)
    np.testing.assert_allclose(value, expected(kernel, hidden), rtol=1e-5)
    for actual, wanted in zip(gradient, jax.grad(expected, (0, 1))(kernel, hidden), strict=True):
        np.testing.assert_allclose(actual, wanted, atol=2e-6)
    log_prob, entropy = plain(kernel, hidden, tokens)
    np.testing.assert_allclose(found.log_prob, jnp.where(counted, log_prob, 0), atol=1e-6)
    np.testing.assert_allclose(found.entropy, jnp.where(counted, entropy, 0), atol=1e-6)
    likeliest = (head(kernel, hidden).argmax(-1) == tokens) & counted
    assert found.likeliest.tolist() == likeliest.tolist()


@pytest.mark.parametrize("tied", [False, True])
def test_statistics_of_a_packed_batch_are_those_of_its_logits(tiny_trunk, tied):
    """Values and gradients of all parameters; zeros at prompts and padding."""
    model = LanguageModel(dataclasses.replace(tiny_trunk, tie_embeddings=tied), jnp.dtype("float32"))
    params = make_params(model)
    batch, _ = one_bin(random_examples(6, seed=2), BatchShape(6, 32, 24, 48))
    answered = jnp.asarray(batch.segments_RxL != batch.prompt_segments_RxL)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(2, *answered.shape)), jnp.float32)

    def chunked(params):
        found = response_statistics(next_token_model(model), params, batch, entropy=True)
        return (weights[0] * found.log_prob + weights[1] * found.entropy).sum(), found

    def expected(params):
        log_p = jax.nn.log_softmax(model.apply({"params": params}, batch))
        before = jax.vmap(lambda row, index: row[index])(log_p, previous_index(batch))
        own = jnp.take_along_axis(before, jnp.asarray(batch.tokens_RxL)[:, :, None], axis=2)[..., 0]
        entropy = -(jnp.exp(before) * before).sum(-1)
        return jnp.where(answered, weights[0] * own + weights[1] * entropy, 0).sum(), jnp.where(answered, own, 0)

    (value, found), gradient = jax.jit(jax.value_and_grad(chunked, has_aux=True))(params)
    (wanted, log_prob), wanted_gradient = jax.jit(jax.value_and_grad(expected, has_aux=True))(params)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.log_prob, log_prob, atol=1e-5)
    assert_close(gradient, wanted_gradient, tolerance=1e-4)
    assert not np.asarray(found.entropy)[~np.asarray(answered)].any()


def test_the_log_probability_of_a_response_is_the_sum_over_its_tokens(tiny_trunk):
    """Of each response alone after its prompt; an empty slot has 0."""
    model = LanguageModel(tiny_trunk, jnp.dtype("float32"))
    params, parts = make_params(model), next_token_model(model)
    examples = random_examples(3, seed=3)
    batch, slots = one_bin(examples, BatchShape(2, 64, 16, 64))
    found = np.asarray(response_log_probs(parts, params, batch))
    expected = np.zeros_like(found)
    for slot, (i, k) in enumerate(slots):
        alone = make_example(examples[i].prompt, [examples[i].responses[k]])
        one, _ = one_bin([alone], BatchShape(1, 16, 1, 1))
        expected[slot] = response_statistics(parts, params, one).log_prob.sum()
    assert len(slots) == sum(len(example.responses) for example in examples)
    assert_close(found, expected)


def test_whole_logits_are_never_in_memory():
    """The compiled program of the loss and its gradient has less memory than half of the logits."""
    vocab, tokens, width = 4096, 2048, 8

    def loss(kernel, hidden, ids):
        return token_statistics(head, kernel, hidden, ids, jnp.int32(tokens), chunk=128).log_prob.sum()

    shapes = [jax.ShapeDtypeStruct(size, jnp.float32) for size in ((width, vocab), (tokens, width))]
    ids = jax.ShapeDtypeStruct((tokens,), jnp.int32)
    analysis = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes, ids).compile().memory_analysis()
    assert analysis.temp_size_in_bytes < vocab * tokens * 4 / 2
