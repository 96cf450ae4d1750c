"""Scores of packed rows against the naive form, and everything that must not change a score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_close, by_example, make_example, make_params, naive_scores, one_bin, random_examples

from rmjax.data.batch import BatchShape
from rmjax.models.reward import RewardHeads, RewardTransformer

SHAPE = BatchShape(12, 32, 24, 24)
HEADS = ("helpful", "safety")


@pytest.fixture(scope="module")
def score(tiny_trunk):
    """examples -> scores [K, Z] of each, through one packed batch."""
    model = RewardTransformer(tiny_trunk, HEADS, jnp.dtype("float32"))
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


def test_a_comparison_scores_the_same_without_strangers_in_its_row(score, examples, expected):
    assert_close([score([example])[0] for example in examples], expected)


def test_the_order_of_responses_and_comparisons_is_irrelevant(score, examples, expected):
    turned = [make_example(e.prompt, e.responses[::-1]) for e in reversed(examples)]
    assert_close([scores[::-1] for scores in reversed(score(turned))], expected)


@pytest.mark.parametrize("shape", [BatchShape(4, 64, 24, 24), BatchShape(7, 32, 40, 40), BatchShape(14, 18, 32, 64)])
def test_rows_slots_and_row_length_are_irrelevant(score, examples, expected, shape):
    assert_close(score(examples, shape), expected)


def test_what_stands_in_the_padding_is_irrelevant(tiny_trunk, score, examples, expected):
    """Also the id of EOS: the place where a score is read does not come from looking for some id."""
    model = RewardTransformer(tiny_trunk, HEADS, jnp.dtype("float32"))
    batch, slots = one_bin(examples, SHAPE)
    batch.tokens_RxL[batch.segments_RxL == 0] = examples[0].responses[0][-1]
    filled = jax.jit(model.apply)({"params": score.params}, batch)
    assert_close(by_example(filled, slots, examples), expected)


def test_every_token_of_prompt_and_response_matters(score):
    """The scores of two texts that differ in one token differ, wherever the token stands."""
    base = [make_example([5, 6, 7], [[8, 9, 2]])]
    (reference,) = score(base)
    for position in range(6):
        ids = [5, 6, 7, 8, 9, 2]
        ids[position] = 40
        (changed,) = score([make_example(ids[:3], [ids[3:]])])
        assert np.abs(changed - reference).max() > 1e-4, position


def test_the_gradient_of_a_head_reaches_only_its_own_kernel(tiny_trunk, score, examples):
    model = RewardTransformer(tiny_trunk, HEADS, jnp.dtype("float32"))
    batch, _ = one_bin(examples, SHAPE)
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch)[:, 1].sum()))(score.params)
    assert not gradient["reward"]["helpful"].any()
    assert gradient["reward"]["safety"].any()


def test_heads_start_with_variance_one_over_width_plus_one_and_no_bias():
    params = RewardHeads(("a", "b"), bias=False).init(jax.random.key(0), jnp.zeros((1, 4095)))["params"]
    assert set(params) == {"a", "b"}
    kernel = np.concatenate([params["a"], params["b"]])
    assert kernel.std() == pytest.approx(1 / 64, rel=0.03)
    assert abs(kernel.mean()) < 1e-3
    assert not np.allclose(params["a"], params["b"])


def test_scores_are_float32_whatever_the_compute_dtype(tiny_trunk, score, examples, expected):
    model = RewardTransformer(tiny_trunk, HEADS, jnp.dtype("bfloat16"))
    batch, slots = one_bin(examples, SHAPE)
    narrow = jax.jit(model.apply)({"params": score.params}, batch)
    assert narrow.dtype == jnp.float32
    assert_close(by_example(narrow, slots, examples), expected, tolerance=0.1)
