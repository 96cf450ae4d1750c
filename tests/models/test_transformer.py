"""Tests of the trunk against one sequence at a time in NumPy, and of the checks of its settings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_close, hidden_states, make_params, one_bin, random_examples

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.linear import Embedding, Linear, product
from rmjax.models.transformer import REMAT, LanguageModel, parameter_count

SHAPE = BatchShape(6, 32, 24, 24)


@pytest.mark.parametrize(("kv_heads", "tied"), [(1, True), (2, False), (4, True)])
def test_packed_logits_equal_those_of_single_sequences(tiny_trunk, kv_heads, tied):
    """Multi-head, grouped-query and multi-query attention; tied and untied output layers."""
    config = dataclasses.replace(tiny_trunk, kv_heads=kv_heads, tie_embeddings=tied)
    model = LanguageModel(config, jnp.dtype("float32"))
    params = make_params(model)
    assert ("output" in params) == (not tied)
    examples = random_examples(5, seed=4)
    batch, slots = one_bin(examples, SHAPE)
    logits = np.asarray(jax.jit(model.apply)({"params": params}, batch)).reshape(-1, config.vocab_size)
    segments, prompt_segments = batch.segments_RxL.reshape(-1), batch.prompt_segments_RxL.reshape(-1)
    matrix = params["trunk"]["embedding"]["embedding"].T if tied else params["output"]["kernel"]
    actual, expected = [], []
    for n, (i, k) in enumerate(slots):
        at = int(batch.responses.score_index_N[n])
        row = np.arange(at // 32 * 32, at + 1)
        own = row[(segments[row] == segments[at]) | (segments[row] == prompt_segments[at])]
        alone = np.concatenate([examples[i].prompt, examples[i].responses[k]])
        actual.append(logits[own])
        expected.append(hidden_states(params["trunk"], config, alone) @ np.asarray(matrix, np.float64))
    assert_close(actual, expected)


def test_logits_are_float32_for_any_compute_dtype(tiny_trunk):
    model = LanguageModel(tiny_trunk, jnp.dtype("bfloat16"))
    params = make_params(model)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    batch, _ = one_bin(random_examples(2), SHAPE)
    narrow = jax.jit(model.apply)({"params": params}, batch)
    wide = jax.jit(LanguageModel(tiny_trunk, jnp.dtype("float32")).apply)({"params": params}, batch)
    assert narrow.dtype == jnp.float32
    assert 1e-4 < float(jnp.abs(narrow - wide).max()) < 0.2 * float(wide.std())


@pytest.mark.parametrize(("inputs", "features"), [(64, 96), (96, 64), (64, 2)])
def test_products_in_bfloat16_are_summed_in_float32_forwards_and_backwards(inputs, features):
    """Compares with float64: each product is rounded once, and the gradient of the kernel is not rounded."""
    rng = np.random.default_rng(0)
    sizes = (300, inputs), (inputs, features), (300, features)
    x, kernel, d_out = (jnp.asarray(rng.normal(size=size), jnp.bfloat16) for size in sizes)

    @jax.jit
    def both(x, kernel, d_out):
        out, pull = jax.vjp(product, x, kernel)
        return out, *pull(d_out)

    wide = kernel.astype(jnp.float32)
    a, b, c = (np.asarray(matrix, np.float64) for matrix in (x, kernel, d_out))
    expected = ((a @ b, jnp.bfloat16, 2**-8), (c @ b.T, jnp.bfloat16, 2**-8), (a.T @ c, jnp.float32, 1e-5))
    for found, (exact, dtype, error) in zip(both(x, wide, d_out), expected, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=error, atol=1e-4)
    program = both.lower(x, wide, d_out).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 3
    assert all(line.count("xbf16>") == 2 and line.count("xf32>") == 1 for line in products)


@pytest.mark.parametrize(("width", "vocabulary"), [(8, 32), (32, 8)])
def test_tied_embeddings_have_a_gradient_in_bfloat16(width, vocabulary):
    """The kernel is the transposed table, so its gradient is transposed too. XLA must not swap the operands."""
    rng = np.random.default_rng(0)
    sizes = (16, width), (vocabulary, width), (16, vocabulary)
    x, table, d_out = (jnp.asarray(rng.normal(size=size), jnp.bfloat16) for size in sizes)

    @jax.jit
    def gradients(x, table, d_out):
        return jax.vjp(lambda x, table: product(x, table.T), x, table)[1](d_out)

    d_x, d_table = gradients(x, table.astype(jnp.float32), d_out)
    a, b, c = (np.asarray(matrix, np.float64) for matrix in (x, table, d_out))
    np.testing.assert_allclose(np.asarray(d_x, np.float64), c @ b, rtol=2**-8, atol=1e-4)
    np.testing.assert_allclose(d_table, c.T @ a, rtol=1e-5, atol=1e-5)


def test_the_gradients_of_a_repeated_id_are_summed_in_float32():
    """A thousand gradients of 2^-10 and one of 1: a sum in bfloat16 would lose them."""
    table = Embedding(3, 2, jnp.dtype("bfloat16"))
    params = {"params": {"embedding": jnp.zeros((3, 2), jnp.float32)}}
    ids = jnp.zeros(1025, jnp.int32)
    weight = jnp.full((1025, 1), 2.0**-10, jnp.bfloat16).at[0].set(1.0)
    gradient = jax.grad(lambda p: jnp.sum((table.apply(p, ids) * weight).astype(jnp.float32)))(params)
    np.testing.assert_allclose(gradient["params"]["embedding"], [[2.0, 2.0], [0, 0], [0, 0]], rtol=1e-6)


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """A sum of 4,097 ones; in bfloat16 it would stop at 256."""
    layer = Linear(3, jnp.dtype("bfloat16"), bias=True)
    params = {"params": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}}
    x = jnp.ones((4097, 2), jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(layer.apply(p, x).astype(jnp.float32))))(params)
    np.testing.assert_array_equal(gradient["params"]["bias"], [4097.0] * 3)
    np.testing.assert_array_equal(gradient["params"]["kernel"], [[4097.0] * 3] * 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rematerialization_gives_the_same_gradient_with_less_memory(tiny_trunk, dtype):
    """The more values the backward pass recomputes, the less memory the step needs."""
    config = dataclasses.replace(tiny_trunk, layers=6)
    params = make_params(LanguageModel(config, jnp.dtype(dtype)))
    batch, _ = one_bin(random_examples(5, seed=4), SHAPE)
    gradients, memory = {}, {}
    for remat in REMAT:
        model = LanguageModel(config, jnp.dtype(dtype), remat)
        gradient = jax.jit(jax.grad(lambda params, model=model: (model.apply({"params": params}, batch) ** 2).mean()))
        compiled = gradient.lower(params).compile()
        gradients[remat], memory[remat] = compiled(params), compiled.memory_analysis().temp_size_in_bytes
    if dtype == "float32":
        for remat in ("dots", "full"):
            jax.tree.map(assert_close, gradients[remat], gradients["none"])
    assert memory["full"] < memory["dots"] < memory["none"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "model.layers must be positive, found 0"),
        ({"vocab_size": -1}, "model.vocab_size must be positive"),
        ({"kv_heads": 3}, "model.heads=4 is not a multiple of model.kv_heads=3"),
        ({"head_dim": 5}, "model.head_dim=5 must be even"),
        ({"norm": "batch"}, "unknown model.norm 'batch': known are rms, layer"),
        ({"positions": "learned"}, "learned positions need model.max_positions"),
        ({"window": 4, "local_layers": (True,)}, "model.local_layers names 1 layers of 2"),
    ],
)
def test_invalid_settings_are_refused(tiny_trunk, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(tiny_trunk, **changes)


def test_parameter_count(tiny_trunk):
    """Counted by hand: width 16, 4 heads of 6 channels on 2 key/value heads, MLP of 20, vocabulary of 300, 2 layers."""
    layer = 2 * 16 * 24 + 2 * 16 * 12 + 3 * 16 * 20 + 2 * 16
    counted = parameter_count(LanguageModel(tiny_trunk, jnp.dtype("float32")))
    assert counted == {"total": 2 * layer + 16 + 300 * 16 + 300 * 16, "embedding": 300 * 16}
