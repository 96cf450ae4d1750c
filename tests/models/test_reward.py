"""Tests of the reward model: packed scores against the naive form, invariances, and pooling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import (
    assert_close,
    by_example,
    hidden_states,
    make_example,
    make_params,
    naive_scores,
    one_bin,
    random_examples,
)

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.config import HeadConfig, default_head
from rmjax.models.mask import packed_context
from rmjax.models.reward import RewardHeads, RewardTransformer, mean_of_segments
from rmjax.models.transformer import parameter_shapes

SHAPE = BatchShape(12, 32, 24, 24)
HEADS = ("helpful", "safety")


@pytest.fixture(scope="module")
def score(tiny_trunk):
    """Function from examples to the scores [K, Z] of each, through one packed batch."""
    model = RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("float32"))
    params = make_params(model)
    apply = jax.jit(lambda batch: model.apply({"params": params}, batch))

    def run(examples, shape=SHAPE, **kwargs):
        batch, slots = one_bin(examples, shape, **kwargs)
        return by_example(apply(batch), slots, examples)

    run.params = params
    return run


@pytest.fixture(scope="module")
def examples():
    return random_examples(6, seed=5)


@pytest.fixture(scope="module")
def expected(score, examples):
    return score(examples)


def test_packed_scores_equal_the_naive_form(tiny_trunk, score, examples, expected):
    assert_close(expected, naive_scores(score.params, tiny_trunk, HEADS, examples))


def test_a_shared_prompt_equals_a_repeated_one(score, examples, expected):
    assert_close(score(examples, share_prompts=False), expected)


def test_a_response_scores_the_same_without_its_siblings(score, examples, expected):
    alone = [np.concatenate([score([make_example(e.prompt, [r])])[0] for r in e.responses]) for e in examples]
    assert_close(alone, expected)


def test_a_comparison_scores_the_same_without_others_in_its_row(score, examples, expected):
    assert_close([score([example])[0] for example in examples], expected)


def test_the_order_of_responses_and_comparisons_is_irrelevant(score, examples, expected):
    reversed_examples = [make_example(e.prompt, e.responses[::-1]) for e in reversed(examples)]
    assert_close([scores[::-1] for scores in reversed(score(reversed_examples))], expected)


@pytest.mark.parametrize("shape", [BatchShape(4, 64, 24, 24), BatchShape(7, 32, 40, 40), BatchShape(14, 18, 32, 64)])
def test_rows_slots_and_row_length_are_irrelevant(score, examples, expected, shape):
    assert_close(score(examples, shape), expected)


def test_tokens_in_the_padding_are_irrelevant(tiny_trunk, score, examples, expected):
    """Even the id of EOS: the index of a score does not come from a search for an id."""
    model = RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("float32"))
    batch, slots = one_bin(examples, SHAPE)
    batch.tokens_RxL[batch.segments_RxL == 0] = examples[0].responses[0][-1]
    filled = jax.jit(model.apply)({"params": score.params}, batch)
    assert_close(by_example(filled, slots, examples), expected)


def test_every_token_of_prompt_and_response_matters(score):
    """Scores of two texts that differ in one token differ, for every position of the token."""
    base = [make_example([5, 6, 7], [[8, 9, 2]])]
    (reference,) = score(base)
    for position in range(6):
        ids = [5, 6, 7, 8, 9, 2]
        ids[position] = 40
        (changed,) = score([make_example(ids[:3], [ids[3:]])])
        assert np.abs(changed - reference).max() > 1e-4, position


def test_the_gradient_of_a_head_reaches_only_its_own_kernel(tiny_trunk, score, examples):
    model = RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("float32"))
    batch, _ = one_bin(examples, SHAPE)
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch)[:, 1].sum()))(score.params)
    assert not gradient["reward"]["helpful"].any()
    assert gradient["reward"]["safety"].any()


def test_heads_are_initialized_with_variance_one_over_width_plus_one():
    params = RewardHeads(("a", "b"), bias=False).init(jax.random.key(0), jnp.zeros((1, 4095)))["params"]
    assert set(params) == {"a", "b"}
    kernel = np.concatenate([params["a"], params["b"]])
    assert kernel.std() == pytest.approx(1 / 64, rel=0.03)
    assert abs(kernel.mean()) < 1e-3
    assert not np.allclose(params["a"], params["b"])


def test_scores_are_float32_for_any_compute_dtype(tiny_trunk, score, examples, expected):
    model = RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("bfloat16"))
    batch, slots = one_bin(examples, SHAPE)
    narrow = jax.jit(model.apply)({"params": score.params}, batch)
    assert narrow.dtype == jnp.float32
    assert_close(by_example(narrow, slots, examples), expected, tolerance=0.1)


@pytest.fixture(scope="module")
def mean_score(tiny_trunk):
    """As `score`, for heads with mean pooling."""
    model = RewardTransformer(tiny_trunk, HeadConfig(HEADS, "mean", bias=False), jnp.dtype("float32"))
    params = make_params(model)
    apply = jax.jit(lambda batch: model.apply({"params": params}, batch))

    def run(examples, shape=SHAPE, **kwargs):
        batch, slots = one_bin(examples, shape, **kwargs)
        return by_example(apply(batch), slots, examples)

    run.params = params
    return run


def test_mean_pooling_equals_the_naive_mean_over_the_response(tiny_trunk, mean_score, examples):
    trunk, reward = mean_score.params["trunk"], mean_score.params["reward"]
    kernel = np.stack([np.asarray(reward[head], np.float64) for head in HEADS], axis=1)
    expected = [
        np.stack(
            [
                hidden_states(trunk, tiny_trunk, np.concatenate([e.prompt, r]))[len(e.prompt) :].mean(0) @ kernel
                for r in e.responses
            ]
        )
        for e in examples
    ]
    assert_close(mean_score(examples), expected)


def test_mean_pooling_does_not_depend_on_packing_or_siblings(mean_score, examples):
    expected = mean_score(examples)
    assert_close(mean_score(examples, share_prompts=False), expected)
    assert_close(mean_score(examples, BatchShape(4, 64, 40, 24)), expected)
    alone = [np.concatenate([mean_score([make_example(e.prompt, [r])])[0] for r in e.responses]) for e in examples]
    assert_close(alone, expected)


@pytest.mark.parametrize(("pooling", "first", "last"), [("first", 0, 1), ("last", -1, None), ("mean", 2, None)])
def test_the_pooling_of_an_encoder_reads_its_tokens(tiny_trunk, pooling, first, last):
    """Texts of a prompt of 2 tokens and responses of 3 and 1, packed together and compared with the trunk alone."""
    trunk = dataclasses.replace(tiny_trunk, causal=False)
    model = RewardTransformer(trunk, HeadConfig(HEADS, pooling, bias=True), jnp.dtype("float32"))
    params = make_params(model)
    example = make_example([5, 6], [[7, 8, 2], [2]])
    batch, slots = one_bin([example], BatchShape(1, 16, 8, 8), share_prompts=False)
    (actual,) = by_example(model.apply({"params": params}, batch), slots, [example])
    expected = []
    for response in example.responses:
        alone, _ = one_bin([make_example(example.prompt, [response])], BatchShape(1, 16, 8, 8))
        hidden, _ = model.apply({"params": params}, alone, method=lambda m, b: m.trunk(b.tokens_RxL, packed_context(b)))
        pooled = np.asarray(hidden)[0, : 2 + len(response)][first:last].mean(0)
        heads = params["reward"]
        expected.append([pooled @ np.asarray(heads[name]) + heads[f"{name}.bias"] for name in HEADS])
    assert_close(actual, np.array(expected))


def test_mean_pooling_in_bfloat16_is_accumulated_in_float32():
    """A sum of 1,000 ones in bfloat16 would stop at 256."""
    segments = jnp.asarray([[1] + [2] * 1000 + [0]])
    means = mean_of_segments(jnp.ones((1, 1002, 3), jnp.bfloat16), segments, jnp.asarray([1000]))
    assert means.dtype == jnp.float32
    assert means.tolist() == [[1.0] * 3]


def test_invalid_pooling_is_refused(tiny_trunk):
    with pytest.raises(InputError, match=r"unknown head.pooling 'no_such_pooling': known are last, first, mean"):
        HeadConfig(HEADS, "no_such_pooling", bias=False)
    model = RewardTransformer(tiny_trunk, HeadConfig(HEADS, "first", bias=False), jnp.dtype("float32"))
    with pytest.raises(InputError, match=r"head.pooling=first reads a token that sees nothing of the response"):
        parameter_shapes(model)


def test_the_default_head_follows_the_trunk(tiny_trunk):
    assert default_head(["a"], tiny_trunk) == HeadConfig(("a",), "last", bias=False)
    assert default_head(["a"], dataclasses.replace(tiny_trunk, causal=False)) == HeadConfig(("a",), "first", bias=True)
